"""LP106: a sample's loss depends on which others share its batch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from lossproof.findings.finding import Counterfactual, Finding, Fix, Row, Severity
from lossproof.rules.rule import NotApplicable, Rule

if TYPE_CHECKING:
    from lossproof.lab.lab import Lab
    from lossproof.lab.shape.coupling import Coupling


class BatchCoupled(Rule):
    """The same samples, in other company, give another loss."""

    code = "LP106"
    name = "batch-coupled"
    severity = "warning / note"
    summary = "gives a sample a loss that depends on which others share its batch"
    explanation = """
A ratio of sums over the whole batch (a flattened dice, F1 or R2), or an error divided by a maximum or a variance of the
batch, is not a mean over samples. Its value changes with the batch size and with the rows that happen to meet, so that
`evaluate` gives another number for each `batch_size`, and each sample pulls at the weights as strongly as its company
lets it: beside large structures, small ones hardly count. Nothing raises.

Some losses compare samples with each other on purpose: contrastive losses, triplets, negatives from the batch, risk
sets, distances between distributions. Those have nothing to say about a sample alone, or are not smallest where each
prediction is its own target in every batch; they get a `note`. Weighted means and means over valid entries get nothing.
A softmax along axis 0 is neither: it lets the samples compete in each feature, where one value per sample is returned, the
sum over its features.

What couples samples inside the model (BatchNormalization) is not looked at: the predictions are held fixed.

**Proof.** The predictions and targets of the batch are cut into four groups A, B, C, D and dealt to batches of the same
size in two ways: AB and CD, then AD and CB. A sum or mean over samples has the same total both times; this loss has not,
and the gradient for the predictions of A changes with its company. Of an axis taken for another: the gradient of one feature
does not change with the other features, a number added to one feature of all samples changes nothing, and the mean is another
one when each sample stands twice in the batch.

**What to do.** Reduce over the axes of one sample only and return one value per sample; take maxima, variances and means
that normalise from the training data, as constants.
"""
    source = (
        "keras/src/losses/loss.py, reduce_values: a scalar is taken as it is",
        "https://github.com/jocicmarko/ultrasound-nerve-segmentation/issues/64",
    )
    yields_to = ("LP101", "LP104", "LP204")
    guilty = """
import keras
import numpy as np
from keras import layers, ops

rng = np.random.default_rng(0)
masks = (rng.random((96, 6, 6, 1)) < rng.uniform(0.05, 0.6, (96, 1, 1, 1))).astype("float32")
scans = (masks + rng.normal(0, 0.3, masks.shape)).astype("float32")


def dice_loss(y_true, y_pred):
    overlap = ops.sum(y_true * y_pred)  # expect: LP106
    return 1.0 - (2.0 * overlap + 1.0) / (ops.sum(y_true) + ops.sum(y_pred) + 1.0)


model = keras.Sequential([keras.Input((6, 6, 1)), layers.Conv2D(1, 3, padding="same", activation="sigmoid")])
model.compile(optimizer="adam", loss=dice_loss)
model.fit(scans, masks, verbose=0)
"""
    innocent = """
import keras
import numpy as np
from keras import layers, ops

rng = np.random.default_rng(0)
masks = (rng.random((96, 6, 6, 1)) < rng.uniform(0.05, 0.6, (96, 1, 1, 1))).astype("float32")
scans = (masks + rng.normal(0, 0.3, masks.shape)).astype("float32")


def dice_loss(y_true, y_pred):
    axes = (1, 2, 3)  # one overlap per scan
    overlap = ops.sum(y_true * y_pred, axis=axes)
    return 1.0 - (2.0 * overlap + 1.0) / (ops.sum(y_true, axis=axes) + ops.sum(y_pred, axis=axes) + 1.0)


model = keras.Sequential([keras.Input((6, 6, 1)), layers.Conv2D(1, 3, padding="same", activation="sigmoid")])
model.compile(optimizer="adam", loss=dice_loss)
model.fit(scans, masks, verbose=0)
"""

    def check(self, lab: Lab) -> Iterator[Finding]:
        from lossproof.lab.shape.coupling import coupling
        from lossproof.lab.shape.wrong_axis import wrong_axis

        subjects: list[Any] = [*lab.losses, *(one for one in (lab.objective,) if one is not None)]
        if not any(subject.batch_size >= 4 for subject in subjects):
            raise NotApplicable("no loss with a batch of at least four samples was heard")
        found = False
        for subject in subjects:
            if subject.kind == "compute_loss" and found:
                return  # the same coupling once more
            if subject.kind == "loss" and lab.once(wrong_axis, subject) is not None:
                found = True  # LP104 says why
                continue
            proof = lab.once(coupling, subject)
            if proof is not None:
                found = True
                yield self._finding(lab, proof)

    def _finding(self, lab: Lab, coupling: Coupling) -> Finding:
        from lossproof.lab.shape.alignment import place_of_reduction

        subject, size = coupling.subject, coupling.size
        wrong = coupling.kind in ("batching", "wrong axis") and coupling.own
        rows = [Row(f"all {subject.batch_size} rows in one batch", coupling.whole, coupling.whole)]
        if coupling.alone is not None and coupling.kind == "batching":
            rows.append(Row("every row in a batch of its own", coupling.alone, coupling.alone))
        if coupling.exchanged is not None:
            note = "every sample for itself"
            rows.append(Row("with samples and features exchanged", coupling.exchanged, coupling.exchanged, note))
        if coupling.perfect is not None:
            rows.append(Row("with y_pred = y_true", coupling.perfect, coupling.perfect, "a perfect model"))
        return Finding(
            code=self.code,
            name=self.name,
            severity=Severity.WARNING if wrong else Severity.NOTE,
            title={
                "batching": "the loss of a sample changes with the samples that share its batch",
                "wanted": "the loss compares the samples of a batch with each other",
                "function of a mean": "the loss is a function of the mean over the batch, not a mean",
                "wrong axis": "each feature is normalised over the samples of the batch, not each sample over its features",
            }[coupling.kind],
            where=lab.once(place_of_reduction, subject),
            measured=f"1 batch of {subject.batch_size}",
            explanation=self._explanation(coupling),
            evidence={
                "subject": subject.name,
                "coupling": coupling.kind,
                "batch": subject.batch_size,
                "dealt": {"size": size, "one_way": coupling.one_way, "other_way": coupling.other_way},
                "whole": coupling.whole,
                "alone": coupling.alone,
            },
            counterfactual=Counterfactual(
                change=f"deal the same rows to other batches of {size}",
                before=coupling.one_way,
                after=coupling.other_way,
                label=f"mean loss, 2 batches of {size}",
                columns=("dealt one way", "another way"),
                rows=tuple(rows),
            ),
            fix=self._fix(coupling),
        )

    @staticmethod
    def _explanation(coupling: Coupling) -> str:
        dealt = (
            f"The same predictions and targets, dealt to two batches of {coupling.size} in two ways, give "
            f"{coupling.one_way:.4g} and {coupling.other_way:.4g}; in one batch, {coupling.whole:.4g}."
        )
        if coupling.kind == "function of a mean":
            return f"{dealt} Within a batch the gradient points where that of the mean does; only its length differs."
        if coupling.kind == "wanted":
            return (
                f"{dealt} That is no mistake where samples are meant to be compared with each other; the batch size is "
                "then a part of the objective, and values for different batch sizes cannot be compared."
            )
        if coupling.kind == "wrong axis":
            return (
                f"{dealt} The samples compete with each other, in each feature apart: a number added to one feature of all "
                "samples changes nothing, and the features of a sample do not know of each other. Yet one value per sample is "
                "returned. Nothing raises."
            )
        through = "targets" if coupling.targets_only else "predictions and targets"
        return (
            f"{dealt} The {through} of the other samples enter into a sample's gradient, so that how much it counts, and "
            "what is reported, depend on the batch size and on chance. Nothing raises."
        )

    @staticmethod
    def _fix(coupling: Coupling) -> Fix:
        if coupling.kind == "batching" and coupling.targets_only:
            return Fix(
                "Normalise by a constant taken from all training targets (or within each sample), and return one value "
                "per sample."
            )
        if coupling.kind == "batching":
            return Fix("Reduce over the axes of one sample only, not over the batch: return one value per sample.")
        if coupling.kind == "function of a mean":
            return Fix("Train on the mean itself, and take the root (or the like) of what is reported.")
        if coupling.kind == "wrong axis":
            return Fix("Normalise along the last axis: `axis=-1` in the place of `axis=0`.")
        return Fix("Keep the batch size fixed (`drop_remainder`), and compare values for one batch size only.")
