"""Schedules against their formulas in NumPy float64."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import ops

import lossproof as lp

STEPS = [0, 1, 2, 3, 5, 7, 9, 10, 11, 19, 20, 25, 37, 40, 1000]
S = lp.schedules


def part(t, steps, begin=0):
    return min(max(t - begin, 0) / steps, 1)


def logistic(value):
    return 1 / (1 + np.exp(-value))


def cyclic(t, start, end, period, ratio, cycles=None, f=lambda p: p, begin=0):
    since = max(t - begin, 0)
    if cycles is not None and since >= cycles * period:
        return end
    tau = (since % period) / period
    return start + (end - start) * f(min(tau / ratio, 1))


REFERENCES = {
    "linear": (S.Linear(0.2, 1.0, steps=10), lambda t: 0.2 + 0.8 * part(t, 10)),
    "linear, later": (S.Linear(1.0, -1.0, steps=8, begin=3), lambda t: 1 - 2 * part(t, 8, 3)),
    "cosine": (S.Cosine(0.0, 2.0, steps=20), lambda t: 2 + (0 - 2) * (1 + np.cos(np.pi * part(t, 20))) / 2),
    "sigmoid": (S.Sigmoid(0.0, 1.0, steps=20), lambda t: logistic(10 * (t / 20 - 0.5))),
    "sigmoid, steeper": (
        S.Sigmoid(3.0, 1.0, steps=20, begin=2, steepness=20.0),
        lambda t: 3 - 2 * logistic(20 * (max(t - 2, 0) / 20 - 0.5)),
    ),
    "cyclical": (S.Cyclical(0.0, 1.0, period=10), lambda t: cyclic(t, 0, 1, 10, 0.5)),
    "cyclical, three": (
        S.Cyclical(0.1, 0.9, period=7, ratio=0.8, cycles=3, begin=2),
        lambda t: cyclic(t, 0.1, 0.9, 7, 0.8, 3, begin=2),
    ),
    "cyclical, cosine": (
        S.Cyclical(0.0, 1.0, period=10, shape="cosine"),
        lambda t: cyclic(t, 0, 1, 10, 0.5, f=lambda p: (1 - np.cos(np.pi * p)) / 2),
    ),
    "cyclical, sigmoid": (
        S.Cyclical(0.0, 1.0, period=10, shape="sigmoid"),
        lambda t: cyclic(t, 0, 1, 10, 0.5, f=lambda p: logistic(10 * (p - 0.5))),
    ),
    "piecewise": (
        S.Piecewise([5, 20], [1.0, 0.5, 0.1]),
        lambda t: 1.0 if t <= 5 else 0.5 if t <= 20 else 0.1,
    ),
    "piecewise, lines": (
        S.Piecewise([5, 10, 20], [0.0, 1.0, 0.5], interpolation="linear"),
        lambda t: np.interp(t, [5, 10, 20], [0.0, 1.0, 0.5]),
    ),
}


@pytest.mark.parametrize("name", REFERENCES)
def test_values(name):
    schedule, reference = REFERENCES[name]
    for t in STEPS:
        value = schedule(ops.convert_to_tensor(t, dtype="int32"))
        assert tuple(value.shape) == ()
        assert float(ops.convert_to_numpy(value)) == pytest.approx(reference(t), rel=2e-6, abs=2e-6)


@pytest.mark.parametrize("name", REFERENCES)
def test_round_trip(name):
    schedule, _ = REFERENCES[name]
    config = keras.saving.serialize_keras_object(schedule)
    assert config["registered_name"].startswith("lossproof>")
    loaded = keras.saving.deserialize_keras_object(config)
    assert repr(loaded) == repr(schedule)


def test_the_same_as_piecewise_constant_decay():
    ours = S.Piecewise([3, 6], [1.0, 0.5, 0.1])
    theirs = keras.optimizers.schedules.PiecewiseConstantDecay([3, 6], [1.0, 0.5, 0.1])
    assert [float(ours(t)) for t in range(9)] == [float(theirs(t)) for t in range(9)]


def test_ends_are_exact_and_steps_beyond_float_precision_count():
    linear = S.Linear(0.1, 0.3, steps=3)
    assert float(linear(3)) == np.float32(0.3)
    late = S.Linear(0.0, 1.0, steps=4, begin=2**24)
    assert float(late(ops.convert_to_tensor(2**24 + 1, dtype="int32"))) == 0.25


def test_they_are_learning_rates():
    optimizer = keras.optimizers.SGD(S.Linear(1.0, 0.0, steps=4))
    variable = keras.Variable(0.0)
    optimizer.build([variable])
    optimizer.apply([ops.convert_to_tensor(1.0)])
    optimizer.apply([ops.convert_to_tensor(1.0)])
    assert float(ops.convert_to_numpy(variable)) == pytest.approx(-1.75)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: S.Linear(0, float("nan"), steps=3), r"Linear\(end=...\) takes a finite number, found nan"),
        (lambda: S.Linear(0, 1, steps=0), r"Linear\(steps=...\) takes at least 1, found 0"),
        (lambda: S.Linear(0, 1, steps=2.5), r"Linear\(steps=...\) takes a whole number of steps, found 2.5"),
        (lambda: S.Linear("a", 1, steps=2), r"Linear\(start=...\) takes a number, found 'a'"),
        (lambda: S.Cyclical(0, 1, period=4, ratio=0), r"ratio=0.0\) is a part of a cycle: expected 0 < ratio <= 1"),
        (lambda: S.Cyclical(0, 1, period=4, shape="saw"), r"shape='saw'\) is none of 'linear', 'cosine', 'sigmoid'"),
        (lambda: S.Sigmoid(0, 1, steps=4, steepness=-1), r"steepness=-1.0\) has to be positive"),
        (lambda: S.Piecewise([3, 3], [1, 2, 3]), r"boundaries=\[3, 3\]\): expected at least one step, increasing"),
        (lambda: S.Piecewise([3, 4], [1, 2]), r"with 2 boundaries takes 3 values, found 2"),
        (lambda: S.Piecewise([3], [1, 2], interpolation="cubic"), r'neither "constant" nor "linear"'),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises((TypeError, ValueError), match=message):
        make()
