"""LP203: the objective is finite and its gradient is not, on inputs that the script reaches."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from lossproof.findings.finding import Counterfactual, Finding, Fix
from lossproof.rules.gradient import telling
from lossproof.rules.rule import NotApplicable, Rule

if TYPE_CHECKING:
    from lossproof.lab.gradient.trouble import Trouble
    from lossproof.lab.lab import Lab


class NonFiniteGradient(Rule):
    """A square root, a norm or a fractional power at 0, or a `where` that hides a NaN from the value alone."""

    code = "LP203"
    name = "non-finite-gradient"
    severity = "error / warning"
    summary = "gives NaN or Inf gradients on inputs this script reaches"
    explanation = """
The value can be perfect where the derivative does not exist: `sqrt`, a norm and `w ** 0.5` are 0 at 0 with an infinite
slope. The chain rule multiplies it by the 0 of what is inside, and `inf * 0` is NaN. So a distance between two equal
embeddings, a norm of an error that is exactly 0 or a focal weight with `gamma < 1` ends training at the sample that the
model gets exactly right. `ops.where(valid, ops.sqrt(x), 0.0)` does not help: it selects the value, and the gradient of
the branch that was not selected is 0 times infinity all the same.

The loss falls as it should, and turns NaN one step later. Clipping the gradient does not help either.

**Proof.** The gradient is taken on the captured batch, on the targets of all rows that were passed as arrays, and on as
many of them as time allows with the model's own predictions. It is NaN or infinite with the rows named, and finite
without them. That is an error.

A warning is what training leads to: predictions that are right and as sure as the output can be (a sigmoid or softmax
is exactly 1 in float32 from a logit of 17 on), or a NaN that only another mode of execution shows: TensorFlow's own
kernel gives 0 for `0 * inf` in the derivative of a square root, XLA on an accelerator gives NaN.

**What to do.** Keep the operand away from the singular point: `ops.sqrt(x + 1e-7)`, `ops.maximum(w, 1e-7) ** gamma`;
with a mask, replace the *operand* where it is not valid, `ops.sqrt(ops.where(valid, x, 1.0))`, before the result.
"""
    source = (
        "https://github.com/fizyr/keras-retinanet/issues/706",
        "tensorflow/core/kernels/cwise_ops.h, sqrt_grad: 0 where the incoming gradient is 0",
        "https://docs.jax.dev/en/latest/faq.html#gradients-contain-nan-where-using-where",
    )
    yields_to = ("LP307",)
    guilty = """
import keras
import numpy as np
from keras import layers, ops

rng = np.random.default_rng(0)
x = rng.normal(size=(96, 4)).astype("float32")
y = np.eye(2, dtype="float32")[(x[:, 0] > 0).astype(int)]


def focal(y_true, y_pred):
    missing = ops.where(y_true == 1.0, 1.0 - y_pred, y_pred)
    weight = missing**0.5  # expect: LP203
    return ops.mean(weight * ops.binary_crossentropy(y_true, y_pred), axis=-1)


model = keras.Sequential([keras.Input((4,)), layers.Dense(2, activation="sigmoid")])
model.compile(optimizer="adam", loss=focal)
model.fit(x, y, verbose=0)
"""
    innocent = """
import keras
import numpy as np
from keras import layers, ops

rng = np.random.default_rng(0)
x = rng.normal(size=(96, 4)).astype("float32")
y = np.eye(2, dtype="float32")[(x[:, 0] > 0).astype(int)]


def focal(y_true, y_pred):
    missing = ops.where(y_true == 1.0, 1.0 - y_pred, y_pred)
    weight = missing**2.0  # a slope of 0 at 0
    return ops.mean(weight * ops.binary_crossentropy(y_true, y_pred), axis=-1)


model = keras.Sequential([keras.Input((4,)), layers.Dense(2, activation="sigmoid")])
model.compile(optimizer="adam", loss=focal)
model.fit(x, y, verbose=0)
"""

    def check(self, lab: Lab) -> Iterator[Finding]:
        from lossproof.lab.gradient.troubles import troubles

        if lab.capture.call in ("evaluate", "test_on_batch"):
            raise NotApplicable("no gradient is taken by this call")
        for trouble in lab.once(troubles):
            if trouble.kind == "gradient":
                yield self._finding(lab, trouble)

    def _finding(self, lab: Lab, trouble: Trouble) -> Finding:
        return Finding(
            code=self.code,
            name=self.name,
            severity=trouble.severity,
            title=f"the loss is finite and its gradient is not, {telling.where_met(trouble)}",
            where=telling.place(lab, trouble),
            measured=telling.measured(trouble),
            explanation=" ".join(self._sentences(lab, trouble)),
            evidence={**telling.evidence(trouble), "reported not finite": telling.reported(lab.capture.logs)},
            counterfactual=Counterfactual(
                change=trouble.cure.change,
                before=trouble.cure.before,
                after=trouble.cure.after,
                label="largest entry of the gradient",
                columns=("as it is", "changed"),
            ),
            fix=Fix(
                "Keep the operand off the singular point: ops.sqrt(x + 1e-7), ops.maximum(w, 1e-7) ** gamma. With a "
                "mask, replace the operand where it is not valid, not only the result."
            ),
        )

    def _sentences(self, lab: Lab, trouble: Trouble) -> Iterator[str]:
        name = trouble.subject.name if trouble.subject is not None else "the objective"
        numbers = telling.numbers(trouble)
        at = f" ({numbers})" if numbers else ""
        if trouble.reach == "confident":
            yield (
                f"The output saturates, so training drives its predictions onto their targets exactly{at}; the value "
                f"of {name} is finite there, its derivative is not."
            )
        elif trouble.partial:
            yield f"{telling.last_batch(trouble)} There the value of {name} is finite{at}, its derivative is not."
        elif trouble.affected == trouble.searched:
            yield f"The value of {name} is finite on the batch{at}, its derivative is not."
        else:
            yield f"The gradient of {name} is not finite because of {telling.rows(trouble)}{at}; without them it is."
        if trouble.event is not None and trouble.event.operands:
            yield f"It is born in `{trouble.event.place.expression}`."
        elif trouble.subject is None:
            yield "The losses are sound on what they receive: it is born in the model's layers or penalties."
        if trouble.modes:
            yield f"It shows under {trouble.modes}."
        logged = telling.reported(lab.capture.logs)
        if logged:
            yield f"The run reported it: {', '.join(logged)}."
        yield "One step later every weight is NaN. Nothing raises."
