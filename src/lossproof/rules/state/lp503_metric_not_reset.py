"""LP503: a number is reported by a metric that is not reset, or that the step does not update."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from lossproof.findings.finding import Counterfactual, Finding, Fix, Row, Severity
from lossproof.lab.noise import differs
from lossproof.rules.rule import NotApplicable, Rule

if TYPE_CHECKING:
    from lossproof.lab.lab import Lab
    from lossproof.lab.state.reporting import Holder, Reported


class MetricNotReset(Rule):
    """A tracker that `metrics` does not list, a built-in one that it hides, a `reset_state` that resets nothing."""

    code = "LP503"
    name = "metric-not-reset"
    severity = "error"
    summary = "is reported by a tracker that is not reset, not listed, or hidden"
    explanation = """
Keras resets what `model.metrics` lists, at the begin of each epoch and of each evaluation, and nothing else. A tracker
that is not listed (a global, one in a list, one of a nested model, one left out of an overridden `metrics`) goes on
from where the last epoch ended: the number reported for epoch 10 is the mean over ten epochs.

The reverse: an overridden `metrics` hides Keras's own loss tracker. `evaluate` (and the validation in `fit`) runs
`test_step`; if that is Keras's own, it updates the hidden tracker, and reports the listed ones, which nobody has updated:
the loss is 0.0. Nothing raises.

**Proof.** The step is run on the two halves of a batch, with the reset of an epoch between them, and again with every
metric reset: the reported number differs. Or `test_step` is run from reset metrics: the metric that is reported has
still the state of the reset, and the number is in another one.

**What to do.** List every tracker in `metrics` (an attribute of the model is listed by itself, if `metrics` is not
overridden). With a `train_step` of your own and an evaluation, write `test_step` as well.
"""
    source = (
        "keras/src/trainers/trainer.py, Trainer.metrics and Trainer.reset_metrics",
        "https://github.com/keras-team/keras/issues/14705",
    )
    guilty = """
import keras
import numpy as np
from keras import layers, ops

rng = np.random.default_rng(0)
x = rng.normal(size=(96, 4)).astype("float32")
y = rng.normal(size=(96, 1)).astype("float32")


class MeanError(keras.metrics.Metric):
    def __init__(self, name="mean_error", **kwargs):
        super().__init__(name=name, **kwargs)
        self.total = self.add_variable((), "zeros", name="total")
        self.count = self.add_variable((), "zeros", name="count")

    def update_state(self, y_true, y_pred, sample_weight=None):
        self.total.assign_add(ops.sum(ops.abs(y_true - y_pred)))
        self.count.assign_add(ops.cast(ops.size(y_true), "float32"))

    def result(self):
        return self.total / self.count

    def reset_state(self):  # expect: LP503
        self.total.assign(0.0)


model = keras.Sequential([keras.Input((4,)), layers.Dense(1)])
model.compile(optimizer="sgd", loss="mse", metrics=[MeanError()])
model.fit(x, y, epochs=2, verbose=0)
"""
    innocent = """
import keras
import numpy as np
from keras import layers, ops

rng = np.random.default_rng(0)
x = rng.normal(size=(96, 4)).astype("float32")
y = rng.normal(size=(96, 1)).astype("float32")


class MeanError(keras.metrics.Metric):
    def __init__(self, name="mean_error", **kwargs):
        super().__init__(name=name, **kwargs)
        self.total = self.add_variable((), "zeros", name="total")
        self.count = self.add_variable((), "zeros", name="count")

    def update_state(self, y_true, y_pred, sample_weight=None):
        self.total.assign_add(ops.sum(ops.abs(y_true - y_pred)))
        self.count.assign_add(ops.cast(ops.size(y_true), "float32"))

    def result(self):
        return self.total / self.count

    def reset_state(self):
        self.total.assign(0.0)
        self.count.assign(0.0)


model = keras.Sequential([keras.Input((4,)), layers.Dense(1)])
model.compile(optimizer="sgd", loss="mse", metrics=[MeanError()])
model.fit(x, y, epochs=2, verbose=0)
"""

    def check(self, lab: Lab) -> Iterator[Finding]:
        from lossproof.lab.state.reporting import evaluated, unlisted_in_layers, update_after_reset

        if lab.capture.model is None or lab.capture.error is not None:
            raise NotApplicable("no model was trained")
        own = [name for name in ("train_step", "test_step", "metrics", "reset_metrics") if lab.overrides(name)]
        if own or unlisted_in_layers(lab.capture.model):
            yield from self._carried(lab)
            if lab.capture.training:
                yield from self._not_updated(lab, "train")
            if evaluated(lab):
                yield from self._not_updated(lab, "test")
        elif not lab.metrics:
            raise NotApplicable("Keras's own steps and metrics")
        for metric, before, after in lab.once(update_after_reset):
            if differs(before, after, "float32", 1024):
                yield self._kept(lab, metric, before, after)

    # A tracker that goes on where the last epoch ended ------------------------------------------------------------

    def _carried(self, lab: Lab) -> Iterator[Finding]:
        from lossproof.lab.state.reporting import reported

        capture = lab.capture
        if capture.call not in ("fit", "check") or (capture.epochs_asked or 1) < 2:
            return
        carried, fresh = (lab.once(reported, "train", halves=True, reset=reset) for reset in ("model", "all"))
        if carried is None or fresh is None:
            return
        seen = capture.not_reset
        for holder in carried.updated:
            name = next((n for n in carried.reported if _shows(carried, n, holder)), None)
            if name is None or name not in fresh.reported or (seen is not None and id(holder.metric) not in seen):
                continue
            before, after = carried.reported[name], fresh.reported[name]
            if np.isfinite(before) and np.isfinite(after) and differs(before, after, "float32", 1024):
                yield self._carries(lab, name, holder, before, after)

    def _carries(self, lab: Lab, name: str, holder: Holder, before: float, after: float) -> Finding:
        where = lab.place_of_method("metrics" if lab.overrides("metrics") else "train_step")
        why = "model.metrics does not list it" if not holder.listed else "reset_metrics leaves it as it is"
        return Finding(
            code=self.code,
            name=self.name,
            severity=Severity.ERROR,
            title=f"{name} is never reset: each epoch's number holds the epochs before it",
            where=where,
            explanation=(
                f"The train_step reports {name} from a {type(holder.metric).__name__}, and {why}, so that Keras does not "
                f"reset it when an epoch begins. What is shown for an epoch is the mean over all steps since the script "
                "began. Nothing raises."
            ),
            evidence={"reported": name, "metric": holder.name, "listed": holder.listed},
            counterfactual=Counterfactual(
                change=f"the metric {holder.name!r} reset when the second epoch begins",
                before=before,
                after=after,
                label=f"{name} reported for a second epoch",
                columns=("as written", "reset"),
            ),
            fix=Fix(
                "Make the metric an attribute of the model, or return it from `metrics`, so that Keras resets it.",
                where=where,
            ),
        )

    # A metric that is reported and not updated --------------------------------------------------------------------

    def _not_updated(self, lab: Lab, kind: Literal["train", "test"]) -> Iterator[Finding]:
        from lossproof.lab.state.reporting import reported

        ran = lab.once(reported, kind)
        if ran is None:
            return
        forgotten: list[tuple[str, float, Holder, bool]] = []
        for name in ran.unchanged:
            value = ran.reported[name]
            if ran.returned.get(name, value) != value:
                continue  # the step says another number, which Keras replaces: LP506
            hidden = next((one for one in ran.updated if one.name == name and one.result != value), None)
            if hidden is not None:
                yield self._hides(lab, kind, name, value, hidden)
                return  # the other metrics of the step have the same cause
            trained = lab.once(reported, "train") if kind == "test" else None
            holder = next((one for one in trained.updated if one.name == name), None) if trained else None
            if holder is not None and holder.own and holder.listed and differs(holder.result, value):
                # What is minimised is missed in an evaluation; the norm of a gradient, say, is not.
                losses = trained.differentiated if trained else ()
                minimised = any(not differs(holder.result, one, "float32", 64) for one in losses)
                forgotten.append((name, value, holder, minimised))
        if forgotten:
            name, value, holder, minimised = max(forgotten, key=lambda one: one[3])
            yield self._forgotten(lab, name, value, holder, Severity.WARNING if minimised else Severity.NOTE)

    def _hides(self, lab: Lab, kind: Literal["train", "test"], name: str, value: float, hidden: Holder) -> Finding:
        call = "fit reports" if kind == "train" else "evaluate and the validation report"
        where = lab.place_of_method("metrics" if lab.overrides("metrics") else "train_step")
        own = "" if lab.overrides(f"{kind}_step") else "(Keras's own) "
        return Finding(
            code=self.code,
            name=self.name,
            severity=Severity.ERROR,
            title=f"{call} {name} = {value:.4g} from a metric that {kind}_step does not update",
            where=where,
            explanation=(
                f"{kind}_step {own}updates "
                f"{'a metric' if hidden.own else 'the tracker of Keras'} named {name!r}, which "
                f"{'model.metrics does not list' if not hidden.listed else 'another metric of the same name hides'}. "
                f"The metric that is reported under this name is only reset. Nothing raises: {name} is {value:.4g} "
                f"whatever the model does."
            ),
            evidence={"reported": name, "value": value, "hidden": hidden.result, "step": f"{kind}_step"},
            counterfactual=Counterfactual(
                change=f"read the metric that {kind}_step updates",
                before=value,
                after=hidden.result,
                label=f"{name} of this batch",
                columns=("reported", "measured"),
            ),
            fix=Fix(
                "Write a test_step that updates the metrics you list, as your train_step does."
                if lab.overrides("train_step") and kind == "test"
                else "List Keras's own metrics, too: `return [*super().metrics, ...]`, or do not override `metrics`.",
                where=where,
            ),
        )

    def _forgotten(self, lab: Lab, name: str, value: float, holder: Holder, severity: Severity) -> Finding:
        where = lab.place_of_method("train_step") if lab.overrides("train_step") else lab.capture.where
        return Finding(
            code=self.code,
            name=self.name,
            severity=severity,
            title=f"{name} is {value:.4g} in every evaluation: only train_step updates it",
            where=where,
            explanation=(
                f"Evaluation resets {name}, runs test_step, and reports it. test_step does not update it, so that "
                f"val_{name} is {value:.4g} whatever the model does. Nothing raises."
            ),
            evidence={"reported": name, "value": value, "in training": holder.result},
            counterfactual=Counterfactual(
                change="the step that updates it",
                before=value,
                after=holder.result,
                label=f"{name} of this batch",
                columns=("test_step", "train_step"),
            ),
            fix=Fix("Write a test_step that updates it, as your train_step does.", where=where),
        )

    # A metric whose reset_state keeps something -------------------------------------------------------------------

    def _kept(self, lab: Lab, metric: Any, before: float, after: float) -> Finding:
        name, kind = metric.name, type(metric).__name__
        subject = next((one for one in lab.metrics if one.name == name), None)
        return Finding(
            code=self.code,
            name=self.name,
            severity=Severity.ERROR,
            title=f"{name} remembers what it saw before reset_state",
            where=lab.place(subject.changed(function=metric.reset_state)) if subject is not None else None,
            explanation=(
                f"Keras calls reset_state of {kind} at the begin of each epoch and evaluation. Part of its state stays: "
                "the same targets and predictions give another result after others were seen. Nothing raises."
            ),
            evidence={"metric": name, "first": before, "again": after},
            counterfactual=Counterfactual(
                change="nothing seen before the reset",
                before=after,
                after=before,
                label=f"{name} of half a batch",
                columns=("as written", "truly reset"),
                rows=(Row("the other half seen, then reset_state", after, before, "the reset is incomplete"),),
            ),
            fix=Fix("Hold the state in variables (`self.add_variable`), and assign each of them in `reset_state`."),
        )


def _shows(ran: Reported, name: str, holder: Holder) -> bool:
    """Whether the number reported under a name is what a metric holds."""
    return not differs(ran.reported[name], holder.result, "float32", 2)
