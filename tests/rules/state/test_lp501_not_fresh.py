"""LP501: comparisons in which the second arm goes on with the first one's weights, against losses in NumPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from lossproof.capture.watch import Watch
from lossproof.findings.finding import Finding, Severity
from lossproof.pipeline import judge

ROWS = 32
"""One batch, so that NumPy sees what the rule sees."""
_random = np.random.default_rng(5)
X = _random.normal(size=(ROWS, 4)).astype("float32")
Y = (X @ _random.normal(size=(4, 2)) + 1.0).astype("float32")


def findings(train: Callable[[], None]) -> list[Finding]:
    with Watch(shorten=True) as watch:
        train()
    report = judge(watch.run, select=["LP501"])
    assert not report.crashed, report.crashed
    assert not watch.defects, watch.defects
    return list(report.findings)


def not_fresh(train: Callable[[], None]) -> Finding:
    (found,) = findings(train)
    assert (found.code, found.severity) == ("LP501", Severity.WARNING)
    return found


def fit(model: keras.Model, loss: Any = "mse", rate: float = 0.1, y: np.ndarray = Y, **arguments: Any) -> None:
    """A training as in a comparison, run eagerly, which is quicker here."""
    model.compile(optimizer=keras.optimizers.Adam(rate), loss=loss, run_eagerly=True)
    model.fit(X, y, **{"batch_size": ROWS, "epochs": 3, "verbose": 0, **arguments})


def mean_square(weights: list[np.ndarray]) -> float:
    kernel, bias = (weight.astype("float64") for weight in weights)
    return float(np.mean((X @ kernel + bias - Y) ** 2))


def mean_absolute(weights: list[np.ndarray]) -> float:
    kernel, bias = (weight.astype("float64") for weight in weights)
    return float(np.mean(np.abs(X @ kernel + bias - Y)))


# Guilty -------------------------------------------------------------------------------------------------------------


def same_tensors() -> Callable[[], keras.Model]:
    inputs = keras.Input((4,))
    outputs = layers.Dense(2)(inputs)
    return lambda: keras.Model(inputs, outputs)


def same_layer() -> Callable[[], keras.Model]:
    layer = layers.Dense(2)
    return lambda: keras.Sequential([keras.Input((4,)), layer])


def same_base() -> Callable[[], keras.Model]:
    base = keras.Sequential([keras.Input((4,)), layers.Dense(2)])

    def build() -> keras.Model:
        inputs = keras.Input((4,))
        return keras.Model(inputs, base(inputs))

    return build


def same_attribute() -> Callable[[], keras.Model]:
    layer = layers.Dense(2)

    class Wrapped(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.layer = layer

        def call(self, inputs: Any) -> Any:
            return self.layer(inputs)

    def build() -> keras.Model:
        model = Wrapped()
        model(X[:1])
        return model

    return build


SHARING = {"tensors": same_tensors, "layer": same_layer, "base": same_base, "attribute": same_attribute}


@pytest.mark.parametrize("name", SHARING)
def test_two_losses_compared_on_the_same_weights(name: str) -> None:
    starts: list[list[np.ndarray]] = []

    def train() -> None:
        build = SHARING[name]()
        for loss in ("mse", "mae"):
            model = build()
            starts.append(model.get_weights())
            fit(model, loss)

    found = not_fresh(train)
    assert found.evidence["shared_weights"] == 2
    assert found.counterfactual.before == pytest.approx(mean_absolute(starts[1]), rel=1e-5)
    assert found.counterfactual.after == pytest.approx(mean_absolute(starts[0]), rel=1e-5)
    assert found.where is not None
    assert "model.fit(" in (found.where.source or "")


def test_every_further_arm_is_named_where_it_is_trained() -> None:
    def train() -> None:
        build = same_tensors()
        one, two, three = build(), build(), build()
        for model, loss in ((one, "mse"), (two, "mae"), (three, "huber")):
            model.compile(optimizer="sgd", loss=loss, run_eagerly=True)
        one.fit(X, Y, verbose=0)
        two.fit(X, Y, verbose=0)
        three.fit(X, Y, verbose=0)

    places = [found.where.source.strip() for found in findings(train) if found.where and found.where.source]
    assert places == ["two.fit(X, Y, verbose=0)", "three.fit(X, Y, verbose=0)"]


def test_a_loss_of_ones_own_beside_that_of_keras() -> None:
    def own(y_true: Any, y_pred: Any) -> Any:
        return keras.ops.mean(keras.ops.square(y_true - y_pred), axis=-1)

    starts: list[list[np.ndarray]] = []

    def train() -> None:
        build = same_tensors()
        for loss in ("mse", own):
            model = build()
            starts.append(model.get_weights())
            fit(model, loss)

    found = not_fresh(train)
    assert found.counterfactual.before == pytest.approx(mean_square(starts[1]), rel=1e-5)
    assert found.counterfactual.after == pytest.approx(mean_square(starts[0]), rel=1e-5)


# Innocent -----------------------------------------------------------------------------------------------------------


def fresh() -> keras.Model:
    return keras.Sequential([keras.Input((4,)), layers.Dense(2)])


def cloned(build: Callable[[], keras.Model]) -> None:
    first = build()
    fit(first)
    fit(keras.models.clone_model(first), "mae")


def rewound(build: Callable[[], keras.Model]) -> None:
    first = build()
    start = first.get_weights()
    fit(first)
    second = build()
    second.set_weights(start)
    fit(second, "mae")


def on_other_data(build: Callable[[], keras.Model]) -> None:
    fit(build())
    fit(build(), y=-Y)


def with_a_smaller_rate(build: Callable[[], keras.Model]) -> None:
    fit(build())
    fit(build(), rate=0.001)


def for_longer(build: Callable[[], keras.Model]) -> None:
    fit(build())
    fit(build(), epochs=10)


def by_turns(build: Callable[[], keras.Model]) -> None:
    one, other = build(), build()
    for _ in range(2):
        fit(one)
        fit(other, "mae")


def with_one_model(build: Callable[[], keras.Model]) -> None:
    model = build()
    fit(model)
    fit(model, "mae")


def in_part(build: Callable[[], keras.Model]) -> None:
    base = build()
    fit(base)
    base.trainable = False
    inputs = keras.Input((4,))
    fit(keras.Model(inputs, layers.Dense(2)(base(inputs))))


def with_another_head(build: Callable[[], keras.Model]) -> None:
    base = build()
    fit(base)
    inputs = keras.Input((4,))
    fit(keras.Model(inputs, layers.Dense(2)(base(inputs))))


def looked_at(build: Callable[[], keras.Model]) -> None:
    """The trained layers, in a second model that is only evaluated."""
    fit(build())
    second = build()
    second.compile(optimizer="sgd", loss="mae", run_eagerly=True)
    second.evaluate(X, Y, verbose=0)


ON_PURPOSE = {
    one.__name__: one
    for one in (
        cloned,
        rewound,
        on_other_data,
        with_a_smaller_rate,
        for_longer,
        by_turns,
        with_one_model,
        in_part,
        with_another_head,
        looked_at,
    )
}


@pytest.mark.parametrize("name", ON_PURPOSE)
def test_what_is_no_comparison_is_left_alone(name: str) -> None:
    assert findings(lambda: ON_PURPOSE[name](same_tensors())) == []


def test_fresh_layers_for_each_arm() -> None:
    def train() -> None:
        for loss in ("mse", "mae"):
            keras.utils.set_random_seed(0)
            fit(fresh(), loss)

    assert findings(train) == []


def test_folds_with_fresh_layers() -> None:
    def train() -> None:
        for fold in range(3):
            left = np.arange(ROWS) % 3 != fold
            model = fresh()
            model.compile(optimizer="sgd", loss="mse", run_eagerly=True)
            model.fit(X[left], Y[left], verbose=0)

    assert findings(train) == []
