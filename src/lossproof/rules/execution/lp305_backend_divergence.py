"""LP305: the objective is another one on another backend."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from lossproof.findings.finding import Counterfactual, Finding, Fix, Row, Severity
from lossproof.rules.rule import NotApplicable, Rule

if TYPE_CHECKING:
    from lossproof.lab.execution.other_backends import OtherBackend
    from lossproof.lab.lab import Lab


class BackendDivergence(Rule):
    """What one backend repairs, refuses or overlooks, and another does not."""

    code = "LP305"
    name = "backend-divergence"
    severity = "warning"
    summary = "differs between backends (on request: `--backends`)"
    explanation = """
The same script trains another objective when `KERAS_BACKEND` changes. On TensorFlow a cross-entropy looks for the logits
behind a softmax and uses them, even where `from_logits` says otherwise; JAX and PyTorch take the numbers that they get: a
softmax with `from_logits=True` is applied twice there. A label out of range raises on TensorFlow and PyTorch and counts
as 0 on JAX. The gradient of a square root at 0 is 0 in one place and NaN in another. Nothing raises where it goes wrong.

It is checked on request: `lossproof check --backends jax,torch train.py`. For each of the backends the script is run
once more, in a process of its own, cut at the same call.

**Proof.** The other process gets the same weights and the same batch, as numbers. The predictions agree; the objective, or
its gradient, does not: by more than half of the digits of float32 (for gradients a hundredth), at the captured weights
and at others nearby, so that a kink is no reason. An objective that draws random numbers is not compared. Which of the
two is right is told where it can be: by the loss in float64 on the predictions as plain numbers, or by the numeric slope.

**What to do.** Say what the predictions are and give exactly that: no softmax with `from_logits=True`. Keep labels in 0..C-1.
Guard the operand of a square root or a logarithm.
"""
    source = (
        "keras/src/backend/tensorflow/nn.py, _get_logits; keras/src/backend/jax/nn.py; keras/src/backend/torch/nn.py",
        "keras/src/backend/jax/nn.py, sparse_categorical_crossentropy: one_hot of a label out of range is a row of zeros",
    )
    asked: ClassVar[Mapping[str, Any]] = {"backends": ("jax", "torch")}
    guilty = """
import keras
import numpy as np
from keras import layers, ops

rng = np.random.default_rng(0)
x = rng.normal(size=(64, 4)).astype("float32")
y = x @ rng.normal(size=(4, 5)).astype("float32")


def spread(curve):
    if keras.backend.backend() == "torch":
        return curve.std(dim=-1)  # divides by n - 1
    return ops.std(curve, axis=-1)  # divides by n


def relative_error(y_true, y_pred):  # expect: LP305
    return ops.mean(ops.abs(y_true - y_pred), axis=-1) / (spread(y_true) + 0.1)


model = keras.Sequential([keras.Input((4,)), layers.Dense(5)])
model.compile("sgd", loss=relative_error)
model.fit(x, y, verbose=0)
"""
    innocent = guilty.replace("  # expect: LP305", "").replace(
        "std(dim=-1)  # divides by n - 1", "std(dim=-1, correction=0)"
    )

    def check(self, lab: Lab) -> Iterator[Finding]:
        from lossproof.lab.execution.other_backends import other_backend

        others = [name for name in lab.run.asked.backends if name != lab.backend.name]
        if not others:
            raise NotApplicable("not asked for: --backends compares with others")
        reasons, compared = [], False
        for name in others:
            try:
                found = lab.once(other_backend, name)
            except NotApplicable as reason:
                reasons.append(str(reason))
                continue
            compared = True
            if found is not None:
                yield self._finding(lab, found)
        if not compared:
            raise NotApplicable("; ".join(dict.fromkeys(reasons)))

    def _finding(self, lab: Lab, found: OtherBackend) -> Finding:
        name = found.subject.name if found.subject is not None else "the objective"
        rows: tuple[Row, ...] = ()
        if found.slopes is not None:
            measured = f"measured: {found.reference:.4g}" if found.reference is not None else ""
            rows = (Row("slope along their difference", *found.slopes, measured),)
        return Finding(
            code=self.code,
            name=self.name,
            severity=Severity.WARNING,
            title=self._title(found, name),
            where=lab.place(found.subject) if found.subject is not None else self._place(lab),
            measured="1 batch, on two backends",
            explanation=" ".join(self._sentences(found, name)),
            evidence={
                "kind": found.kind,
                "backends": [found.here, found.there],
                "values": [found.before, found.after],
                "reference": found.reference,
                "right": found.right,
                "weight": found.weight,
            },
            counterfactual=Counterfactual(
                change=f"KERAS_BACKEND={found.there}",
                before=found.before,
                after=found.after,
                label=f"norm of the gradient of {found.weight}" if found.weight else "loss on this batch",
                columns=(found.here, found.there),
                rows=rows,
            ),
            fix=Fix(self._fix(found)),
        )

    @staticmethod
    def _place(lab: Lab) -> Any:
        if lab.overrides_compute_loss:
            return lab.place_of_method("compute_loss")
        compiled = lab.capture.compiled
        return compiled.where if compiled is not None else lab.capture.where

    @staticmethod
    def _title(found: OtherBackend, name: str) -> str:
        if found.kind == "gradient":
            return f"{name} has another gradient on {found.there} than on {found.here}"
        return f"{name} is {_said(found.before)} on {found.here} and {_said(found.after)} on {found.there}"

    @staticmethod
    def _sentences(found: OtherBackend, name: str) -> Iterator[str]:
        yield (
            f"At the same weights and on the same batch the predictions agree on {found.here} and {found.there}, and "
            f"{name} does not."
        )
        if found.kind == "raises":
            yield "With targets of 0 both compute a value: it is the targets that one refuses and the other overlooks."
        if found.kind == "value" and found.reference is not None:
            yield f"In float64, on the predictions as plain numbers, it is {found.reference:.6g}" + (
                f", as on {found.right}." if found.right else ", which is neither."
            )
        if found.kind == "gradient" and found.right is not None:
            yield f"The measured slope agrees with {found.right}."
        if found.kind != "raises":
            yield "Nothing raises when the backend is changed."

    @staticmethod
    def _fix(found: OtherBackend) -> str:
        if found.kind == "raises":
            return (
                "Bring the targets into the range that the loss expects (labels in 0..C-1), or mask those that are not."
            )
        if found.kind == "gradient":
            return "Guard operands at which slopes are undefined: ops.sqrt(x + 1e-12), ops.maximum(x, 1e-7) under a logarithm."
        return (
            "Say what the predictions are: either logits with from_logits=True, or probabilities without. Then every backend "
            "computes the same."
        )


def _said(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.4g}"
