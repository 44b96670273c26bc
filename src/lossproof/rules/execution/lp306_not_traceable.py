"""LP306: the objective works on values and cannot be traced."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from lossproof.findings.finding import Counterfactual, Finding, Fix, Severity
from lossproof.lab.failure import in_words
from lossproof.rules.rule import NotApplicable, Rule

if TYPE_CHECKING:
    from lossproof.lab.execution.traceability import Untraceable
    from lossproof.lab.lab import Lab


class NotTraceable(Rule):
    """A loss that leaves the backend, or asks a tensor for its value."""

    code = "LP306"
    name = "not-traceable"
    severity = "error"
    summary = "works eagerly but cannot be traced (numpy(), python `if` on a tensor)"
    explanation = """
`fit` traces your code before it runs it: TensorFlow and JAX into a graph, JAX and PyTorch for autodiff. While it is traced
a tensor has a shape and no value. Code that needs the value stops there: NumPy functions, `.numpy()`, `float(...)`,
`.item()`, a Python `if`, `while` or `for` over a tensor, an f-string. Called by hand, on values, the same function works.

**Proof.** The objective is evaluated on the captured batch with values, untouched by tracing and autodiff: it is
finite. Then it is traced as `fit` does: the same exception, from the same expression.

**What to do.** Write it in `keras.ops`: `ops.where` or `ops.cond` for an `if`, `ops.shape(x)[0]` for a size, `ops.sum`
for `np.sum`. Numbers that are only reported belong into a metric or a callback. `run_eagerly=True` lets TensorFlow run
such code, but what NumPy returns is a constant for autodiff (LP202).
"""
    source = (
        "keras/src/backend/tensorflow/trainer.py, _make_function; keras/src/backend/jax/trainer.py, make_train_function",
        "https://docs.jax.dev/en/latest/errors.html",
        "https://github.com/keras-team/keras/issues/16998",
    )
    backends = ("tensorflow", "jax")
    yields_to = ("LP411",)
    guilty = """
import keras
import numpy as np
from keras import layers, ops

rng = np.random.default_rng(0)
x = rng.normal(size=(64, 4)).astype("float32")
y = x[:, :1]


def capped(y_true, y_pred):
    error = ops.abs(y_true - y_pred)
    if ops.max(error) > 3.0:  # expect: LP306
        error = ops.minimum(error, 3.0) + 0.01 * error
    return ops.mean(error, axis=-1)


model = keras.Sequential([keras.Input((4,)), layers.Dense(1)])
model.compile(optimizer="sgd", loss=capped)
model.fit(x, y, verbose=0)
"""
    innocent = """
import keras
import numpy as np
from keras import layers, ops

rng = np.random.default_rng(0)
x = rng.normal(size=(64, 4)).astype("float32")
y = x[:, :1]


def capped(y_true, y_pred):
    error = ops.abs(y_true - y_pred)
    if len(y_true.shape) > 1:
        error = ops.where(error > 3.0, 3.0 + 0.01 * error, error)
    return ops.mean(error, axis=-1)


model = keras.Sequential([keras.Input((4,)), layers.Dense(1)])
model.compile(optimizer="sgd", loss=capped)
model.fit(x, y, verbose=0)
"""

    def check(self, lab: Lab) -> Iterator[Finding]:
        from lossproof.lab.execution.traceability import untraceable

        error = lab.capture.error
        if error is None or lab.capture.model is None:
            raise NotApplicable("nothing raised")
        found = lab.attempt(lambda: lab.once(untraceable))
        if found is not None:
            yield self._finding(lab, found)

    def _finding(self, lab: Lab, found: Untraceable) -> Finding:
        line = in_words(found.error)
        what = {"objective": "the objective", "train_step": "train_step", "metric": "a metric"}[found.part]
        by = {
            "graph": "TensorFlow traces the step into a graph",
            "jit": "the step is traced to be compiled",
            "autodiff": "autodiff follows the tensors",
        }[found.tracing]
        expression = f"`{found.where.expression}`" if found.where and found.where.expression else "this expression"
        return Finding(
            code=self.code,
            name=self.name,
            severity=Severity.ERROR,
            title=f"{what} needs values where {by}",
            where=found.where or lab.capture.where,
            explanation=(
                f"On values {what} is {found.value:.4g}. In {lab.capture.call} {by}, and there {expression} asks for a "
                f"value that does not exist yet, or that would be lost to autodiff: {line}."
            ),
            evidence={"part": found.part, "tracing": found.tracing, "explains_error": True},
            counterfactual=Counterfactual(
                change="the same code on values, without tracing",
                before=line,
                after=found.value,
                label=f"{what} on this batch",
                columns=("traced", "on values"),
            ),
            fix=Fix(
                "Write it in keras.ops: ops.where or ops.cond instead of a Python `if`, ops.sum instead of np.sum, "
                "ops.shape(x)[0] instead of len(x). What is only reported belongs into a metric or a callback."
            ),
        )
