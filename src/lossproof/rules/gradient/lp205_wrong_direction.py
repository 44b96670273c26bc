"""LP205: training makes the predictions worse, because the loss is lower away from the targets."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

from lossproof.findings.finding import Counterfactual, Finding, Fix, Row, Severity
from lossproof.rules.rule import NotApplicable, Rule

if TYPE_CHECKING:
    from lossproof.lab.gradient.direction.scene import Direction
    from lossproof.lab.lab import Lab
    from lossproof.lab.subject import Subject


class WrongDirection(Rule):
    """A loss that is lower for predictions that have nothing to do with the targets."""

    code = "LP205"
    name = "wrong-direction"
    severity = "error"
    summary = "falls when predictions move away from the targets, or has its minimum elsewhere (un-negated, swapped arguments)"
    explanation = """
Keras minimises whatever it is given. A score that should grow (R2, a correlation, an overlap, a log likelihood), passed
as the loss without its minus, is made as small as possible: the loss falls, as it should, and the model gets worse. The
same happens with a distance that is one on a part of its domain only: the Kullback-Leibler divergence has its minimum
at the targets if the predictions of a sample sum to 1; with independent sigmoid outputs it falls below zero and is
lowest where every output is 1. And with arguments in the wrong order: `binary_crossentropy(y_pred, y_true)` takes the
predictions for labels, and pushes them to 0 or 1 (a loss that is straight in the prediction, with the logarithm of the
target for its slope).

**Proof.** The predictions are put on the targets and then moved away: to one prediction for all rows, or to the opposite
of each label. The value falls. That the targets are what the loss is about, it says itself: perfect predictions have the
same value whatever the targets are, or the loss with its sign turned, or with its arguments exchanged, has its minimum
there. Losses whose minimum lies elsewhere by design pass: quantiles, smoothed labels, logits, margins, pairs labelled by
likeness, likelihoods of a distribution's parameters.

**What to do.** Return `1 - score` or `-score`; call the loss as `loss(y_true, y_pred)`; take a loss that suits the
output's activation.
"""
    source = (
        "https://github.com/xiph/rnnoise/issues/117",
        "keras/src/losses/losses.py, kl_divergence",
        "https://github.com/keras-team/keras/issues/6183",
        "https://github.com/tensorflow/tensorflow/issues/85174",
    )
    yields_to = ("LP406",)
    guilty = """
import keras
import numpy as np
from keras import layers, ops

rng = np.random.default_rng(0)
x = rng.normal(size=(96, 3)).astype("float32")
y = x @ rng.normal(size=(3, 1)).astype("float32")


def explained(y_true, y_pred):
    unexplained = ops.mean(ops.square(y_true - y_pred), axis=-1)
    return 1.0 - unexplained / 2.5  # expect: LP205


model = keras.Sequential([keras.Input((3,)), layers.Dense(1)])
model.compile(optimizer="sgd", loss=explained)
model.fit(x, y, verbose=0)
"""
    innocent = """
import keras
import numpy as np
from keras import layers, ops

rng = np.random.default_rng(0)
x = rng.normal(size=(96, 3)).astype("float32")
y = x @ rng.normal(size=(3, 1)).astype("float32")


def explained(y_true, y_pred):
    return 1.0 - ops.mean(ops.square(y_true - y_pred), axis=-1) / 2.5


def unexplained(y_true, y_pred):
    return 1.0 - explained(y_true, y_pred)


model = keras.Sequential([keras.Input((3,)), layers.Dense(1)])
model.compile(optimizer="sgd", loss=unexplained, metrics=[explained])
model.fit(x, y, verbose=0)
"""

    def check(self, lab: Lab) -> Iterator[Finding]:
        from lossproof.lab.gradient.direction.search import direction
        from lossproof.lab.minimised import pursued

        if lab.capture.call in ("evaluate", "test_on_batch"):
            raise NotApplicable("nothing is trained by this call")
        subjects = [subject for subject in lab.once(pursued) if subject.y_pred is not None]
        if not subjects:
            raise NotApplicable("no loss of predictions is known to be minimised")
        for subject in subjects:
            found = lab.attempt(partial(lab.once, direction, subject))
            if found is not None:
                yield self._finding(lab, subject, found)
                return

    def _finding(self, lab: Lab, subject: Subject, found: Direction) -> Finding:
        from lossproof.lab.places import place_of_result

        of = f" of output {subject.output!r}" if subject.output and len(lab.losses) > 1 else ""
        built_in = lab.place(subject) in (lab.capture.where, getattr(lab.capture.compiled, "where", None))
        return Finding(
            code=self.code,
            name=self.name,
            severity=Severity.ERROR,
            title={
                "negated": f"perfect predictions are the worst: the loss{of} falls away from the targets",
                "elsewhere": f"the loss{of} is lower for predictions that ignore the targets",
                "swapped": f"the loss{of} takes the predictions for targets: its arguments are in the wrong order",
                "logged": f"the loss{of} takes the logarithm of the targets: they stand in the place of the predictions",
            }[found.way],
            where=lab.place(subject) if built_in else lab.once(place_of_result, subject),
            measured=f"1 batch of {subject.batch_size}",
            explanation=" ".join(self._sentences(subject, found)),
            evidence={
                "subject": subject.name,
                "output": subject.output,
                "way": found.way,
                "on_targets": found.perfect,
                "away": found.away,
                "distance": found.distance,
                "column": found.column,
            },
            counterfactual=Counterfactual(
                change=f"predictions moved from the targets to: {found.how}",
                before=found.perfect,
                after=found.away,
                columns=("on the targets", "away from them"),
                rows=tuple(self._rows(found)),
            ),
            fix=Fix(self._remedy(found)),
        )

    def _rows(self, found: Direction) -> Iterator[Row]:
        yield Row("distance from the targets (rms)", 0.0, found.distance)
        if found.other is not None:
            label = "loss with its sign turned" if found.way == "negated" else "loss with its arguments exchanged"
            yield Row(label, *found.other, "lowest on the targets")

    def _sentences(self, subject: Subject, found: Direction) -> Iterator[str]:
        moved = found.column or "the predictions"
        if found.way == "swapped":
            yield (
                f"Called as it is, {subject.name} gives {found.perfect:.4g} for predictions on the targets and "
                f"{found.away:.4g} for wrong ones ({found.how}). With both arguments exchanged it is lowest on the "
                "targets, and flat there."
            )
        elif found.way == "logged":
            yield (
                f"{subject.name} is straight in each prediction, so it is lowest at an end of its range: "
                f"{found.away:.4g} for predictions of 0 and 1, {found.perfect:.4g} for those on the targets. Its slope is "
                "the logarithm of the target, which runs off to infinity at 0 and 1, as a cross-entropy does whose "
                "arguments are exchanged."
            )
        else:
            yield (
                f"With {moved} on the targets {subject.name} is {found.perfect:.4g}; with {found.how} it falls to "
                f"{found.away:.4g}."
                if found.column
                else f"Perfect predictions give {found.perfect:.4g}; {found.how} gives {found.away:.4g}, which is lower."
            )
        if found.constant and found.way == "elsewhere":
            yield (
                f"Every perfect prediction has the value {found.perfect:.4g}, whatever the targets are, so it is meant to "
                "be the least there is; on what this output can predict, it is not."
            )
        if found.way == "negated":
            yield "It is a score that should grow, and training makes it small."
        if found.step is not None and found.step[1][1] > found.step[0][1]:
            (value, distance), (after, farther) = found.step
            yield (
                f"One small gradient step from the captured predictions takes it from {value:.4g} to {after:.4g} and them "
                f"from {distance:.4g} to {farther:.4g} from the targets."
            )
        yield "Nothing raises: the loss falls as it should, and the predictions get worse."

    def _remedy(self, found: Direction) -> str:
        if found.way == "negated":
            return "Return 1 - score (or -score), so that perfect predictions have the smallest value."
        if found.way in ("swapped", "logged"):
            return "Call the loss as loss(y_true, y_pred): the targets come first."
        return (
            "Take a loss whose minimum is at the targets for this output: for independent sigmoid outputs "
            "binary_crossentropy, for a divergence of distributions outputs that sum to 1 (softmax), for a signed "
            "difference its absolute value or square."
        )
