"""The first steps of a captured training, run again: against SGD by hand, and without a trace."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

import lossproof as lp
from lossproof.audit import audit
from lossproof.capture.record import Run
from lossproof.capture.watch import Watch
from lossproof.ledger import rehearsed
from lossproof.ledger.course import Course
from lossproof.report.html.check import to_html
from lossproof.report.report import Report

RATE, L2, ROWS, SIZE = 0.1, 0.25, 32, 8
X = np.random.default_rng(7).normal(size=(ROWS, 3)).astype("float32")
Y = {"a": X[:, :1] * 2.0, "b": (X[:, 1:2] > 0).astype("float32")}


def two_outputs() -> Any:
    inputs = layers.Input((3,))
    penalty = keras.regularizers.L2(L2)
    a = layers.Dense(1, use_bias=False, kernel_regularizer=penalty, name="a")(inputs)
    model = keras.Model(inputs, {"a": a, "b": layers.Dense(1, use_bias=False, name="b")(inputs)})
    model.compile(keras.optimizers.SGD(RATE), {"a": "mse", "b": "mse"}, loss_weights={"a": 1.0, "b": 0.5})
    return model


def watched(model: Any, **fit: Any) -> Run:
    with Watch(shorten=True) as watch:
        model.fit(X, fit.pop("y", Y), batch_size=SIZE, verbose=0, **fit)
    return watch.run


def course_of(run: Run) -> Course | None:
    (card,) = audit(run, [], course=True).cards
    return card.course


def by_hand(wa: np.ndarray, wb: np.ndarray, steps: int) -> list[tuple[float, float, float]]:
    """Contribution of a, of b and of the penalty at each step, in float64."""
    found = []
    for k in range(steps):
        rows = slice(k * SIZE % ROWS, k * SIZE % ROWS + SIZE)
        x, ya, yb = (one[rows].astype("float64") for one in (X, Y["a"], Y["b"]))
        ra, rb = x @ wa - ya, x @ wb - yb
        found.append((float(np.mean(ra**2)), 0.5 * float(np.mean(rb**2)), L2 * float(np.sum(wa**2))))
        wa = wa - RATE * (2.0 * x.T @ ra / SIZE + 2.0 * L2 * wa)
        wb = wb - RATE * 0.5 * (2.0 * x.T @ rb / SIZE)
    return found


def test_the_steps_are_those_of_training_and_nothing_is_left_changed() -> None:
    model = two_outputs()
    start = {one.path: one.numpy().astype("float64") for one in model.trainable_variables}
    run = watched(model, shuffle=False, epochs=10)
    before = [np.array(one) for one in [*model.get_weights(), *(v.numpy() for v in model.optimizer.variables)]]
    course = course_of(run)
    assert len(course.entries) == rehearsed.STEPS
    assert [entry.step for entry in course.entries] == list(range(rehearsed.STEPS))
    expected = by_hand(start["a/kernel"], start["b/kernel"], rehearsed.STEPS)
    for entry, parts in zip(course.entries, expected, strict=True):
        np.testing.assert_allclose([part.contribution for part in entry.parts], parts, rtol=2e-5)
        assert entry.closes
        assert entry.gradients.parts == ("a", "b", "regularization")
    after = [np.array(one) for one in [*model.get_weights(), *(v.numpy() for v in model.optimizer.variables)]]
    assert all(np.array_equal(one, two) for one, two in zip(before, after, strict=True))


def test_as_many_steps_as_training_has() -> None:
    course = course_of(watched(two_outputs(), epochs=1))
    assert len(course.entries) == ROWS // SIZE


def test_one_loss_has_no_course() -> None:
    model = keras.Sequential([layers.Input((3,)), layers.Dense(1)])
    model.compile("sgd", "mse")
    assert course_of(watched(model, y=Y["a"])) is None


def test_a_scheduled_weight_is_told_for_the_whole_training() -> None:
    inputs = layers.Input((3,))
    outputs = {name: layers.Dense(1, name=name)(inputs) for name in ("a", "b")}
    rise = lp.schedules.Linear(0.0, 1.0, steps=100)
    objective = lp.Objective(
        [lp.Term("mse", output="a", name="fit"), lp.Term("mae", output="b", name="rise", weight=rise)]
    )
    trainer = lp.Trainer(keras.Model(inputs, outputs), objective)
    trainer.compile(keras.optimizers.SGD(RATE))
    course = course_of(watched(trainer, epochs=50))
    assert course.at[-1] == 50 * ROWS // SIZE - 1
    assert list(course.schedules) == ["rise"]
    np.testing.assert_allclose(course.schedules["rise"], np.minimum(np.array(course.at) / 100.0, 1.0), atol=1e-6)
    weights = [entry.parts[1].weight for entry in course.entries]
    np.testing.assert_allclose(weights, np.arange(len(weights)) / 100.0, atol=1e-6)


class OwnStep(keras.Model):
    """Keras's own step, called by one of the user's."""

    def train_step(self, *args, **kwargs):
        return super().train_step(*args, **kwargs)


def test_what_cannot_be_run_again_is_said_and_fails_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    functional = two_outputs()
    model = OwnStep(functional.inputs, functional.output)
    model.compile(keras.optimizers.SGD(RATE), {"a": "mse", "b": "mse"})
    run = watched(model)
    course = course_of(run)
    assert course.entries == ()
    assert "OwnStep.train_step is the user's own" in course.unseen
    assert [part.name for part in course.batch.parts][:2] == ["a", "b"]

    def broken(_: Any) -> Any:
        raise RuntimeError("broken")

    monkeypatch.setattr(rehearsed, "_batches", broken)
    assert course_of(run).unseen == "RuntimeError: broken"
    monkeypatch.setattr(rehearsed, "account", broken)
    assert course_of(run) is None


def test_the_page_draws_it(tmp_path: Path) -> None:
    verdict = audit(watched(two_outputs(), epochs=10), [], course=True)
    page = to_html(Report("train.py", "torch", "3", tuple(verdict.cards)))
    for title in ("What the total is made of", "Its first 20 steps", "What the loss was made of",
                  "Gradient of each term", "Which term drives which layer", "Which terms pull against each other"):  # fmt: skip
        assert title in page
    assert "a kernel" in page  # the regularizer, apart from the losses
