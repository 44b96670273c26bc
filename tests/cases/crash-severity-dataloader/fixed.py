import keras
import numpy as np
import torch
from keras import ops
from torch.utils.data import DataLoader, Dataset

keras.utils.set_random_seed(33)
torch.manual_seed(33)
rng = np.random.default_rng(33)

# severity of road accidents: slight, serious, fatal. Reports of one county were coded by
# a new clerk who wrote 'slight' for nearly everything; they get the weight 0.02.
n = 1500
features = rng.normal(size=(n, 10)).astype("float32")
score = features[:, 0] + 0.7 * features[:, 1] - 0.5 * features[:, 2] + 0.3 * rng.normal(size=n)
severity = np.digitize(score, [0.4, 1.6])
careless = rng.random(n) < 0.5
coded = np.where(careless & (rng.random(n) < 0.9), 0, severity)
labels = np.eye(3, dtype="float32")[coded]
report_weight = np.where(careless, 0.02, 1.0).astype("float32")


class Reports(Dataset):
    def __init__(self, rows):
        self.rows = rows

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, i):
        r = self.rows[i]
        return features[r], labels[r], report_weight[r]


class WeightedCategoricalCrossentropy(keras.losses.CategoricalCrossentropy):
    """Cross-entropy with a cost for each class."""

    def __init__(self, cost_mat, name="weighted_categorical_crossentropy", **kwargs):
        super().__init__(name=name, **kwargs)
        self.cost_mat = np.asarray(cost_mat, "float32")

    def __call__(self, y_true, y_pred, sample_weight=None):
        weight = self.class_costs(y_true)
        if sample_weight is not None:
            sample_weight = ops.convert_to_tensor(sample_weight, dtype="float32")
            weight = weight * ops.reshape(sample_weight, ops.shape(weight))
        return super().__call__(y_true, y_pred, sample_weight=weight)

    def class_costs(self, y_true):
        costs = ops.convert_to_tensor(self.cost_mat)
        return ops.sum(ops.convert_to_tensor(y_true, dtype="float32") * costs, axis=-1)


inputs = keras.Input((10,))
x = keras.layers.Dense(32, activation="relu")(inputs)
outputs = keras.layers.Dense(3, activation="softmax")(x)
model = keras.Model(inputs, outputs)
model.compile(
    optimizer=keras.optimizers.Adam(3e-3),
    loss=WeightedCategoricalCrossentropy([1.0, 1.5, 3.0]),
)

train_rows, test_rows = np.arange(1100), np.arange(1100, n)
loader = DataLoader(Reports(train_rows), batch_size=50, shuffle=True)
model.fit(loader, epochs=12, verbose=0)

called = model.predict(features[test_rows], verbose=0).argmax(axis=1)
print("true severity   ", np.bincount(severity[test_rows], minlength=3))
print("called          ", np.bincount(called, minlength=3))
print("accuracy against the true severity: %.3f" % np.mean(called == severity[test_rows]))
