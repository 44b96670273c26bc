"""`lossproof check` sees through a Trainer: its terms are losses to it, and a healthy one gets no finding."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
from keras import ops

import lossproof as lp

from .models import data, nll_term, size, two_heads

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "objectives"
RULES = ["LP101", "LP103", "LP105", "LP202", "LP404", "LP405", "LP505"]


def trainer_of(*terms):
    trainer = lp.Trainer(two_heads(0.1, regularizer="l2"), list(terms))
    trainer.compile("sgd", metrics={"rating": ["mae"]})
    return trainer


def codes(report):
    return [finding.code for finding in report.findings if finding.severity != "note"]


def test_a_healthy_trainer_gets_no_finding():
    x, y = data(32)
    hidden = lp.Term(size, activation=lp.layer("hidden"), weight=lp.schedules.Linear(0.0, 0.1, steps=10))
    trainer = trainer_of(nll_term(), hidden, lp.Term("mse", output="rating", weight=0.5))
    trainer.fit(x, y, verbose=0)
    report = lp.check(trainer, x, y, sample_weight=np.linspace(0.5, 1.5, 32).astype("float32"), select=RULES)
    assert codes(report) == []


def test_a_term_that_pairs_all_rows_is_found():
    x, y = data(32)
    report = lp.check(trainer_of(nll_term()), x, y[:, 0], select=["LP101"])
    assert codes(report) == ["LP101"]
    where = report.findings[0].where
    assert where is not None
    assert where.expression == "mean - y_true"


def test_a_term_without_gradient_is_found():
    def counted(y_true, y_pred):
        return ops.mean(ops.cast(ops.abs(y_true - y_pred) > 0.5, "float32"), axis=-1)

    x, y = data(32)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    trainer = lp.Trainer(model, [lp.Term(counted, serializable=False)])
    trainer.compile("sgd")
    assert codes(lp.check(trainer, x, y, select=["LP202"])) == ["LP202"]


@pytest.mark.slow
def test_an_example_gets_no_finding(check_script, backend):
    # All of them on all backends: python scripts/healthy.py --folder examples/objectives
    name = {"tensorflow": "activation_penalty", "jax": "heteroscedastic", "torch": "multi_task"}[backend]
    checked = check_script(EXAMPLES / f"{name}.py")
    assert checked.report["captures"]
    assert checked.codes == []
