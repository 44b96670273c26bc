"""LP204: the objective is NaN or infinite on inputs that the script reaches."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from lossproof.findings.finding import Counterfactual, Finding, Fix
from lossproof.rules.gradient import telling
from lossproof.rules.rule import Rule

if TYPE_CHECKING:
    from lossproof.lab.gradient.trouble import Trouble
    from lossproof.lab.lab import Lab


class NonFiniteValue(Rule):
    """A division, a logarithm or a power outside of its domain, on rows that are there."""

    code = "LP204"
    name = "non-finite-value"
    severity = "error / warning"
    summary = "is NaN or Inf on inputs this script reaches"
    explanation = """
One row is enough: a NaN in the loss of one sample is a NaN in the mean, and with it in every gradient and, after one
step, in every weight. It often takes a rare row: a window without a valid value (a masked mean is then 0/0), a target
of 0 under a logarithm, a norm of 0 in a denominator. Nothing raises; the bar says `loss: nan`.

**Proof.** The loss is evaluated on the captured batch, on the targets of all rows that were passed as arrays (and on as
many of them as time allows with the model's own predictions), or on a few more batches of an iterable. A row found so
is put among others in a batch: the objective is NaN with it and finite without it. That is an error.

A warning is what training leads to. If the output saturates (a sigmoid or softmax is exactly 0 or 1 in float32 once its
logits are large, a relu is exactly 0), predictions that are right and sure are tried on half of the targets: a
logarithm without an epsilon then gives `0 * -inf`. Sure and wrong predictions are not tried, since nothing says how far
training would go against its own gradient.

**What to do.** Guard the operand, not the result: `ops.maximum(count, 1.0)` under a division, `ops.log(p + 1e-7)`.
In float32 `1 - 1e-8` is 1, so an epsilon must not be smaller than 1e-7.
"""
    source = (
        "keras/src/backend/common/backend_utils.py and keras/src/losses/losses.py: built-in losses clip by epsilon()",
        "https://whosebug.com/question/4068767/Custom-Keras-loss-function-that-conditionally-creates-a-zero-gradient",
    )
    yields_to = ("LP307",)
    guilty = """
import keras
import numpy as np
from keras import layers, ops

rng = np.random.default_rng(0)
x = rng.normal(size=(200, 4)).astype("float32")
y = rng.normal(size=(200, 5)).astype("float32")
y[rng.random((200, 5)) < 0.2] = 0.0  # 0 stands for a missing value
y[117] = 0.0  # a row of nothing but missing values


def masked_error(y_true, y_pred):
    valid = ops.cast(y_true != 0.0, "float32")
    return ops.sum(valid * ops.square(y_true - y_pred), axis=-1) / ops.sum(valid, axis=-1)  # expect: LP204


model = keras.Sequential([keras.Input((4,)), layers.Dense(5)])
model.compile(optimizer="adam", loss=masked_error)
model.fit(x, y, verbose=0)
"""
    innocent = """
import keras
import numpy as np
from keras import layers, ops

rng = np.random.default_rng(0)
x = rng.normal(size=(200, 4)).astype("float32")
y = rng.normal(size=(200, 5)).astype("float32")
y[rng.random((200, 5)) < 0.2] = 0.0  # 0 stands for a missing value
y[117] = 0.0  # a row of nothing but missing values


def masked_error(y_true, y_pred):
    valid = ops.cast(y_true != 0.0, "float32")
    squared = ops.sum(valid * ops.square(y_true - y_pred), axis=-1)
    return squared / ops.maximum(ops.sum(valid, axis=-1), 1.0)


model = keras.Sequential([keras.Input((4,)), layers.Dense(5)])
model.compile(optimizer="adam", loss=masked_error)
model.fit(x, y, verbose=0)
"""

    def check(self, lab: Lab) -> Iterator[Finding]:
        from lossproof.lab.gradient.troubles import troubles

        for trouble in lab.once(troubles):
            if trouble.kind == "value":
                yield self._finding(lab, trouble)

    def _finding(self, lab: Lab, trouble: Trouble) -> Finding:
        what = "NaN" if math.isnan(trouble.cure.before) else "infinite"
        return Finding(
            code=self.code,
            name=self.name,
            severity=trouble.severity,
            title=f"the loss is {what} {telling.where_met(trouble)}",
            where=telling.place(lab, trouble),
            measured=telling.measured(trouble),
            explanation=" ".join(self._sentences(lab, trouble, what)),
            evidence={**telling.evidence(trouble), "reported not finite": telling.reported(lab.capture.logs)},
            counterfactual=Counterfactual(
                change=trouble.cure.change,
                before=trouble.cure.before,
                after=trouble.cure.after,
                columns=("as it is", "changed"),
            ),
            fix=Fix(self._fix(trouble)),
        )

    def _sentences(self, lab: Lab, trouble: Trouble, what: str) -> Iterator[str]:
        name = trouble.subject.name if trouble.subject is not None else "The objective"
        numbers = telling.numbers(trouble)
        at = f" ({numbers})" if numbers else ""
        if trouble.reach == "confident":
            yield (
                f"The output saturates, so training drives its predictions onto their targets exactly{at}; there "
                f"{name} is {what}."
            )
        elif trouble.partial:
            yield f"{telling.last_batch(trouble)} There {name} is {what}{at}."
        elif trouble.affected == trouble.searched:
            yield f"{name} is {what} for the whole batch{at}."
        else:
            yield f"{name} is {what} on {telling.rows(trouble)}{at}, and finite on the others."
        if trouble.arrived is not None:
            yield f"The {trouble.arrived} are NaN or infinite when they arrive."
        elif trouble.event is not None and trouble.event.operands:
            yield f"It is born in `{trouble.event.place.expression}`."
        if trouble.modes:
            yield f"It shows under {trouble.modes}."
        logged = telling.reported(lab.capture.logs)
        if logged:
            yield f"The run reported it: {', '.join(logged)}."
        yield "One such sample spoils the loss of its batch and, by the gradient, every weight. Nothing raises."

    def _fix(self, trouble: Trouble) -> str:
        if trouble.arrived is not None:
            return f"Clean the {trouble.arrived}, or replace such entries before any arithmetic is done on them."
        return (
            "Guard the operand, not the result: a divisor by ops.maximum(divisor, 1e-7) (or 1.0 for a count), a "
            "logarithm by an epsilon of at least 1e-7 inside."
        )
