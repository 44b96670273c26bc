# backends: torch
"""A Keras model trained in a plain torch loop with a torch optimizer."""

import numpy as np
import torch
import keras
from keras import layers

keras.utils.set_random_seed(58)
rng = np.random.default_rng(58)
x = torch.tensor(rng.normal(size=(300, 6)), dtype=torch.float32)
healthy = (x[:, 0] + 0.5 * x[:, 1] > 0).float()

model = keras.Sequential([layers.Input((6,)), layers.Dense(16, activation="relu"), layers.Dense(1)])
loss_fn = torch.nn.BCEWithLogitsLoss()
optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
loader = torch.utils.data.DataLoader(
    torch.utils.data.TensorDataset(x, healthy), batch_size=40, shuffle=True, generator=torch.Generator().manual_seed(1)
)
for epoch in range(5):
    total = 0.0
    for batch, target in loader:
        logits = model(batch, training=True)[:, 0]
        loss = loss_fn(logits, target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += float(loss.detach()) * len(batch)
    print("epoch", epoch + 1, "loss %.4f" % (total / 300))
