"""However data come, the lab gets one batch of them as the user passed it, and as the step received it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

from lossproof.capture.record import Capture
from lossproof.capture.watch import Watch
from lossproof.lab.received import Batch, received_batch

ROWS, SIZE = 20, 8
X = (np.arange(ROWS * 3).reshape(ROWS, 3) / 7).astype("float32")
Y = (np.arange(ROWS) % 2)[:, None]
W = np.linspace(0.5, 1.5, ROWS).astype("float32")


class Spy(keras.Model):
    """Notes the form of what its step receives: all but the batch axis, which may be symbolic."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = layers.Dense(1)
        self.received: list[Any] = []

    def call(self, x: Any) -> Any:
        leaves = [ops.cast(ops.reshape(leaf, (-1, 3)), "float32") for leaf in keras.tree.flatten(x)]
        return self.layer(sum(leaves))

    def compute_loss(self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None) -> Any:
        self.received.append(form(Batch(x, y, sample_weight)))
        return ops.mean(ops.square(ops.cast(keras.tree.flatten(y)[0], "float32") - y_pred))


def form(batch: Batch) -> Any:
    def of(leaf: Any) -> Any:
        return (
            None
            if leaf is None
            else (len(leaf.shape), tuple(leaf.shape)[1:], keras.backend.standardize_dtype(leaf.dtype))
        )

    parts = (batch.x, batch.y, batch.sample_weight)
    return [keras.tree.map_structure(of, part) if part is not None else None for part in parts]


class Batches(keras.utils.PyDataset):
    def __len__(self) -> int:
        return ROWS // SIZE

    def __getitem__(self, index: int) -> Any:
        rows = slice(index * SIZE, index * SIZE + SIZE)
        return X[rows], Y[rows], W[rows]


def generator() -> Iterator[Any]:
    """Fills the same arrays again and again, as readers of files do."""
    x, y = np.empty((SIZE, 3), "float32"), np.empty((SIZE, 1), "int64")
    for start in (0, 8, 4, 2, 0, 8):
        x[:], y[:] = X[start : start + SIZE], Y[start : start + SIZE]
        yield x, y


def tensors() -> tuple[Any, Any]:
    return ops.convert_to_tensor(X), ops.convert_to_tensor(Y)


ARRAYS: dict[str, Callable[[], dict[str, Any]]] = {
    "arrays": lambda: {"x": X, "y": Y},
    "float64": lambda: {"x": X.astype("float64"), "y": Y.astype("float64")},
    "rank 1": lambda: {"x": X, "y": Y[:, 0]},
    "integers": lambda: {"x": X, "y": Y.astype("uint8")},
    "booleans": lambda: {"x": X, "y": Y == 1},
    "weights": lambda: {"x": X, "y": Y, "sample_weight": W},
    "class weights": lambda: {"x": X, "y": Y, "class_weight": {0: 1.0, 1: 3.0}},
    "dicts": lambda: {"x": {"b": X, "a": 2 * X}, "y": {"t": Y}},
    "lists": lambda: {"x": [X, 2 * X], "y": [Y]},
    "tensors": lambda: dict(zip("xy", tensors(), strict=True)),
    "held out": lambda: {"x": X, "y": Y, "validation_split": 0.5},
}
ITERABLES: dict[str, Callable[[], dict[str, Any]]] = {
    "generator": lambda: {"x": generator(), "steps_per_epoch": 2},
    "PyDataset": lambda: {"x": Batches()},
    "PyDataset with workers": lambda: {"x": Batches(workers=2)},
}


def loader() -> Any:
    torch = pytest.importorskip("torch")
    data = torch.utils.data.TensorDataset(torch.from_numpy(X), torch.from_numpy(Y))
    return torch.utils.data.DataLoader(data, batch_size=SIZE)


def tf_data() -> Any:
    tf = pytest.importorskip("tensorflow")
    return tf.data.Dataset.from_tensor_slices((X, Y, W)).batch(SIZE)


def caught(call: str = "fit", **arguments: Any) -> tuple[Spy, Capture]:
    """One call on a new spy under a watch, unshuffled."""
    model = Spy()
    model.compile("sgd")
    if call == "fit":
        arguments = {"shuffle": False, "verbose": 0, **arguments}
        if isinstance(arguments.get("x"), (np.ndarray, list, dict)) or ops.is_tensor(arguments["x"]):
            arguments["batch_size"] = SIZE
    with Watch(shorten=False) as watch:
        getattr(model, call)(**arguments)
    assert watch.defects == []
    [capture] = watch.run.captures
    return model, capture


def expected(feed: dict[str, Any]) -> Batch:
    """The first rows, read off the arguments by hand."""
    rows = keras.tree.map_structure(lambda leaf: ops.convert_to_numpy(leaf)[:SIZE], {k: feed[k] for k in "xy"})
    weight = feed.get("sample_weight")
    if "class_weight" in feed:
        weight = np.array([feed["class_weight"][label] for label in Y[:, 0]])
    return Batch(rows["x"], rows["y"], None if weight is None else weight[:SIZE])


def assert_equal(batch: Batch, other: Batch) -> None:
    for mine, theirs in ((batch.x, other.x), (batch.y, other.y), (batch.sample_weight, other.sample_weight)):
        for one, two in zip(keras.tree.flatten(mine), keras.tree.flatten(theirs), strict=True):
            if one is not None:
                np.testing.assert_array_equal(ops.convert_to_numpy(one), np.asarray(two).astype(one_dtype(one)))


def one_dtype(tensor: Any) -> Any:
    return ops.convert_to_numpy(tensor).dtype


@pytest.mark.parametrize("feed", ARRAYS)
def test_arrays(feed: str) -> None:
    model, capture = caught(**ARRAYS[feed]())
    batch = received_batch(capture)
    assert_equal(batch, expected(ARRAYS[feed]()))
    assert form(batch) == model.received[-1]
    assert {key for key in ARRAYS[feed]() if capture.data[key] is None} == set()


def test_rows_of_shuffled_arrays_are_spread_over_all_of_those_that_train() -> None:
    x = np.arange(1000.0, dtype="float32")[:, None] * np.ones((1, 3), "float32")
    _, capture = caught(x=x, y=x[:, :1], shuffle=True, validation_split=0.1)
    kept = received_batch(capture).x
    numbers = ops.convert_to_numpy(kept)[:, 0]
    assert len(np.unique(numbers)) == SIZE
    assert numbers.min() == 0
    assert 800 < numbers.max() < 900
    np.testing.assert_array_equal(numbers, ops.convert_to_numpy(received_batch(capture).y)[:, 0])


def test_arrays_are_kept_as_they_were_at_the_call() -> None:
    x, y = X.copy(), Y.copy()
    _, capture = caught(x=x, y=y)
    x[:], y[:] = -1, -1
    assert_equal(received_batch(capture), Batch(X[:SIZE], Y[:SIZE], None))


@pytest.mark.parametrize("feed", ITERABLES)
def test_iterables(feed: str) -> None:
    model, capture = caught(**ITERABLES[feed]())
    batch = received_batch(capture)
    assert_equal(batch, Batch(X[:SIZE], Y[:SIZE], None if feed == "generator" else W[:SIZE]))
    assert form(batch) == model.received[-1]


@pytest.mark.backend("tensorflow")
def test_tf_data() -> None:
    model, capture = caught(x=tf_data(), validation_data=tf_data())
    batch = received_batch(capture)
    assert_equal(batch, Batch(X[:SIZE], Y[:SIZE], W[:SIZE]))
    assert form(batch) == model.received[-1]


@pytest.mark.backend("torch")
def test_data_loader() -> None:
    model, capture = caught(x=loader(), validation_data=loader())
    batch = received_batch(capture)
    assert_equal(batch, Batch(X[:SIZE], Y[:SIZE], None))
    assert form(batch) == model.received[-1]


def test_scipy_matrices() -> None:
    sparse = pytest.importorskip("scipy.sparse")
    if keras.backend.backend() == "torch":
        pytest.skip("Keras takes no scipy matrices on torch")
    inputs = keras.Input((3,), sparse=True)
    model = keras.Model(inputs, layers.Dense(1)(inputs))
    model.compile("sgd", "mse")
    with Watch(shorten=False) as watch:
        model.fit(sparse.csr_matrix(X), Y, batch_size=SIZE, shuffle=False, verbose=0)
    assert watch.defects == []
    [capture] = watch.run.captures
    np.testing.assert_array_equal(ops.convert_to_numpy(received_batch(capture).y), Y[:SIZE])
    assert tuple(received_batch(capture).x.shape) == (SIZE, 3)


@pytest.mark.parametrize("call", ["train_on_batch", "test_on_batch"])
@pytest.mark.parametrize("feed", ["arrays", "float64", "rank 1", "integers", "weights", "dicts", "class weights"])
def test_a_batch(call: str, feed: str) -> None:
    arguments = ARRAYS[feed]()
    if call == "test_on_batch" and "class_weight" in arguments:
        pytest.skip("test_on_batch takes none")
    rows = keras.tree.map_structure(
        lambda leaf: leaf[:SIZE], {k: v for k, v in arguments.items() if k != "class_weight"}
    )
    model, capture = caught(call, **{**arguments, **rows})
    batch = received_batch(capture)
    assert_equal(batch, expected(arguments))
    assert form(batch) == model.received[-1]
    assert capture.batch_sizes == {SIZE}


def test_evaluate() -> None:
    model, capture = caught("evaluate", x=X, y=Y, sample_weight=W, batch_size=SIZE, verbose=0)
    assert_equal(received_batch(capture), Batch(X[:SIZE], Y[:SIZE], W[:SIZE]))
    assert form(received_batch(capture)) == model.received[-1]
    assert capture.batch_sizes == {8, 4}


def test_reading_again_starts_no_worker() -> None:
    import threading

    _, capture = caught(x=Batches(workers=2))
    before = threading.active_count()
    received_batch(capture)
    assert threading.active_count() <= before
