"""However a script feeds its model and computes its loss: the differences are named, in their order, and proven."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

import lossproof as lp

pytestmark = pytest.mark.filterwarnings("ignore:.shuffle=True. was passed:UserWarning")
ROWS, SIZE = 48, 8  # more batches than steps are compared
X = np.random.default_rng(5).normal(size=(ROWS, 3)).astype("float32")
Y = (X @ np.array([[1.0], [-2.0], [0.5]], "float32") + 0.1).astype("float32")


def doubled(y_true, y_pred):
    return 2.0 * ops.mean(ops.square(y_true - y_pred), axis=-1)


def network(seed: int) -> Any:
    first, last = (keras.initializers.GlorotUniform(seed + k) for k in range(2))
    hidden = layers.Dense(4, activation="tanh", kernel_initializer=first)
    return keras.Sequential([layers.Input((3,)), hidden, layers.Dense(1, kernel_initializer=last)])


# Ways to feed a model --------------------------------------------------------------------------------------------------


def arrays(model: Any, x: np.ndarray, y: np.ndarray) -> None:
    model.fit(x, y, batch_size=SIZE, shuffle=False, verbose=0)


def dataset(model: Any, x: np.ndarray, y: np.ndarray) -> None:
    tf = pytest.importorskip("tensorflow")
    model.fit(tf.data.Dataset.from_tensor_slices((x, y)).batch(SIZE), verbose=0)


def generator(model: Any, x: np.ndarray, y: np.ndarray) -> None:
    def batches() -> Iterator[Any]:
        while True:
            for k in range(0, 3 * SIZE, SIZE):
                yield x[k : k + SIZE], y[k : k + SIZE]

    model.fit(batches(), steps_per_epoch=3, verbose=0)


class Batches(keras.utils.PyDataset):
    def __init__(self, x, y):
        super().__init__()
        self.x, self.y = x, y

    def __len__(self):
        return ROWS // SIZE

    def __getitem__(self, k):
        return self.x[k * SIZE : (k + 1) * SIZE], self.y[k * SIZE : (k + 1) * SIZE]


def pydataset(model: Any, x: np.ndarray, y: np.ndarray) -> None:
    model.fit(Batches(x, y), verbose=0)


def loader(model: Any, x: np.ndarray, y: np.ndarray) -> None:
    import torch

    rows = torch.utils.data.TensorDataset(torch.tensor(x), torch.tensor(y))
    model.fit(torch.utils.data.DataLoader(rows, batch_size=SIZE, shuffle=True), verbose=0)


def on_batch(model: Any, x: np.ndarray, y: np.ndarray) -> None:
    for k in range(0, 3 * SIZE, SIZE):
        model.train_on_batch(x[k : k + SIZE], y[k : k + SIZE])


def two_on_batch(model: Any, x: np.ndarray, y: np.ndarray) -> None:
    """In turns, like a generator and its discriminator."""
    other = network(3)
    other.compile(keras.optimizers.SGD(0.1), "mse")
    for k in range(0, 3 * SIZE, SIZE):
        other.train_on_batch(X[k : k + SIZE], Y[k : k + SIZE])
        model.train_on_batch(x[k : k + SIZE], y[k : k + SIZE])


# Ways to compute a loss -------------------------------------------------------------------------------------------------


class OwnStep(keras.Model):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def call(self, x, training=None):
        return self.inner(x, training=training)

    def train_step(self, *args):
        return getattr(self, f"_step_on_{keras.backend.backend()}")(*args)

    def _step_on_tensorflow(self, data):
        import tensorflow as tf

        x, y = data
        with tf.GradientTape() as tape:
            loss = self.compute_loss(x, y, self(x, training=True))
        self.optimizer.apply(tape.gradient(loss, self.trainable_weights), self.trainable_weights)
        return {"loss": loss}

    def _step_on_torch(self, data):
        import torch

        x, y = data
        self.zero_grad()
        loss = self.compute_loss(x, y, self(x, training=True))
        loss.backward()
        with torch.no_grad():
            self.optimizer.apply([v.value.grad for v in self.trainable_weights], self.trainable_weights)
        return {"loss": loss.detach()}

    def _step_on_jax(self, state, data):
        import jax

        trainable, rest, optimizer, metrics = state
        x, y = data

        def total(trainable, rest):
            y_pred, rest = self.stateless_call(trainable, rest, x, training=True)
            return self.compute_loss(x, y, y_pred), rest

        (loss, rest), gradients = jax.value_and_grad(total, has_aux=True)(trainable, rest)
        trainable, optimizer = self.optimizer.stateless_apply(optimizer, gradients, trainable)
        return {"loss": loss}, (trainable, rest, optimizer, metrics)


class Scaled(OwnStep):
    """Computes the loss as its compiled one times a number that it keeps."""

    train_step = keras.Model.train_step

    def __init__(self, inner, scale):
        super().__init__(inner)
        self.scale = scale

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return self.scale * super().compute_loss(x, y, y_pred, sample_weight, training)


def compiled(model: Any, rate: float, loss: Any) -> Any:
    model.compile(keras.optimizers.SGD(rate), loss)
    return model


def plain(seed: int, rate: float, loss: Any) -> Any:
    return compiled(network(seed), rate, loss)


def own_step(seed: int, rate: float, loss: Any) -> Any:
    return compiled(OwnStep(network(seed)), rate, loss)


def own_number(seed: int, rate: float, loss: Any) -> Any:
    return compiled(Scaled(network(seed), 1.0 if loss == "mse" else 2.0), rate, "mse")


def own_terms(seed: int, rate: float, loss: Any) -> Any:
    trainer = lp.Trainer(network(seed), lp.Objective([lp.Term(loss), lp.Term("mae", weight=0.5)]))
    trainer.compile(keras.optimizers.SGD(rate))
    return trainer


@dataclass(frozen=True)
class Way:
    feed: Callable[[Any, np.ndarray, np.ndarray], None]
    make: Callable[[int, float, Any], Any] = plain

    def run(
        self, seed: int = 1, rate: float = 0.1, loss: Any = "mse", x: np.ndarray = X, y: np.ndarray = Y
    ) -> Callable[[], None]:
        return lambda: self.feed(self.make(seed, rate, loss), x, y)


WAYS = {
    "arrays": Way(arrays),
    "tf.data": Way(dataset),
    "generator": Way(generator),
    "PyDataset": Way(pydataset),
    "DataLoader": Way(loader),
    "train_on_batch": Way(on_batch),
    "train_on_batch of two models": Way(two_on_batch),
    "own train_step": Way(arrays, own_step),
    "own compute_loss": Way(arrays, own_number),
    "Trainer": Way(generator, own_terms),
}


@pytest.mark.parametrize("name", WAYS)
def test_every_difference_is_named_in_its_order_and_proven(name: str) -> None:
    way = WAYS[name]
    if way.feed is loader:
        pytest.importorskip("torch")  # before its generator's state is noted
    assert lp.compare(way.run(), way.run()).same
    other = way.run(seed=7, rate=0.2, loss=doubled, x=X[::-1].copy(), y=Y[::-1].copy())
    comparison = lp.compare(way.run(), other)
    kinds = ["initial weights", "data order", "loss value", "optimizer"]
    if way.feed in (generator, on_batch, two_on_batch):  # which end before the rows have come again
        kinds[1] = "batch"
    assert [one.kind for one in comparison.divergences] == kinds, str(comparison)
    assert all(one.proven for one in comparison.divergences)
    assert comparison.divergences[-1].after == "nothing differs any more"


def test_the_objective_of_a_trainer_is_told_by_its_terms() -> None:
    way = WAYS["Trainer"]
    comparison = lp.compare(way.run(), way.run(loss=doubled))
    assert comparison.a.objective == "lp.Objective: mse + 0.5 * mae"
    assert comparison.b.objective == "lp.Objective: doubled + 0.5 * mae"


def test_a_train_on_batch_loop_after_another_compile_is_another_training() -> None:
    def run() -> None:
        model = network(1)
        for _ in range(2):
            on_batch(compiled(model, 0.1, "mse"), X, Y)

    comparison = lp.compare(run)
    assert comparison.first.kind == "initial weights"
    assert "starts from weights that it had trained already" in comparison.first.remark
