"""`lossproof.Ledger` with everything that a `fit` can be: each account is of its step, and nothing changes the training.

The reference is a twin that takes the same batches one by one, by `train_on_batch`, from metrics that are reset.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers
from tests.ledger.models import state_of

import lossproof as lp
from lossproof.lab.backends import running_backend
from lossproof.ledger.runfile import read_run

ROWS, BATCH = 40, 8
STEPS = ROWS // BATCH
FIRST = {"tensorflow": 1}
"""TensorFlow builds a model in its first step, which no account can come before."""

Make = Callable[[], Any]


def arrays() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    x = rng.normal(size=(ROWS, 5)).astype("float32")
    return x, (x @ rng.normal(size=(5, 1)) + 0.1 * rng.normal(size=(ROWS, 1))).astype("float32")


def network(cls: Any = keras.Model, **options: Any) -> Any:
    inputs = keras.Input((5,))
    hidden = layers.Dense(6, activation="tanh", kernel_regularizer=keras.regularizers.L2(0.02))(inputs)
    model = cls(inputs, layers.Dense(1, dtype="float32")(hidden))
    model.compile(**{"optimizer": keras.optimizers.SGD(0.1), "loss": "mse", **options})
    return model


def fresh(make: Make) -> Any:
    keras.utils.set_random_seed(11)
    keras.utils.clear_session(free_memory=False)
    if (torch := sys.modules.get("torch")) is not None:  # whose loaders draw a seed, under each backend
        torch.manual_seed(11)
    return make()


def numbers(state: Any) -> Iterator[Any]:
    for one in state:
        if isinstance(one, (tuple, list)):
            yield from numbers(one)
        else:
            yield np.asarray(one).tolist()


@contextmanager
def quiet() -> Iterator[list[str]]:
    """What the ledger says; Keras's own warnings (data that ran out) are no matter here."""
    said: list[str] = []
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        yield said
    said += [str(one.message) for one in heard if "lossproof" in str(one.message)]


def kept(
    tmp_path: Path, make: Make, fit: Callable[[Any, list[Any]], Any] | None = None, **more: Any
) -> tuple[Any, Any, list[str]]:
    """The ledger, the history and what was said, of a training that is bit for bit as without the ledger."""

    def by_arrays(model: Any, callbacks: list[Any]) -> Any:
        x, y = arrays()
        return model.fit(x, y, batch_size=BATCH, shuffle=False, callbacks=callbacks, verbose=0, **more)

    found = []
    ledger = lp.Ledger(tmp_path, every=1, gradients=2, tensorboard=False)
    for callbacks in ([], [ledger]):
        model = fresh(make)
        with quiet() as said:
            history = (fit or by_arrays)(model, callbacks).history
        found.append((history, state_of(model), list(numbers(running_backend().random_state()))))
    (history, state, generators), (same, kept_state, kept_generators) = found
    assert same == history
    assert all(np.array_equal(a, b, equal_nan=a.dtype.kind == "f") for a, b in zip(state, kept_state, strict=True))
    assert generators == kept_generators
    return ledger, history, said


def one_by_one(make: Make, epochs: int = 1) -> list[float]:
    """The loss of each step."""
    model, (x, y) = fresh(make), arrays()
    losses = []
    for start in [*range(0, ROWS, BATCH)] * epochs:
        model.reset_metrics()
        rows = (running_backend().tensor(one[start : start + BATCH]) for one in (x, y))
        losses.append(float(model.train_on_batch(*rows, return_dict=True)["loss"]))
    return losses


def assert_accounts(ledger: Any, losses: list[float], steps: range | None = None, rel: float = 2e-6) -> None:
    """Each account adds up to the loss of its step."""
    first = FIRST.get(keras.backend.backend(), 0)
    wanted = [step for step in (steps or range(len(losses))) if step >= first]
    assert [one.step for one in ledger.entries] == wanted
    for one in ledger.entries:
        assert one.closes
        assert one.explained == pytest.approx(losses[one.step], rel=rel)
    assert any(one.gradients is not None for one in ledger.entries)


class Own(keras.Model):
    """A third of a loss, twice the penalties, and something of its own."""

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        return 0.3 * keras.losses.MeanSquaredError()(y, y_pred) + 2.0 * sum(self.losses) + 0.25


def test_a_compute_loss_of_the_users(tmp_path: Path) -> None:
    def make() -> Any:
        return network(Own, loss=None)

    ledger, _, _ = kept(tmp_path, make)
    losses = one_by_one(make)
    assert [one.step for one in ledger.entries] == list(range(FIRST.get(keras.backend.backend(), 0), STEPS))
    for one in ledger.entries:
        (term,), (penalty,) = one.terms, one.penalties
        assert [term.weight, penalty.weight] == pytest.approx([0.3, 2.0], rel=1e-5)
        assert one.total == pytest.approx(losses[one.step], rel=2e-6)
        assert one.residual == pytest.approx(0.25, rel=1e-5)
        assert "Own.compute_loss" in str(one.cause)


def test_several_losses_on_one_output(tmp_path: Path) -> None:
    """Keras trains the first alone."""

    def make() -> Any:
        return network(loss=["mse", "mae"])

    ledger, _, _ = kept(tmp_path, make)
    assert_accounts(ledger, one_by_one(make))
    assert [[one.weight for one in entry.terms] for entry in ledger.entries] == [[1.0, 0.0]] * len(ledger.entries)


@pytest.mark.backend("tensorflow", "jax")  # Keras has it for these
def test_several_steps_in_one_execution(tmp_path: Path) -> None:
    def make() -> Any:
        return network(steps_per_execution=2)

    ledger, _, _ = kept(tmp_path, make, epochs=2)
    steps = [0, 2, 4, 5, 7, 9]  # the first of each execution; the last of an epoch has one step
    first = 2 if FIRST.get(keras.backend.backend()) else 0
    losses = one_by_one(lambda: network(), epochs=2)
    assert [one.step for one in ledger.entries] == [step for step in steps if step >= first]
    for one in ledger.entries:
        assert one.total == pytest.approx(losses[one.step], rel=2e-6)
    assert [one.step for one in read_run(tmp_path).epochs] == [5, 10]


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision(tmp_path: Path, policy: str) -> None:
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        ledger, _, _ = kept(tmp_path, network)
        losses = one_by_one(network)
    finally:
        keras.config.set_dtype_policy(before)
    assert_accounts(ledger, losses, rel=1e-3)


def test_gradient_accumulation(tmp_path: Path) -> None:
    """Updates come every second step; accounts are of steps, and a second `fit` goes on where the first one ended."""

    def make() -> Any:
        return network(optimizer=keras.optimizers.SGD(0.1, gradient_accumulation_steps=2))

    ledger, _, _ = kept(tmp_path, make)
    assert_accounts(ledger, one_by_one(make))
    model, (x, y) = fresh(make), arrays()
    again = lp.Ledger(tmp_path / "two", every=1, tensorboard=False)
    for _ in range(2):
        model.fit(x, y, batch_size=BATCH, shuffle=False, callbacks=[again], verbose=0)
    run = read_run(tmp_path / "two")
    assert run.began == (0, STEPS)
    assert [one.step for one in run.entries] == list(range(FIRST.get(keras.backend.backend(), 0), 2 * STEPS))


def test_eagerly(tmp_path: Path) -> None:
    def make() -> Any:
        return network(run_eagerly=True)

    ledger, _, _ = kept(tmp_path, make)
    assert_accounts(ledger, one_by_one(make))


def test_validation_is_no_step(tmp_path: Path) -> None:
    x, y = arrays()
    ledger, history, _ = kept(tmp_path, network, epochs=2, validation_data=(x[:16], y[:16]))
    assert_accounts(ledger, one_by_one(network, epochs=2))
    logs = [one.logs for one in read_run(tmp_path).epochs]
    assert [one["val_loss"] for one in logs] == history["val_loss"]


class Batches(keras.utils.PyDataset):
    def __len__(self) -> int:
        return STEPS

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        x, y = arrays()
        rows = slice(BATCH * index, BATCH * index + BATCH)
        return x[rows], y[rows]


def a_generator() -> Iterator[Any]:
    dataset = Batches()
    return (dataset[index] for index in range(STEPS))


def a_tf_dataset() -> Any:
    import tensorflow as tf

    return tf.data.Dataset.from_tensor_slices(arrays()).batch(BATCH)


def a_dataloader() -> Any:
    torch = pytest.importorskip("torch")
    pairs = torch.utils.data.TensorDataset(*(torch.tensor(one) for one in arrays()))
    return torch.utils.data.DataLoader(pairs, batch_size=BATCH)


@pytest.mark.parametrize("data", [Batches, a_generator, a_tf_dataset, a_dataloader])
def test_forms_of_data(tmp_path: Path, data: Callable[[], Any], backend: str) -> None:
    if data is a_tf_dataset and backend != "tensorflow":
        pytest.skip("costs the import of TensorFlow")

    def fit(model: Any, callbacks: list[Any]) -> Any:
        return model.fit(data(), shuffle=False, callbacks=callbacks, verbose=0)

    data()  # imports what it takes
    ledger, _, _ = kept(tmp_path, network, fit)
    assert_accounts(ledger, one_by_one(network))


def spread(out: Any) -> Any:
    return keras.ops.mean(keras.ops.square(out), axis=-1)


@pytest.mark.parametrize("strategy", [lp.weighting.PCGrad, lp.weighting.GradNorm, lp.weighting.Uncertainty])
def test_a_trainer_with_a_strategy(tmp_path: Path, strategy: Any) -> None:
    def make() -> Any:
        inputs = keras.Input((5,))
        dense = layers.Dense(1, kernel_regularizer=keras.regularizers.L2(0.02), name="out")
        model = keras.Model(inputs, {"out": dense(layers.Dense(4, activation="tanh")(inputs))})
        terms = [lp.Term("mse", output="out"), lp.Term(spread, out=lp.output("out"), weight=0.5)]
        trainer = lp.Trainer(model, lp.Objective(terms, weighting=strategy()))
        trainer.compile(keras.optimizers.SGD(0.05))
        return trainer

    def fit(model: Any, callbacks: list[Any]) -> Any:
        x, y = arrays()
        return model.fit(x, {"out": y}, batch_size=BATCH, shuffle=False, callbacks=callbacks, verbose=0)

    ledger, _, said = kept(tmp_path, make, fit)
    assert said == []
    model, (x, y) = fresh(make), arrays()
    first = FIRST.get(keras.backend.backend(), 0)
    assert [one.step for one in ledger.entries] == list(range(first, STEPS))
    for step in range(STEPS):
        rows = slice(BATCH * step, BATCH * step + BATCH)
        model.reset_metrics()
        batch = (running_backend().tensor(x[rows]), {"out": running_backend().tensor(y[rows])})
        logs = {key: float(value) for key, value in model.train_on_batch(*batch, return_dict=True).items()}
        if step < first:
            continue
        entry = ledger.entries[step - first]
        assert entry.closes
        assert entry.explained == pytest.approx(logs["loss"], rel=2e-6)
        assert {one.name: one.value for one in entry.terms} == pytest.approx(
            {"mse": logs["mse"], "spread": logs["spread"]}, rel=2e-6
        )
        known = {"mse": logs.get("mse_weight", 1.0), "spread": logs.get("spread_weight", 0.5)}
        assert {one.name: one.weight for one in entry.terms} == pytest.approx(known, rel=1e-5)
        rest = sum(one.value for one in entry.penalties if one.kind == "weighting")
        assert rest == pytest.approx(logs.get("weighting_rest", 0.0), abs=1e-6)


@pytest.mark.backend("tensorflow")
def test_replicas_are_said_to_be_beyond_it(tmp_path: Path) -> None:
    import tensorflow as tf

    def make() -> Any:
        with tf.distribute.MirroredStrategy(["CPU:0"]).scope():
            return network()

    ledger, _, said = kept(tmp_path, make)
    assert ledger.entries == ()
    assert len(said) == 1
    assert "tf.distribute" in said[0]


def test_batches_of_many_forms(tmp_path: Path) -> None:
    """Where each form is compiled, three are accounted for, with gradients (every second step) and without each."""

    def make() -> Any:
        inputs = keras.Input((None, 3))
        model = keras.Model(inputs, layers.Dense(1)(keras.ops.mean(inputs, axis=1)))
        model.compile("sgd", "mse")
        return model

    lengths = [2, 3, 4, 5, 6, 2, 7, 3]
    rng = np.random.default_rng(0)
    batches = [
        (rng.normal(size=(4, n, 3)).astype("float32"), rng.normal(size=(4, 1)).astype("float32")) for n in lengths
    ]
    ledger, _, _ = kept(
        tmp_path,
        make,
        lambda model, callbacks: model.fit((one for one in batches), steps_per_epoch=8, callbacks=callbacks, verbose=0),
    )
    steps = {"torch": list(range(8)), "jax": [0, 1, 2, 3, 4, 5, 7], "tensorflow": [1, 2, 3, 4, 5, 7]}[
        keras.backend.backend()
    ]
    assert [one.step for one in ledger.entries] == steps
