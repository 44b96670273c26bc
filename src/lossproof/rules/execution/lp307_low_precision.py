"""LP307: half precision spoils the objective."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from lossproof.findings.finding import Counterfactual, Finding, Fix, Place, Row
from lossproof.rules.rule import NotApplicable, Rule

if TYPE_CHECKING:
    from lossproof.lab.execution.low_precision import Low
    from lossproof.lab.lab import Lab


class LowPrecision(Rule):
    """A sum, a square or a cast that float16 or bfloat16 cannot hold."""

    code = "LP307"
    name = "low-precision"
    severity = "error / warning"
    summary = "overflows, underflows or loses its targets under float16 / bfloat16"
    explanation = """
Under `mixed_float16` and `mixed_bfloat16` layers compute in half precision. A compiled loss casts what it gets to float32;
a `compute_loss`, a `train_step`, an `add_loss` and a regularizer do not. float16 ends at 65504 (a square of 256, a sum over
a few thousand elements, a price) and has no number below 6e-8 (an epsilon of 1e-8, the gradient of a mean over many
elements). bfloat16 has 8 bits: whole numbers above 256 are rounded, so that class ids become other ids. And
`compile` wraps the optimizer in a `LossScaleOptimizer`, which divides the gradients: a step of your own that forgets
`self.optimizer.scale_loss(loss)` trains with gradients 32768 times too small. Nothing raises.

**Proof.** The same objective on the same predictions, computed in float32 (the layers' policies are set aside, and code
that asks for half precision by name gets float32), with the targets that were passed: it is finite where half precision
is not, or it is another number by more than half of the digits that half precision has and more than its own inputs' last
place explains. A missing scale is proven by doubling it: gradients of a scaled loss arrive at the inner optimizer as
before, others are halved.

**What to do.** Compute the loss in float32: `y_pred = ops.cast(y_pred, "float32")` first of all, or give the output layer
`dtype="float32"`. In a step of your own differentiate `self.optimizer.scale_loss(loss)`.
"""
    source = (
        "keras/src/losses/loss.py, Loss.__call__: what a loss object receives is cast to its dtype, float32 by default",
        "keras/src/optimizers/loss_scale_optimizer.py; keras/src/trainers/trainer.py, compile: auto_scale_loss",
        "P. Micikevicius et al., Mixed Precision Training, ICLR 2018, https://arxiv.org/abs/1710.03740",
        "IEEE 754-2019, table 3.5: binary16",
    )
    guilty = """
import keras
import numpy as np
from keras import layers, ops

keras.mixed_precision.set_dtype_policy("mixed_float16")
rng = np.random.default_rng(0)
x = rng.normal(size=(64, 4)).astype("float32")
price = (250_000.0 + 40_000.0 * x[:, :1]).astype("float32")


class Appraiser(keras.Model):
    def __init__(self):
        super().__init__()
        self.dense = layers.Dense(1, bias_initializer=keras.initializers.Constant(200.0))

    def call(self, x):
        return self.dense(x)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        y = ops.cast(y, y_pred.dtype)  # expect: LP307
        return ops.mean(ops.abs(y - y_pred) / 1000.0)


model = Appraiser()
model.compile(optimizer="sgd")
model.fit(x, price, verbose=0)
"""
    innocent = guilty.replace("y = ops.cast(y, y_pred.dtype)  # expect: LP307", 'y_pred = ops.cast(y_pred, "float32")')

    def check(self, lab: Lab) -> Iterator[Finding]:
        from lossproof.lab.execution.low_precision import low_precision
        from lossproof.lab.execution.precision import half_of

        if half_of(lab) is None:
            raise NotApplicable("nothing is computed in half precision")
        for low in lab.once(low_precision):
            yield self._finding(lab, low)

    def _finding(self, lab: Lab, low: Low) -> Finding:
        name = low.subject.name if low.subject is not None else "the objective"
        evidence: dict[str, object] = {"kind": low.kind, "dtype": low.dtype, "float32": low.after}
        if math.isfinite(low.before):
            evidence["half"] = low.before
        if low.scale is not None:
            evidence["scale"] = low.scale
        if low.weights:
            evidence["weights"] = list(low.weights)
        rows: tuple[Row, ...] = ()
        if low.rounded is not None:
            rows = (Row(f"float32, targets rounded to {low.dtype}", low.rounded, low.after),)
        return Finding(
            code=self.code,
            name=self.name,
            severity=low.severity,
            title=self._title(low, name),
            where=self._place(lab, low),
            measured="1 batch",
            explanation=" ".join(self._sentences(low, name)),
            evidence=evidence,
            counterfactual=Counterfactual(
                change=self._change(low),
                before=low.before,
                after=low.after,
                label=self._label(low),
                columns=("as it is", "changed") if low.scale is not None else (low.dtype, "float32"),
                rows=rows,
            ),
            fix=Fix(self._fix(low)),
        )

    @staticmethod
    def _title(low: Low, name: str) -> str:
        if low.kind == "unscaled":
            return f"the gradients are divided by {low.scale:.0f}, and the loss was not multiplied by it"
        if low.kind == "underflow":
            return f"the gradient of {len(low.weights)} weights is lost in {low.dtype}"
        if low.kind == "targets":
            return f"{name} loses its targets in {low.dtype}: it is {low.before:.4g}, and {low.after:.4g} in float32"
        if low.kind == "arithmetic":
            return f"{name} is {low.before:.4g} in {low.dtype}, and {low.after:.4g} in float32"
        what = "gradient" if low.gradient else "loss"
        kind = "NaN" if math.isnan(low.before) else "infinite"
        return f"the {what} is {kind} in {low.dtype}, and finite in float32"

    @staticmethod
    def _sentences(low: Low, name: str) -> Iterator[str]:
        if low.kind == "unscaled":
            yield (
                "compile has wrapped the optimizer in a LossScaleOptimizer, which divides each gradient by its scale; this "
                f"step differentiates the loss as it is. So the weights get gradients {low.scale:.0f} times too small."
            )
        elif low.kind == "underflow":
            yield (
                f"The gradients of {', '.join(low.weights[:3])} are below the smallest number of {low.dtype} and become 0. "
                f"With the loss multiplied by {low.scale:.0f}, and the gradients divided by it, they are there."
            )
        else:
            if low.kind == "not finite" and low.trouble is not None and low.trouble.reach == "confident":
                yield "It takes predictions that are right and as sure as they can be, which is what training leads to."
            event = low.where or (low.trouble.event if low.trouble is not None else None)
            if event is not None and event.place.expression:
                yield f"`{event.place.expression}` is what {low.dtype} cannot hold."
            yield f"On the same predictions, and with the targets that were passed, {name} is {low.after:.4g} in float32."
        yield "Nothing raises."

    @staticmethod
    def _change(low: Low) -> str:
        if low.kind == "unscaled":
            return "a scale of 1"
        return f"the loss multiplied by {low.scale:.0f}" if low.kind == "underflow" else "the same in float32"

    @staticmethod
    def _label(low: Low) -> str:
        if low.kind == "unscaled":
            return "norm of the gradients that are applied"
        if low.kind == "underflow":
            return "norm of the gradient of a weight"
        return "largest entry of the gradient" if low.gradient else "loss on this batch"

    @staticmethod
    def _fix(low: Low) -> str:
        if low.kind == "unscaled":
            return "Differentiate self.optimizer.scale_loss(loss), and report the loss itself."
        if low.kind == "underflow":
            return "Use keras.optimizers.LossScaleOptimizer (compile does so under mixed_float16), or mixed_bfloat16."
        return 'Compute the loss in float32: first y_pred = ops.cast(y_pred, "float32"), and leave y as it is.'

    @staticmethod
    def _place(lab: Lab, low: Low) -> Place | None:
        event = low.where or (low.trouble.event if low.trouble is not None else None)
        if event is not None:
            return lab.place_of_event(event)
        return lab.place(low.subject) if low.subject is not None else lab.capture.where
