"""LP207: the worst predictions are those that training cannot move."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

from lossproof.findings.finding import Counterfactual, Finding, Fix, Row, Severity
from lossproof.rules.rule import NotApplicable, Rule

if TYPE_CHECKING:
    from lossproof.lab.gradient.saturation import Saturated
    from lossproof.lab.lab import Lab
    from lossproof.lab.subject import Subject


class SaturatedLoss(Rule):
    """Wrong predictions whose gradient is exactly zero."""

    code = "LP207"
    name = "saturated"
    severity = "error"
    summary = "has a vanishing gradient on ordinary wrong predictions (clip, saturated output)"
    explanation = """
A clip has no derivative outside of its range. `ops.clip(y_pred, 1e-7, 1 - 1e-7)` on the outputs of a layer without a
sigmoid leaves every prediction below 0 and above 1 where it is: the value of the loss is finite and large, its gradient
is zero, and the samples that are most wrong are the ones that learn nothing. The same happens to a model all of whose
outputs lie on the flat part of their activation (a ReLU that is 0 for every sample, a sigmoid that is exactly 0 or 1),
with or without such a clip behind it; and to one whose loss itself is cut off below what it is.

**Proof.** The wrong predictions without a gradient are counted, and moved onto their targets: most of all by which the
loss could fall is theirs. Their gradient stays zero whatever their targets are, so it is not their distance that a robust
loss means to ignore. Predictions that are right, or beyond a margin, cannot be improved and do not count.

**What to do.** Clip only what is already in range (put the sigmoid or softmax into the model), or compute the loss from
logits; for a dead output, take another activation or another start.
"""
    source = (
        "https://github.com/tensorflow/addons/issues/693",
        "keras/src/backend/torch/nn.py and jax/nn.py, binary_crossentropy: probabilities are clipped at epsilon",
        "https://github.com/keras-team/keras/issues/14140",
    )
    yields_to = ("LP202", "LP307", "LP406")
    guilty = """
import keras
import numpy as np
from keras import layers, ops

rng = np.random.default_rng(0)
x = rng.normal(size=(64, 4)).astype("float32")
share = rng.uniform(0.2, 0.8, size=(64, 1)).astype("float32")


def squared_error(y_true, y_pred):
    return ops.mean(ops.square(y_true - ops.clip(y_pred, 0.0, 1.0)), axis=-1)  # expect: LP207


model = keras.Sequential([keras.Input((4,)), layers.Dense(1, bias_initializer=keras.initializers.Constant(-2.0))])
model.compile(optimizer="sgd", loss=squared_error)
model.fit(x, share, verbose=0)
"""
    innocent = """
import keras
import numpy as np
from keras import layers, ops

rng = np.random.default_rng(0)
x = rng.normal(size=(64, 4)).astype("float32")
share = rng.uniform(0.2, 0.8, size=(64, 1)).astype("float32")


def squared_error(y_true, y_pred):
    return ops.mean(ops.square(y_true - ops.clip(y_pred, 0.0, 1.0)), axis=-1)


head = layers.Dense(1, activation="sigmoid", bias_initializer=keras.initializers.Constant(-2.0))
model = keras.Sequential([keras.Input((4,)), head])
model.compile(optimizer="sgd", loss=squared_error)
model.fit(x, share, verbose=0)
"""

    def check(self, lab: Lab) -> Iterator[Finding]:
        from lossproof.lab.gradient.level import level
        from lossproof.lab.gradient.saturation import off_the_slope, saturated
        from lossproof.lab.minimised import minimised, pursued

        if lab.capture.call in ("evaluate", "test_on_batch"):
            raise NotApplicable("nothing is trained by this call")
        subjects = [subject for subject in lab.once(minimised) if subject.y_pred is not None]
        if not subjects:
            raise NotApplicable("no loss of predictions is known to be minimised")
        wanted = lab.once(pursued)  # where it is not known what is right, a loss may yet be level
        for subject in subjects:
            known = any(subject is one for one in wanted)
            found = lab.attempt(partial(lab.once, saturated, subject)) if known else None
            found = found or lab.attempt(partial(lab.once, off_the_slope, subject))
            found = found or lab.attempt(partial(lab.once, level, subject))
            if found is not None:
                yield self._finding(lab, subject, found)
                return

    def _finding(self, lab: Lab, subject: Subject, found: Saturated) -> Finding:
        from lossproof.lab.bounds import the_same_for_other_weights
        from lossproof.lab.places import place_of_result

        off = found.where in ("output", "both")
        fixed = off and bool(lab.attempt(partial(lab.once, the_same_for_other_weights, subject)))
        of = f" of output {subject.output!r}" if subject.output and len(lab.losses) > 1 else ""
        built_in = lab.place(subject) in (lab.capture.where, getattr(lab.capture.compiled, "where", None))
        if found.where == "everywhere":
            title = f"the loss{of} is level at every prediction: no weight gets a gradient"
        elif found.where == "constant":
            title = f"the loss{of} is {found.value:.4g} whatever is predicted: no weight gets a gradient"
        elif fixed:
            title = f"the output{of} does not depend on the weights: none of them gets a gradient of the loss"
        elif off:
            title = f"the output{of} is on its flat part for every sample: no weight gets a gradient of the loss"
        else:
            title = f"{found.dead} of {found.wrong} wrong predictions{of} get no gradient"
        return Finding(
            code=self.code,
            name=self.name,
            severity=Severity.ERROR,
            title=title,
            where=lab.place(subject) if built_in else lab.once(place_of_result, subject),
            measured=f"1 batch of {subject.batch_size}",
            explanation=" ".join(self._sentences(subject, found, fixed)),
            evidence={
                "subject": subject.name,
                "output": subject.output,
                "where": found.where,
                "dead": found.dead,
                "wrong": found.wrong,
                "share_of_loss": found.share,
                "range": [found.low, found.high],
            },
            counterfactual=Counterfactual(
                change=f"the predictions without a gradient {found.how or 'moved onto their targets'}",
                before=found.value,
                after=found.mended,
                columns=("as captured", "moved"),
                rows=() if found.how else (Row("all predictions on their targets", found.value, found.perfect),),
            ),
            fix=Fix(self._remedy(found, fixed)),
        )

    def _sentences(self, subject: Subject, found: Saturated, fixed: bool) -> Iterator[str]:
        spread = f"{found.low:.4g}" if found.low == found.high else f"{found.low:.4g} to {found.high:.4g}"
        if found.where in ("everywhere", "constant"):
            yield (
                f"All {found.dead} predictions ({spread}) have a gradient of exactly zero in {subject.name}, and so has "
                "every weight."
            )
            yield (
                f"Yet the loss could be lower: {found.mended:.4g} with predictions {found.how}."
                if found.where == "everywhere"
                else f"With every other prediction that was tried it is {found.value:.4g} as well."
            )
        elif fixed:
            yield (
                f"All {found.dead} predictions are {spread}, and stay so with the weights of any layer turned round or made "
                f"far larger, though {subject.name} could fall from {found.value:.4g} to {found.perfect:.4g}."
            )
        elif found.where == "output":
            yield (
                f"{subject.name} pulls at {found.dead} predictions (its gradient for them has the norm {found.slope:.3g}), "
                f"but all of them ({spread}) lie where their activation is flat, so that not one weight gets a gradient of it."
            )
        elif found.where == "both":
            yield (
                f"All {found.dead} wrong predictions ({spread}) have a gradient of exactly zero in {subject.name}, whatever "
                "their targets are, and they lie where their activation is flat as well: not one weight gets a gradient, "
                f"though the loss could fall from {found.value:.4g} to {found.perfect:.4g}."
            )
        else:
            yield (
                f"{found.dead} wrong predictions ({spread}) have a gradient of exactly zero, whatever their targets are: they "
                f"are outside of the range in which {subject.name} looks at them. {found.share:.0%} of all by which the loss "
                "could fall is theirs."
            )
        nothing = found.where in ("everywhere", "constant")
        yield "Nothing raises: " + ("nothing is learned." if nothing else "training goes on without them.")

    def _remedy(self, found: Saturated, fixed: bool) -> str:
        if found.where in ("everywhere", "constant"):
            return "Bound what the loss is made of, not the loss: where a minimum or clip cuts it off, nothing pulls."
        if fixed:
            return (
                "End the model in as many units as the activation needs: a softmax over one unit is 1, take a sigmoid."
            )
        if found.where == "both":
            return (
                "Compute the loss from logits: of a prediction that is exactly 0 or 1 no loss of probabilities can tell by "
                "how much it is wrong. Scaled inputs keep predictions from starting there."
            )
        if found.where == "output":
            return (
                "Take an output activation that is not flat where the model starts (softplus for relu, logits for a "
                "sigmoid), scale the inputs, or start from smaller weights."
            )
        return (
            "Bring the predictions into range before they are clipped (a sigmoid or softmax at the end of the model), or "
            "compute the loss from logits."
        )
