"""LP506: the loss that is reported is not the loss that the step computes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

import numpy as np

from lossproof.findings.finding import Counterfactual, Finding, Fix, Row, Severity
from lossproof.lab.noise import differs
from lossproof.rules.rule import NotApplicable, Rule

if TYPE_CHECKING:
    from lossproof.lab.lab import Lab

Kind = Literal["train", "test"]


class ReportReplaced(Rule):
    """Logs of a custom step that Keras overwrites, a loss tracker that nobody updates, a scaled loss."""

    code = "LP506"
    name = "report-replaced"
    severity = "error"
    summary = "is not the number reported (a custom step's logs overwritten, 0.0, scaled)"
    explanation = """
At the end of an epoch Keras compares the keys that the step returned with the names in `model.metrics`. If they are the
same set, the step's numbers are thrown away and the metrics are reported. A `train_step` that returns `{"loss": loss}`
has the same key as Keras's own loss tracker, which nobody has updated: the history says 0.0, and `EarlyStopping`,
`ModelCheckpoint` and `ReduceLROnPlateau` work with it. Nothing raises.

A step that reports the loss after `optimizer.scale_loss` shows it some thousand times too large.

**Proof.** The step is run from reset metrics: what it returns, beside what Keras reports of it; or what is reported
beside the objective, at a ratio that is the same on two different batches.

**What to do.** Keep a `keras.metrics.Mean` as an attribute of the model, update it with the loss in the step, and return
its result; it is then one of `model.metrics` and is reset for each epoch.
"""
    source = (
        "keras/src/trainers/trainer.py, Trainer._get_metrics_result_or_logs",
        "https://keras.io/guides/custom_train_step_in_tensorflow/",
    )
    guilty = """
import keras
import numpy as np
from keras import layers, ops

rng = np.random.default_rng(0)
x = rng.normal(size=(64, 4)).astype("float32")
y = rng.normal(size=(64, 1)).astype("float32")


class Regressor(keras.Model):
    def train_step(self, *args):  # expect: LP506
        result = super().train_step(*args)
        logs = result[0] if isinstance(result, tuple) else result
        logs["loss"] = ops.sqrt(logs["loss"])
        return result


inputs = keras.Input((4,))
model = Regressor(inputs, layers.Dense(1)(inputs))
model.compile(optimizer="sgd", loss="mse")
model.fit(x, y, verbose=0)
"""
    innocent = """
import keras
import numpy as np
from keras import layers, ops

rng = np.random.default_rng(0)
x = rng.normal(size=(64, 4)).astype("float32")
y = rng.normal(size=(64, 1)).astype("float32")


class Regressor(keras.Model):
    def train_step(self, *args):
        result = super().train_step(*args)
        logs = result[0] if isinstance(result, tuple) else result
        logs["root_loss"] = ops.sqrt(logs["loss"])
        return result


inputs = keras.Input((4,))
model = Regressor(inputs, layers.Dense(1)(inputs))
model.compile(optimizer="sgd", loss="mse")
model.fit(x, y, verbose=0)
"""

    def check(self, lab: Lab) -> Iterator[Finding]:
        from lossproof.lab.state.reporting import evaluated

        if lab.capture.error is not None or lab.capture.model is None:
            raise NotApplicable("nothing was reported")
        fitted = lab.capture.call in ("fit", "check")
        kinds: list[Kind] = []
        if lab.overrides("train_step") and fitted:
            kinds.append("train")
        if lab.overrides("test_step") and evaluated(lab):
            kinds.append("test")
        if not kinds:
            raise NotApplicable("Keras's own steps report the loss")
        for kind in kinds:
            found = self._replaced(lab, kind) or self._never_updated(lab, kind)
            if found is None and kind == "train":
                found = self._scaled(lab)
            if found is not None:
                yield found

    # What the step returns is thrown away -------------------------------------------------------------------------

    def _replaced(self, lab: Lab, kind: Kind) -> Finding | None:
        from lossproof.lab.state.reporting import reported

        ran = lab.once(reported, kind)
        if ran is None:
            return None
        replaced = {
            name: (value, ran.reported[name])
            for name, value in ran.returned.items()
            if name in ran.reported
            and np.isfinite(value)
            and np.isfinite(ran.reported[name])
            and differs(value, ran.reported[name], "float32", 1024)
        }
        if not replaced:
            return None
        name = "loss" if "loss" in replaced else next(iter(replaced))
        value, shown = replaced[name]
        untouched = name in ran.unchanged
        where = lab.place_of_method(f"{kind}_step")
        holder = "has not been updated" if untouched else "holds something else"
        return Finding(
            code=self.code,
            name=self.name,
            severity=Severity.ERROR,
            title=f"{name} is reported as {shown:.4g}, not as the {value:.4g} that {kind}_step returns",
            where=where,
            explanation=(
                f"{kind}_step returns the keys {', '.join(ran.returned)}: the names of the metrics in model.metrics. Keras "
                f"then reports those metrics and throws the returned numbers away, and its metric {name!r} {holder}. "
                f"{'History' if kind == 'train' else 'Evaluation'} and callbacks that watch "
                f"{'' if kind == 'train' else 'val_'}{name} see {shown:.4g}. Nothing raises."
            ),
            evidence={"replaced": {key: list(pair) for key, pair in replaced.items()}, "step": f"{kind}_step"},
            counterfactual=Counterfactual(
                change="report what the step returns",
                before=shown,
                after=value,
                label=f"{name} of this batch",
                columns=("reported", "returned"),
                rows=tuple(
                    Row(f"{other} of this batch", pair[1], pair[0]) for other, pair in replaced.items() if other != name
                ),
            ),
            fix=Fix(
                f"Update a metric with it in the step, and return the metric's result: self.{name}_tracker = "
                f"keras.metrics.Mean(name={name!r}) in __init__, update_state in {kind}_step.",
                where=where,
            ),
        )

    # The loss is read from a tracker that nobody updates ----------------------------------------------------------

    def _never_updated(self, lab: Lab, kind: Kind) -> Finding | None:
        from lossproof.lab.state.reporting import compiled_total, reported

        ran = lab.once(reported, kind)
        if ran is None or "loss" not in ran.unchanged or ran.returned.get("loss") != ran.reported["loss"]:
            return None
        if any(one.name == "loss" for one in ran.updated):
            return None  # LP503
        shown = ran.reported["loss"]
        value = sum(ran.differentiated) if ran.differentiated else lab.attempt(lambda: lab.once(compiled_total))
        if value is None or not np.isfinite(value) or not differs(value, shown):
            return None
        where = lab.place_of_method(f"{kind}_step")
        return Finding(
            code=self.code,
            name=self.name,
            severity=Severity.ERROR,
            title=f"the loss is reported as {shown:.4g}, whatever it is",
            where=where,
            explanation=(
                f"{kind}_step returns the results of model.metrics, and never updates the one named 'loss', so that its "
                f"result is the one after a reset. The step works with a loss of {value:.4g}. Nothing raises."
            ),
            evidence={"reported": shown, "loss": value, "step": f"{kind}_step"},
            counterfactual=Counterfactual(
                change="update the loss tracker with the step's loss",
                before=shown,
                after=value,
                columns=("reported", "in the step"),
            ),
            fix=Fix(
                "Keep self.loss_tracker = keras.metrics.Mean(name='loss'), update it with the loss, and return its result.",
                where=where,
            ),
        )

    # The loss is reported at another scale ------------------------------------------------------------------------

    def _scaled(self, lab: Lab) -> Finding | None:
        from lossproof.lab.state.reporting import reported, scale_of_report

        ran = lab.once(reported, "train")
        if ran is None or len(ran.differentiated) != 1 or "loss" not in ran.reported:
            return None
        ratio = lab.attempt(lambda: lab.once(scale_of_report))
        if ratio is None or not differs(ratio.reported, 1.0, "float32", 2**16):
            return None
        if ratio.by_optimizer is not None and not differs(ratio.reported, ratio.by_optimizer, "float32", 2**16):
            why = "The step reports the loss after optimizer.scale_loss, which is meant for the gradients alone"
        elif not differs(ratio.differentiated, 1.0, "float32", 2**16):
            why = "The step reports another number than it differentiates"
        else:
            return None
        where = lab.place_of_method("train_step")
        shown = ran.reported["loss"]
        return Finding(
            code=self.code,
            name=self.name,
            severity=Severity.ERROR,
            title=f"the loss is reported {ratio.reported:.6g} times as large as it is",
            where=where,
            explanation=(
                f"{why}: on two different batches it is {ratio.reported:.6g} times the objective. It cannot be compared "
                "with val_loss, with evaluate or with another run. Nothing raises."
            ),
            evidence={"ratio": ratio.reported, "reported": shown},
            counterfactual=Counterfactual(
                change="report the objective itself",
                before=shown,
                after=shown / ratio.reported,
                columns=("reported", "objective"),
            ),
            fix=Fix("Update the loss tracker with the loss as compute_loss returns it.", where=where),
        )
