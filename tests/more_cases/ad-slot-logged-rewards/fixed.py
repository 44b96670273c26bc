import numpy as np
import torch
import keras
from keras import layers

keras.utils.set_random_seed(17)
rng = np.random.default_rng(17)

# logged decisions: user features, the slot that was shown (of 4) and the revenue it brought
users = rng.normal(size=(600, 5)).astype("float32")
shown = rng.integers(0, 4, 600)
slot_taste = rng.normal(size=(5, 4))
revenue = ((users @ slot_taste)[np.arange(600), shown] + 0.1 * rng.normal(size=600)).astype("float32")


class SlotValues(keras.Model):
    """Predicts the revenue of each slot; only the slot that was shown has a known revenue."""

    def __init__(self, n_slots):
        super().__init__()
        self.hidden = layers.Dense(32, activation="relu")
        self.values = layers.Dense(n_slots)
        self.loss_tracker = keras.metrics.Mean(name="loss")

    def call(self, x):
        return self.values(self.hidden(x))

    @property
    def metrics(self):
        return [self.loss_tracker]

    def train_step(self, data):
        states, (actions, rewards) = data
        self.zero_grad()
        values = self(states, training=True)
        chosen = torch.gather(values, 1, actions[:, None])[:, 0]
        loss = torch.mean(torch.square(rewards - chosen))
        loss.backward()
        with torch.no_grad():
            self.optimizer.apply([v.value.grad for v in self.trainable_weights], self.trainable_weights)
        self.loss_tracker.update_state(loss)
        return {"loss": self.loss_tracker.result()}


class Log(torch.utils.data.Dataset):
    def __len__(self):
        return len(users)

    def __getitem__(self, i):
        return torch.from_numpy(users[i]), (torch.tensor(shown[i]), torch.tensor(revenue[i]))


loader = torch.utils.data.DataLoader(Log(), batch_size=50, shuffle=True, generator=torch.Generator().manual_seed(0))
model = SlotValues(4)
model.compile(optimizer=keras.optimizers.Adam(0.01))
history = model.fit(loader, epochs=10, verbose=0)

values = model.predict(users, verbose=0)
true_values = users @ slot_taste
print("loss %.4f" % history.history["loss"][-1])
print("rmse of the shown slot's value %.3f" % np.sqrt(np.mean((values[np.arange(600), shown] - revenue) ** 2)))
print("best slot found for %.0f %% of the users" % (100 * np.mean(values.argmax(1) == true_values.argmax(1))))
