"""LP105: the objective scales with the batch size."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from lossproof.findings.finding import Counterfactual, Finding, Fix, Row, Severity
from lossproof.lab.noise import differs
from lossproof.rules.rule import Rule

if TYPE_CHECKING:
    from lossproof.lab.lab import Lab
    from lossproof.lab.subject import Subject

COPIES = (2, 3)


class BatchSizeDependent(Rule):
    """A sum over the batch where a mean was meant."""

    code = "LP105"
    name = "batch-size-dependent"
    severity = "error / warning"
    summary = "scales with the batch size (sum for mean)"
    explanation = """
A loss that sums over the batch and returns one number is not divided by the batch size: Keras reduces only what it
gets per sample. The reported loss, its balance against regularization and the effective learning rate then all grow
with the batch size, and the last, smaller batch of an epoch counts less than its share. What a layer hands to
`add_loss` is always summed, also if it is one value per sample.

**Proof.** The same rows are given twice and three times in one batch. A mean does not move; this objective doubles
and triples, or grows by the same amount each time.

**What to do.** Return one value per sample (reduce over the last axes only) and let Keras take the mean, or divide by
the number of samples.
"""
    source = (
        "keras/src/losses/loss.py, reduce_values: scalars are returned as they are",
        "https://github.com/umbertogriffo/focal-loss-keras/issues/5",
    )
    guilty = """
import keras
import numpy as np
from keras import layers, ops

rng = np.random.default_rng(0)
x = rng.normal(size=(96, 3)).astype("float32")
y = x @ rng.normal(size=(3, 2)).astype("float32")


def squared_error(y_true, y_pred):
    return ops.sum(ops.square(y_true - y_pred))  # expect: LP105


model = keras.Sequential([keras.Input((3,)), layers.Dense(2)])
model.compile(optimizer="sgd", loss=squared_error)
model.fit(x, y, batch_size=40, verbose=0)
"""
    innocent = """
import keras
import numpy as np
from keras import layers, ops

rng = np.random.default_rng(0)
x = rng.normal(size=(96, 3)).astype("float32")
y = x @ rng.normal(size=(3, 2)).astype("float32")


def squared_error(y_true, y_pred):
    return ops.sum(ops.square(y_true - y_pred), axis=-1)  # over the outputs, not over the batch


model = keras.Sequential([keras.Input((3,)), layers.Dense(2)])
model.compile(optimizer="sgd", loss=squared_error)
model.fit(x, y, batch_size=40, verbose=0)
"""

    def check(self, lab: Lab) -> Iterator[Finding]:
        from lossproof.lab.shape.wrong_axis import wrong_axis

        found = [
            finding
            for subject in lab.losses
            if self._is_reduced(lab, subject) and lab.once(wrong_axis, subject) is None  # of that LP104 tells
            for finding in self._check(lab, subject)
        ]
        for subject in (lab.objective, lab.step):
            if subject is not None and not found:  # otherwise it is the same sum once more
                found += self._check(lab, subject)
        yield from found
        if lab.capture.model is not None and lab.capture.error is None and lab.forward_losses:
            yield from self._check_added(lab)

    @staticmethod
    def _is_reduced(lab: Lab, subject: Subject) -> bool:
        """Whether a loss gives one number: with `reduction="none"`, code of the user's sums or takes the mean later."""

        def shape() -> tuple[int, ...]:
            with lab.undisturbed():
                return lab.number(subject.total()).shape

        return bool(lab.attempt(shape) == ())

    def _check(self, lab: Lab, subject: Subject) -> Iterator[Finding]:
        from lossproof.lab.shape.alignment import place_of_reduction

        size = subject.batch_size

        def copied(n: int) -> float:
            return lab.value(subject.rows(np.tile(np.arange(size), n)))

        values = [float("nan") if v is None else v for v in (lab.attempt(partial(copied, n)) for n in (1, *COPIES))]
        if not np.isfinite(values).all() or values[0] == 0.0:
            return
        before, summed = values[0], values[1] - values[0]
        elements, scale = size * max(COPIES) * 16, max(map(abs, values))
        # What is summed may stand beside what is not, such as the penalties on weights.
        grown = [before + (n - 1) * summed for n in COPIES]
        if not differs(before, values[1], "float32", elements, scale) or any(
            differs(value, other, "float32", elements, scale) for value, other in zip(values[1:], grown, strict=True)
        ):
            return
        beside = before - summed if differs(before, summed, "float32", elements, scale) else 0.0
        yield Finding(
            code=self.code,
            name=self.name,
            severity=self._severity(lab, subject),
            title="the loss is a sum over the batch",
            where=lab.once(place_of_reduction, subject),
            measured=f"1 batch of {size}",
            explanation=(
                f"The same {size} rows give {before:.4g} once and {values[1]:.4g} when they stand in the batch twice. "
                "Keras divides what it gets per sample by the batch size; a number that is summed already it takes as "
                f"it is, so the loss and the length of each step grow with the batch.{self._sizes(lab)}"
            ),
            evidence={"batch": size, "values": {str(n): v for n, v in zip((1, *COPIES), values, strict=True)}},
            counterfactual=Counterfactual(
                change="divide by the number of samples",
                before=before,
                after=beside + (before - beside) / size,
                columns=("as written", "per sample"),
                rows=tuple(
                    Row(
                        f"the batch {n} times",
                        value,
                        beside + (value - beside) / (n * size),
                        "grows with the batch" if n == 2 else "",
                    )
                    for n, value in zip(COPIES, values[1:], strict=True)
                ),
            ),
            fix=Fix("Return one value per sample (reduce over the last axes only), or take the mean over the batch."),
        )

    def _check_added(self, lab: Lab) -> Iterator[Finding]:
        """What a layer adds: Keras sums it, whatever its shape."""
        from lossproof.lab.wiring.added_losses import added_by_user

        added = lab.attempt(lambda: lab.once(added_by_user, 1))
        if not added:
            return
        several = [added, *(lab.attempt(partial(lab.once, added_by_user, n)) for n in COPIES)]
        if any(found is None or len(found) != len(added) for found in several):
            return
        size = lab.batch_size
        for calls in zip(*several, strict=True):
            first, values = calls[0], [one.value for one in calls]
            elements = size * max(COPIES) * 16
            if not np.isfinite(values).all() or values[0] == 0.0:
                continue
            if any(differs(v, n * values[0], "float32", elements) for n, v in zip(COPIES, values[1:], strict=True)):
                continue
            given = f"values of shape {first.shape}" if first.shape else "a sum over the batch"
            yield Finding(
                code=self.code,
                name=self.name,
                severity=Severity.WARNING if len(lab.capture.batch_sizes) > 1 or lab.losses else Severity.NOTE,
                title="what add_loss is given is summed over the batch",
                where=first.where,
                measured=f"1 batch of {size}",
                explanation=(
                    f"`add_loss` is given {given}, and Keras adds up what it is given; it does not take the mean, as it "
                    f"does with the compiled loss. The same {size} rows add {values[0]:.4g} once and {values[1]:.4g} when "
                    f"they stand in the batch twice, so the weight of this term grows with the batch.{self._sizes(lab)}"
                ),
                evidence={"batch": size, "values": {str(n): v for n, v in zip((1, *COPIES), values, strict=True)}},
                counterfactual=Counterfactual(
                    change="divide by the number of samples",
                    before=values[0],
                    after=values[0] / size,
                    label="added to the loss",
                    columns=("as written", "per sample"),
                    rows=tuple(
                        Row(f"the batch {n} times", value, value / (n * size), "grows with the batch" if n == 2 else "")
                        for n, value in zip(COPIES, values[1:], strict=True)
                    ),
                ),
                fix=Fix("Pass the mean over the batch: `self.add_loss(ops.mean(...))`."),
            )

    def _severity(self, lab: Lab, subject: Subject) -> Severity:
        if getattr(getattr(subject, "loss", None), "reduction", None) == "sum":
            return Severity.NOTE  # said by the user in so many words
        several = len(lab.capture.batch_sizes) > 1
        if subject.kind == "loss":
            return Severity.ERROR if several else Severity.WARNING
        return Severity.WARNING if several else Severity.NOTE

    def _sizes(self, lab: Lab) -> str:
        sizes = sorted(lab.capture.batch_sizes)
        return f" This script uses batches of {', '.join(map(str, sizes))}." if len(sizes) > 1 else ""
