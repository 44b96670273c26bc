"""LP201: the gradient that trains the model is not the derivative of the loss."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from lossproof.findings.finding import Counterfactual, Finding, Fix, Row, Severity
from lossproof.rules.rule import NotApplicable, Rule

if TYPE_CHECKING:
    from lossproof.lab.gradient.piling import Piled
    from lossproof.lab.gradient.slopes import Comparison
    from lossproof.lab.lab import Lab
    from lossproof.lab.subject import Subject


class GradientMismatch(Rule):
    """Autodiff and the numeric derivative disagree."""

    code = "LP201"
    name = "gradient-mismatch"
    severity = "error"
    summary = "has an autodiff gradient that differs from its numeric one"
    explanation = """
Training follows the gradient, not the value. Both can part: TensorFlow's Keras recognises predictions that come out of a
softmax or sigmoid, goes back to the logits and uses a fused operation whose gradient is `softmax - target`. That is the
derivative of the cross-entropy only if the targets of a sample sum to 1. With class weights multiplied into one-hot
targets the value is right and the gradient is wrong, for some classes even in sign. The same loss inside `tf.function`,
or on JAX and PyTorch, is right. A value that goes through NumPy on its way (PyTorch detaches it) does the same.

PyTorch adds each gradient to the one that is stored. A `train_step` of your own that calls `loss.backward()` and never
`self.zero_grad()` hands the optimizer the sum of the gradients of all steps since the start.

**Proof.** The loss is evaluated at two points a small step apart, along a direction; the slope so measured, with its
error bar, is held against the one of autodiff. Values behind `stop_gradient` are held fixed, as autodiff holds them;
gradients that you define yourself (`custom_gradient`, `no_grad`) are left alone. Of a step of your own on PyTorch: three
updates from the same weights on the same batch are handed gradients that grow by the same amount each time, and the same
ones where the stored gradients are cleared before each. Gradients gathered over some batches on purpose are left alone.

**What to do.** Weight the loss of each sample instead of its targets, or pass `class_weight` to `fit`.
"""
    source = (
        "keras/src/backend/tensorflow/nn.py, categorical_crossentropy and _get_logits",
        "https://github.com/tensorflow/tensorflow/issues/10021",
        "C. Ridders, Adv. Eng. Software 4(2), 1982",
    )
    backends = ("tensorflow",)
    guilty = """
import keras
import numpy as np
from keras import layers, ops

rng = np.random.default_rng(0)
x = rng.normal(size=(64, 4)).astype("float32")
y = np.eye(3, dtype="float32")[rng.integers(0, 3, size=64)]
importance = ops.convert_to_tensor([1.0, 5.0, 20.0])


def weighted(y_true, y_pred):
    return keras.losses.categorical_crossentropy(y_true * importance, y_pred)  # expect: LP201


model = keras.Sequential([keras.Input((4,)), layers.Dense(3, activation="softmax")])
model.compile(optimizer="sgd", loss=weighted)
model.fit(x, y, verbose=0)
"""
    innocent = """
import keras
import numpy as np
from keras import layers, ops

rng = np.random.default_rng(0)
x = rng.normal(size=(64, 4)).astype("float32")
y = np.eye(3, dtype="float32")[rng.integers(0, 3, size=64)]
importance = ops.convert_to_tensor([1.0, 5.0, 20.0])


def weighted(y_true, y_pred):
    return ops.sum(y_true * importance, axis=-1) * keras.losses.categorical_crossentropy(y_true, y_pred)


model = keras.Sequential([keras.Input((4,)), layers.Dense(3, activation="softmax")])
model.compile(optimizer="sgd", loss=weighted)
model.fit(x, y, verbose=0)
"""

    def check(self, lab: Lab) -> Iterator[Finding]:
        from lossproof.lab.gradient.fused import slopes_in_weights
        from lossproof.lab.gradient.piling import piled_gradients
        from lossproof.lab.gradient.slopes import slopes_in_predictions

        reasons: list[str] = []
        answered = False
        if lab.capture.model is not None and lab.capture.training and lab.overrides_train_step:
            try:
                piled = lab.attempt(lambda: lab.once(piled_gradients))
            except NotApplicable:
                piled = None
            if piled is not None:
                yield self._piled_up(lab, piled)
                return
        for subject in lab.subjects:
            if subject.kind == "train_step":
                continue
            try:
                wrong = lab.once(slopes_in_predictions, subject)
            except NotApplicable as reason:
                reasons.append(str(reason))
                continue
            answered = True
            if wrong is not None:
                yield self._in_predictions(lab, subject, wrong)
                return
        try:
            comparison = lab.once(slopes_in_weights) if lab.capture.model is not None else None
            answered = answered or comparison is not None or not reasons
        except NotApplicable as reason:
            reasons.append(str(reason))
            comparison = None
        if comparison is not None and comparison.contradicted and self._explained(comparison):
            yield self._in_weights(lab, comparison)
        if not answered:
            raise NotApplicable(reasons[0])

    @staticmethod
    def _explained(one: Comparison) -> bool:
        """Whether the other way of differentiating is what the numeric slope confirms."""
        return one.other is not None and not one.numeric.contradicts(one.other)

    def _in_predictions(self, lab: Lab, subject: Subject, one: Comparison) -> Finding:
        return Finding(
            code=self.code,
            name=self.name,
            severity=Severity.ERROR,
            title="the gradient is not the derivative of the loss",
            where=lab.place(subject),
            explanation=(
                f"Along a direction in the predictions the value of {subject.name} rises by {one.numeric.value:.4g} per "
                f"unit (measured, +- {one.numeric.error:.1g}), but autodiff says {one.autodiff:.4g}. Training follows "
                f"autodiff. {self._reason(one)}"
            ),
            evidence=self._evidence(one),
            counterfactual=Counterfactual(
                change="differentiate numerically",
                before=one.autodiff,
                after=one.numeric.value,
                label="slope of the loss",
                columns=("by autodiff", "measured"),
            ),
            fix=Fix(
                "Multiply what the custom gradient returns by the gradient that it is given."
                if one.deaf
                else "Compute every part that depends on y_pred with keras.ops (or the backend's own functions), "
                "without NumPy and without detaching."
            ),
        )

    @staticmethod
    def _reason(one: Comparison) -> str:
        if not one.deaf:
            return "A part of the loss is hidden from it, or is computed outside of the backend."
        return (
            "The custom gradient in it stays the same when the loss is doubled or negated: it is not multiplied by the "
            "gradient that arrives from above, so every factor behind it is lost, such as the 1 / N of a mean."
        )

    def _in_weights(self, lab: Lab, one: Comparison) -> Finding:
        from lossproof.lab.places import place_of_predictions_use

        rows = []
        if one.gradients is not None:
            run, chain = one.gradients
            order = np.argsort(-np.abs(run - chain))[:4]
            rows = [Row(f"gradient of output {i}", float(run[i]), float(chain[i])) for i in sorted(order)]
            flipped = [i for i in sorted(order) if run[i] * chain[i] < 0]
            rows = [
                Row(row.label, row.before, row.after, "the sign is wrong" if i in flipped else "")
                for row, i in zip(rows, sorted(order), strict=True)
            ]
        return Finding(
            code=self.code,
            name=self.name,
            severity=Severity.ERROR,
            title="the gradient is not the derivative of the loss",
            where=lab.once(place_of_predictions_use),
            explanation=(
                "TensorFlow's Keras finds the logits behind these predictions and takes the gradient of a fused "
                "operation, which is right only for targets that sum to 1 in each sample. The value stays right, so "
                "nothing looks wrong, but training follows another loss."
            ),
            evidence=self._evidence(one),
            counterfactual=Counterfactual(
                change="hide from the loss how the predictions were made (pass them as plain values)",
                before=one.autodiff,
                after=one.other,
                label="slope of the loss by autodiff",
                columns=("as written", "logits hidden"),
                rows=(
                    Row("slope of the loss, measured", one.numeric.value, one.numeric.value, ""),
                    *rows,
                ),
            ),
            fix=Fix(
                "Keep the targets as they are and weight the loss of each sample instead, or pass class_weight to fit.",
                code="return ops.sum(y_true * weights, axis=-1) * categorical_crossentropy(y_true, y_pred)",
            ),
        )

    def _piled_up(self, lab: Lab, one: Piled) -> Finding:
        first, second, third = one.norms
        return Finding(
            code=self.code,
            name=self.name,
            severity=Severity.ERROR,
            title="the optimizer is handed the sum of the gradients of all steps so far",
            where=one.where or lab.place_of_method("train_step"),
            measured="1 batch, 3 updates",
            explanation=(
                "PyTorch adds each gradient to the one that a weight has stored, and this train_step never clears it. From "
                "the same weights, on the same batch and with the same random numbers, three updates in a row are handed "
                f"gradients of length {first:.4g}, {second:.4g} and {third:.4g}. Nothing raises; the longer the training, "
                "the less the last batch matters."
            ),
            evidence={"norms": list(one.norms), "cleared": one.cleared, "steps_for_an_update": one.steps},
            counterfactual=Counterfactual(
                change="clear the stored gradients before it",
                before=third,
                after=one.cleared,
                label="gradient in the third update",
                columns=("as written", "cleared"),
                rows=(
                    Row("gradient in the second update", second, one.cleared),
                    Row("gradient in the first update", first, one.cleared),
                ),
            ),
            fix=Fix(
                "Clear the gradients before backward()."
                if one.steps == 1
                else "Clear the gradients after each update.",
                code="self.zero_grad()",
            ),
        )

    @staticmethod
    def _evidence(one: Comparison) -> dict[str, object]:
        return {
            "autodiff": one.autodiff,
            "numeric": one.numeric.value,
            "numeric_error": one.numeric.error,
            "logits_hidden": one.other,
            "dtype": one.dtype,
        }
