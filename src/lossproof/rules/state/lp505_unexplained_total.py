"""LP505: the reported loss is not the sum of the parts that are reported."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from lossproof.findings.finding import Counterfactual, Finding, Fix, Row, Severity
from lossproof.lab.noise import rounding
from lossproof.rules.rule import NotApplicable, Rule

if TYPE_CHECKING:
    from lossproof.lab.lab import Lab
    from lossproof.lab.wiring.compiled import Wired


class UnexplainedTotal(Rule):
    """Penalties and weights that are in the total and in no other number that Keras shows."""

    code = "LP505"
    name = "unexplained-total"
    severity = "note"
    note_only = True
    summary = "has a total that is not the sum of its reported parts, with the reason"
    explanation = """
The `loss` that Keras shows is the weighted sum of the losses of the outputs, plus `model.losses`: regularizers, activity
regularizers, `add_loss`. The penalties are shown nowhere, and the losses of the outputs are shown without their weights. So
`evaluate` says 0.146 where the mean of the squared errors is 0.085, and 3 a + 0.2 b looks like another sum.

It is reported as a note: the total is right, and it is not what it is easily taken for. It is not reported where the one
loss of the model is also a metric.

**Proof.** The total on a batch beside each of its parts, measured one by one; they add up to it.

**What to do.** Give the loss as a metric, too (`metrics=["mse"]`), and compare those.
"""
    source = (
        "keras/src/trainers/trainer.py, Trainer.compute_loss",
        "keras/src/trainers/compile_utils.py, CompileLoss.call",
        "https://github.com/keras-team/keras/issues/6518",
    )
    guilty = """
import keras
import numpy as np
from keras import layers, regularizers

rng = np.random.default_rng(0)
x = rng.normal(size=(64, 6)).astype("float32")
y = x[:, :1] - x[:, 1:2]

model = keras.Sequential([keras.Input((6,)), layers.Dense(8, kernel_regularizer=regularizers.l2(0.1)), layers.Dense(1)])
model.compile(optimizer="sgd", loss="mse")  # expect: LP505
model.fit(x, y, verbose=0)
"""
    innocent = """
import keras
import numpy as np
from keras import layers, regularizers

rng = np.random.default_rng(0)
x = rng.normal(size=(64, 6)).astype("float32")
y = x[:, :1] - x[:, 1:2]

model = keras.Sequential([keras.Input((6,)), layers.Dense(8, kernel_regularizer=regularizers.l2(0.1)), layers.Dense(1)])
model.compile(optimizer="sgd", loss="mse", metrics=["mse"])
model.fit(x, y, verbose=0)
"""

    def check(self, lab: Lab) -> Iterator[Finding]:
        from lossproof.lab.state.reporting import compiled_metrics

        if lab.capture.model is None or lab.capture.error is not None:
            raise NotApplicable("nothing was reported")
        if lab.overrides_train_step or lab.overrides_compute_loss:
            raise NotApplicable("the model computes its loss in code of its own")
        wired = lab.attempt(lab.compiled.evaluate)
        if wired is None or not wired.terms or not np.isfinite(wired.total):
            raise NotApplicable("the objective has no finite value on the captured batch")
        penalties = sum(lab.forward_losses)
        weights = [1.0 if term.weight is None else term.weight for term in wired.terms]
        parts = [weight * term.value for weight, term in zip(weights, wired.terms, strict=True)]
        shown = sum(term.value for term in wired.terms)
        noise = rounding("float32", sum(map(abs, parts)) + abs(penalties) + abs(shown), 1024)
        explained = abs(wired.total - sum(parts) - penalties) <= noise
        if not explained or abs(wired.total - shown) <= noise:
            return
        if len(wired.terms) == 1 and any(abs(value - shown) <= noise for value in lab.once(compiled_metrics).values()):
            return  # the loss without its penalties is shown
        yield self._finding(lab, wired, weights, shown, penalties, noise)

    def _finding(
        self, lab: Lab, wired: Wired, weights: list[float], shown: float, penalties: float, noise: float
    ) -> Finding:
        several = len(wired.terms) > 1
        weighted = any(weight != 1.0 for weight in weights)
        has_penalties = abs(penalties) > noise
        reasons = []
        if has_penalties:
            count = len(lab.forward_losses)
            reasons.append(
                f"{penalties:.4g} of it comes from {count} {'penalty' if count == 1 else 'penalties'} in model.losses "
                "(regularizers, add_loss), which no other number shows"
            )
        if weighted:
            reasons.append("the losses of the outputs are shown without their weights")
        names = " + ".join(
            f"{weight:g} * {term.name}" if weight != 1.0 else term.name
            for weight, term in zip(weights, wired.terms, strict=True)
        )
        compiled = lab.capture.compiled
        where = compiled.where if compiled is not None else lab.capture.where
        rows = [
            Row(f"{weight:g} * {term.name}", term.value if several else None, weight * term.value)
            for weight, term in zip(weights, wired.terms, strict=True)
        ]
        if has_penalties:
            rows.append(Row("model.losses", None, penalties, "shown nowhere"))
        return Finding(
            code=self.code,
            name=self.name,
            severity=Severity.NOTE,
            title=f"the reported loss of {wired.total:.4g} is {names}{f' + {penalties:.4g} of penalties' * has_penalties}",
            where=where,
            explanation=(
                f"The loss is {wired.total:.4g} on this batch: {'; '.join(reasons)}. "
                f"{'The parts that are shown add up to' if several else f'{wired.terms[0].name} alone is'} {shown:.4g}, "
                "which is what a computation from the predictions gives."
            ),
            evidence={
                "total": wired.total,
                "parts": {term.name: term.value for term in wired.terms},
                "weights": weights,
                "penalties": list(lab.forward_losses),
            },
            counterfactual=Counterfactual(
                change="without penalties and weights",
                before=wired.total,
                after=shown,
                columns=("shown", "in the total"),
                label="loss, and sum of its shown parts" if several else f"loss, and {wired.terms[0].name} alone",
                rows=tuple(rows),
            ),
            fix=Fix(
                "Give the loss as a metric, too, and compare that with a computation of your own.",
                where=where,
                code=f'metrics=["{wired.terms[0].loss}"]' if isinstance(wired.terms[0].loss, str) else None,
            ),
        )
