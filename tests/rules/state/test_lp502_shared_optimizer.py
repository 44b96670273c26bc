"""LP502: steps of an optimizer that has trained another model, against Adam and momentum in NumPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from lossproof.findings.finding import Finding, Severity

from .own_steps import BACKEND, ROWS, X, Y, errors, findings, linear

RATE = 0.1


def fit(model: keras.Model, optimizer: Any, loss: Any = "mse", y: np.ndarray = Y, **arguments: Any) -> None:
    model.compile(optimizer=optimizer, loss=loss, run_eagerly=True)
    model.fit(X, y, **{"batch_size": ROWS, "verbose": 0, **arguments})


def said(script: Callable[[], Any]) -> list[Finding]:
    return findings("LP502", script, raises=True)


def gradient(kernel: np.ndarray, bias: np.ndarray) -> list[np.ndarray]:
    """Of the mean square, in float64."""
    error = errors([kernel, bias])
    return [-2.0 * X.T.astype("float64") @ error / ROWS, -2.0 * error.mean(axis=0)]


def after(weights: list[np.ndarray], step: list[np.ndarray]) -> float:
    return float(np.mean(errors([w.astype("float64") - s for w, s in zip(weights, step, strict=True)]) ** 2))


def length(step: list[np.ndarray]) -> float:
    return float(np.sqrt(sum(float(np.sum(s**2)) for s in step)))


# Guilty -------------------------------------------------------------------------------------------------------------


def test_the_moments_of_another_model_in_numbers() -> None:
    """A momentum: the old model's velocity goes on in the new one's first step."""
    one, two = linear(), linear()
    first, second = one.get_weights(), two.get_weights()

    def script() -> None:
        optimizer = keras.optimizers.SGD(RATE, momentum=0.9)
        fit(one, optimizer)
        fit(two, optimizer)

    (found,) = said(script)
    assert (found.code, found.severity) == ("LP502", Severity.ERROR)
    fresh = [RATE * g for g in gradient(*second)]
    assert found.counterfactual.after == pytest.approx(after(second, fresh), rel=1e-4)
    if BACKEND == "jax":
        carried = [f + 0.9 * RATE * g for f, g in zip(fresh, gradient(*first), strict=True)]
        assert found.counterfactual.before == pytest.approx(after(second, carried), rel=1e-4)
        (row,) = found.counterfactual.rows
        assert (row.before, row.after) == pytest.approx((length(carried), length(fresh)), rel=1e-4)
        assert found.evidence["steps before"] == 1
    else:
        assert found.evidence["explains_error"]
        assert isinstance(found.counterfactual.before, str)


@pytest.mark.parametrize("kind", [keras.optimizers.Adam, keras.optimizers.RMSprop])
def test_one_optimizer_for_all_folds(kind: type[keras.optimizers.Optimizer]) -> None:
    def script() -> None:
        optimizer = kind(RATE)
        for fold in range(2):
            keras.utils.set_random_seed(fold)
            model = linear()
            model.compile(optimizer=optimizer, loss="mse", run_eagerly=True)
            rows = np.arange(ROWS) % 2 != fold
            model.fit(X[rows], Y[rows], verbose=0)

    (found,) = said(script)
    assert (found.evidence["built for"], found.evidence["unknown"]) == (2, 2)
    assert found.where is not None
    assert "model.compile(" in (found.where.source or "")


def test_a_clone_with_the_optimizer_of_the_first() -> None:
    def script() -> None:
        model = linear()
        fit(model, keras.optimizers.Adam(RATE))
        fit(keras.models.clone_model(model), model.optimizer)

    assert said(script)


@pytest.mark.backend("jax")
def test_a_schedule_goes_on_counting() -> None:
    """Without any moment the counter alone is carried on: the second model starts at a quarter of the rate."""
    one, two = linear(), linear()
    second = two.get_weights()

    def script() -> None:
        schedule = keras.optimizers.schedules.ExponentialDecay(RATE, decay_steps=1, decay_rate=0.5)
        optimizer = keras.optimizers.SGD(schedule)
        fit(one, optimizer, epochs=1, batch_size=ROWS // 2)
        fit(two, optimizer)

    (found,) = said(script)
    whole = gradient(*second)
    steps = found.evidence["steps before"]
    assert steps == 2
    assert found.counterfactual.before == pytest.approx(after(second, [RATE / 4.0 * g for g in whole]), rel=1e-4)
    assert found.counterfactual.after == pytest.approx(after(second, [RATE * g for g in whole]), rel=1e-4)


@pytest.mark.parametrize("again", ["weights", "fold"])
def test_weights_set_back_without_the_optimizer_in_numbers(again: str) -> None:
    """One step with a momentum, then the first weights: the velocity goes on."""
    model = linear()
    start = model.get_weights()
    other = Y if again == "weights" else Y[::-1].copy()

    def script() -> None:
        fit(model, keras.optimizers.SGD(RATE, momentum=0.9))
        model.set_weights(start)
        model.fit(X, other, batch_size=ROWS, verbose=0)

    (found,) = said(script)
    first = [RATE * g for g in gradient(*start)]
    carried = [1.9 * step for step in first]
    assert found.counterfactual.before == pytest.approx(after(start, carried), rel=1e-4)
    assert found.counterfactual.after == pytest.approx(after(start, first), rel=1e-4)
    assert found.evidence["steps before"] == 1


# Innocent -----------------------------------------------------------------------------------------------------------


def fresh_for_each() -> None:
    for _ in range(2):
        fit(linear(), keras.optimizers.Adam(RATE))


def by_name() -> None:
    for _ in range(2):
        fit(linear(), "adam")


def by_config() -> None:
    settings = keras.optimizers.Adam(RATE)
    for _ in range(2):
        fit(linear(), keras.optimizers.Adam.from_config(settings.get_config()))


def compiled_again() -> None:
    """The same model goes on with its own optimizer."""
    model, optimizer = linear(), keras.optimizers.Adam(RATE)
    fit(model, optimizer)
    fit(model, optimizer, loss="mae")


def built_for_both() -> None:
    one, two, optimizer = linear(), linear(), keras.optimizers.Adam(RATE)
    optimizer.build([*one.trainable_variables, *two.trainable_variables])
    for model in (one, two) if BACKEND != "jax" else ():  # JAX asks for the weights in their number
        fit(model, optimizer)
    fit(linear(), keras.optimizers.Adam(RATE))


def same_weights_in_another_model() -> None:
    model, optimizer = linear(), keras.optimizers.Adam(RATE)
    fit(model, optimizer)
    inputs = keras.Input((3,))
    fit(keras.Model(inputs, model(inputs)), optimizer)


def fine_tuned_with_its_own() -> None:
    base = linear()
    fit(base, keras.optimizers.Adam(RATE))
    base.trainable = False
    inputs = keras.Input((3,))
    model = keras.Model(inputs, layers.Dense(1)(base(inputs)))
    fit(model, keras.optimizers.Adam(RATE))
    base.trainable = True
    fit(model, keras.optimizers.Adam(RATE / 10.0))


def two_players() -> None:
    """A discriminator, and a generator trained through it, each with an optimizer of its own."""
    generator = keras.Sequential([keras.Input((3,)), layers.Dense(3)])
    discriminator = keras.Sequential([keras.Input((3,)), layers.Dense(1, activation="sigmoid")])
    discriminator.compile(optimizer=keras.optimizers.Adam(RATE), loss="binary_crossentropy", run_eagerly=True)
    inputs = keras.Input((3,))
    discriminator.trainable = False
    combined = keras.Model(inputs, discriminator(generator(inputs)))
    combined.compile(optimizer=keras.optimizers.Adam(RATE), loss="binary_crossentropy", run_eagerly=True)
    real = np.ones((ROWS, 1), "float32")
    for _ in range(2):
        discriminator.trainable = True
        discriminator.train_on_batch(X, real)
        discriminator.trainable = False
        combined.train_on_batch(X, real)


def only_evaluated() -> None:
    model, optimizer = linear(), keras.optimizers.Adam(RATE)
    fit(model, optimizer)
    other = linear()
    other.compile(optimizer=optimizer, loss="mse", run_eagerly=True)
    other.evaluate(X, Y, verbose=0)


def with_modes() -> None:
    for _ in range(2):
        inputs = keras.Input((3,))
        hidden = layers.BatchNormalization()(layers.Dropout(0.5)(inputs))
        fit(keras.Model(inputs, layers.Dense(1)(hidden)), keras.optimizers.SGD(RATE, momentum=0.9))


INNOCENT = [
    fresh_for_each,
    by_name,
    by_config,
    compiled_again,
    built_for_both,
    same_weights_in_another_model,
    fine_tuned_with_its_own,
    two_players,
    only_evaluated,
    with_modes,
]


@pytest.mark.parametrize("script", INNOCENT, ids=lambda one: one.__name__)
def test_every_optimizer_has_its_model(script: Callable[[], None]) -> None:
    assert not findings("LP502", script)


@pytest.mark.backend("jax")
def test_plain_descent_carries_nothing_on() -> None:
    """Without moments and schedule a shared optimizer does what a fresh one does."""

    def script() -> None:
        optimizer = keras.optimizers.SGD(RATE)
        fit(linear(), optimizer)
        fit(linear(), optimizer)

    assert not findings("LP502", script)


def test_weights_set_back_with_nothing_to_carry_or_a_new_optimizer() -> None:
    model = linear()
    start = model.get_weights()

    def without_a_state() -> None:
        fit(model, keras.optimizers.SGD(RATE))
        model.set_weights(start)
        model.fit(X, Y, batch_size=ROWS, verbose=0)

    def compiled_again() -> None:
        for _ in range(2):
            model.set_weights(start)
            fit(model, keras.optimizers.Adam(RATE))

    def trained_on() -> None:
        fit(model, keras.optimizers.Adam(RATE))
        best = model.get_weights()
        model.fit(X, Y, batch_size=ROWS, verbose=0)
        model.set_weights(best)
        model.fit(X, Y, batch_size=ROWS, verbose=0)

    for script in (without_a_state, compiled_again, trained_on):
        assert not said(script)
