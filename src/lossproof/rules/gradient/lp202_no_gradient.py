"""LP202: the objective moves with the predictions, and autodiff gives them no gradient."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from lossproof.findings.finding import Counterfactual, Finding, Fix, Place, Row, Severity
from lossproof.rules.rule import NotApplicable, Rule

if TYPE_CHECKING:
    from lossproof.lab.blind import Blind
    from lossproof.lab.gradient.dead_terms import DeadTerm
    from lossproof.lab.lab import Lab
    from lossproof.lab.subject import Subject


class NoGradient(Rule):
    """A loss that cannot be trained on: piecewise constant, or out of autodiff's sight."""

    code = "LP202"
    name = "no-gradient"
    severity = "error"
    summary = "is not differentiable in the predictions (argmax, round, cast, NumPy, a stateful metric)"
    explanation = """
Training can only follow a gradient. A loss that is made of steps has none: `sign`, `round`, `argmax`, a comparison, a
cast to integers, an accuracy or a thresholded score stay the same under every small move of the predictions. A loss
that leaves the backend has none either: what comes back from NumPy, from `float(...)` or from a stateful metric is a
constant to autodiff.

TensorFlow and PyTorch raise if no weight at all gets a gradient ("No gradients provided for any variable", "element 0
of tensors does not require grad"). JAX never does, and none of them does where another loss trains the same model: this
part of the objective is then reported and never improves.

**Proof.** The predictions are moved towards the targets, between rows, and at random over their range and beyond. The
value changes, and the gradient is missing or exactly zero at each of these points; halving the way between two of them
finds either a jump or a slope that autodiff does not see.

The same is asked of each term of a sum in the user's code, such as a count of wrong decisions added to a cross-entropy: its
gradient is zero at all these points, and other numbers in its place, doubled or at random, change the loss and no entry
of its gradient. Such a term is reported and does not train, whatever its weight.

A loss whose gradient is zero only here and there (a margin that is met, a clipped range) is not meant, nor one whose
value never moves, nor a part behind `stop_gradient` while the rest trains.

**What to do.** Minimise a smooth stand-in: a probability instead of a decision, `softplus` or `tanh` of a margin
instead of its sign, written in `keras.ops`. Keep the score itself as a metric.
"""
    source = (
        "keras/src/optimizers/base_optimizer.py, _filter_empty_gradients: no gradient for any variable raises",
        "https://github.com/rstudio/keras3/issues/515",
        "https://github.com/keras-team/keras/issues/16998",
    )
    yields_to = ("LP307",)
    guilty = """
import keras
import numpy as np
from keras import layers, ops

rng = np.random.default_rng(0)
x = rng.normal(size=(64, 4)).astype("float32")
y = (x @ rng.normal(size=(4, 1)) > 0).astype("float32")


def error_rate(y_true, y_pred):
    decided = ops.cast(y_pred > 0.5, "float32")  # expect: LP202
    return ops.mean(ops.abs(y_true - decided), axis=-1)


model = keras.Sequential([keras.Input((4,)), layers.Dense(1, activation="sigmoid")])
model.compile(optimizer="adam", loss=error_rate)
model.fit(x, y, verbose=0)
"""
    innocent = """
import keras
import numpy as np
from keras import layers, ops

rng = np.random.default_rng(0)
x = rng.normal(size=(64, 4)).astype("float32")
y = (x @ rng.normal(size=(4, 1)) > 0).astype("float32")


def error_rate(y_true, y_pred):
    decided = ops.cast(y_pred > 0.5, "float32")
    return ops.mean(ops.abs(y_true - decided), axis=-1)


def expected_error(y_true, y_pred):
    wrong = ops.abs(y_true - ops.cast(y_pred > 0.5, "float32"))  # a weight, through which no gradient needs to flow
    return ops.mean((1.0 + wrong) * ops.abs(y_true - y_pred), axis=-1)


model = keras.Sequential([keras.Input((4,)), layers.Dense(1, activation="sigmoid")])
model.compile(optimizer="adam", loss=expected_error, metrics=[error_rate])
model.fit(x, y, verbose=0)
"""

    def check(self, lab: Lab) -> Iterator[Finding]:
        from lossproof.lab.gradient.connection import blind
        from lossproof.lab.gradient.dead_terms import dead_term
        from lossproof.lab.gradient.weight_connection import blind_to_weights
        from lossproof.lab.minimised import minimised

        if lab.capture.call in ("evaluate", "test_on_batch"):
            raise NotApplicable("nothing is trained by this call")
        if lab.capture.model is not None and not lab.model.trainable:
            raise NotApplicable("the model has no trainable weights")
        found = False
        own = [one for one in (lab.objective, lab.step) if one is not None]
        for subject in lab.once(minimised):
            if not any(subject is one for one in own):
                proof = lab.once(blind, subject)
                if proof is not None:
                    found = True
                    yield self._finding(lab, subject, proof)
        for whole in own:
            proof = None if found else lab.once(blind, whole) or lab.once(blind_to_weights)
            if proof is not None:
                found = True
                yield self._finding(lab, whole, proof)
        for subject in () if found else lab.once(minimised):
            term = lab.attempt(lambda: lab.once(dead_term, subject))  # noqa: B023 - called here
            if term is not None:
                yield self._of_term(lab, subject, term)
                return

    def _of_term(self, lab: Lab, subject: Subject, dead: DeadTerm) -> Finding:
        return Finding(
            code=self.code,
            name=self.name,
            severity=Severity.ERROR,
            title=f"a term of {subject.name} has no gradient",
            where=lab.place_of_event(dead.event),
            measured=f"1 batch, {dead.points} points",
            explanation=(
                f"`{dead.term}` is {dead.least:.4g} to {dead.most:.4g} on the predictions that were tried, and its gradient "
                "is zero at all of them. Doubled, it changes the loss and no digit of the gradient: it is reported and "
                "does not train, whatever its weight. Nothing raises."
            ),
            evidence={"subject": subject.name, "term": dead.term, "points": dead.points, "change": dead.change},
            counterfactual=Counterfactual(
                change=f"`{dead.term}` doubled",
                before=dead.before,
                after=dead.after,
                columns=("as written", "doubled"),
                rows=(Row("largest change of the gradient", None, dead.change, "none of its entries moves"),),
            ),
            fix=Fix(
                "Write this term smoothly in keras.ops (probabilities instead of decisions, a soft assignment instead of "
                "floor, round or one_hot), or report it as a metric."
            ),
        )

    def _finding(self, lab: Lab, subject: Subject, blind: Blind) -> Finding:
        from lossproof.lab.gradient.connection import vanishing

        event = lab.once(vanishing, subject)
        of = f" of output {subject.output!r}" if subject.output else ""
        failed = lab.capture.error is not None and lab.capture.steps == 0
        moved = f"the {blind.subject} {blind.moved}"
        rows = [
            Row(f"gradient for the {blind.subject}", blind.found, blind.found, f"at all {blind.points} points tried")
        ]
        return Finding(
            code=self.code,
            name=self.name,
            severity=Severity.ERROR,
            title=f"the loss{of} changes with the {blind.subject}, and its gradient is {self._missing(blind)}",
            where=self._place(lab, subject) if event is None else lab.place_of_event(event),
            measured=f"1 batch, {blind.points} points",
            explanation=" ".join(self._sentences(lab, subject, blind, event.place.expression if event else None)),
            evidence={
                "subject": subject.name,
                "output": subject.output,
                "gradient": blind.found,
                "points": blind.points,
                "jump": list(blind.step) if blind.step else None,
                "autodiff raises": blind.refusal,
                "explains_error": failed,
            },
            counterfactual=Counterfactual(
                change=f"move the {blind.subject}: {moved}",
                before=blind.before,
                after=blind.after,
                columns=("as captured", "moved"),
                rows=tuple(rows),
            ),
            fix=Fix(
                "Minimise a smooth stand-in written in keras.ops (probabilities instead of decisions, softplus or tanh "
                "of a margin instead of its sign), and keep this number as a metric."
            ),
        )

    def _missing(self, blind: Blind) -> str:
        return "missing everywhere" if blind.found == "None" else "zero everywhere"

    def _place(self, lab: Lab, subject: Subject) -> Place | None:
        return lab.place_of_method("train_step") if subject.kind == "train_step" else lab.place(subject)

    def _sentences(self, lab: Lab, subject: Subject, blind: Blind, expression: str | None) -> Iterator[str]:
        yield (
            f"With {blind.subject} {blind.moved}, {subject.name} goes from {blind.before:.4g} to {blind.after:.4g}, "
            f"but autodiff gives no gradient at any of {blind.points} points."
        )
        if blind.step is not None:
            width, jump = blind.step
            yield (
                f"The loss is made of steps: no prediction moves by more than {width:.1e} and it jumps by "
                f"{abs(jump):.3g}, and between the jumps it is flat."
            )
        elif blind.subject == "predictions":
            yield "The value changes smoothly, out of the sight of autodiff."
        if expression is not None:
            yield f"The derivative ends at `{expression}`."
        if blind.refusal is not None:
            yield f"Under autodiff this raises {blind.refusal}."
        elif lab.backend.name == "jax":
            yield "JAX raises nothing: the loss is reported in each epoch and never trains."
