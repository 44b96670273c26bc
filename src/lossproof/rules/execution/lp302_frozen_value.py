"""LP302: the compiled step keeps a value that the script changes later."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from lossproof.findings.finding import Counterfactual, Finding, Fix, Row, Severity
from lossproof.lab.noise import differs
from lossproof.rules.rule import NotApplicable, Rule

if TYPE_CHECKING:
    from lossproof.capture.record import LostAssignment, Reassigned
    from lossproof.capture.values import Change
    from lossproof.lab.execution.following import Following
    from lossproof.lab.execution.reassigning import Ignored
    from lossproof.lab.execution.untrained import Untrained
    from lossproof.lab.lab import Lab


class FrozenValue(Rule):
    """A weight that is annealed in Python and constant in the compiled step."""

    code = "LP302"
    name = "frozen-value"
    severity = "error"
    summary = (
        "reads a value that compilation froze or never reads back (Python value; untracked variable or batch-callback "
        "assignment on JAX); later changes have no effect"
    )
    explanation = """
TensorFlow and JAX run your Python code once, to trace the step. A Python number that it reads (an attribute, a closure,
a global, the strength of a regularizer) becomes a constant of the compiled step: a callback that changes it later
prints the new value and trains with the old one. On JAX the same holds for a `keras.Variable` that the model does not
track, and an assignment to a tracked one in the middle of an epoch is overwritten, because steps carry the state along.
Entries of `loss_weights` are copied by `compile` on every backend, and `model.loss` is only a note of what was compiled:
another loss assigned to it is not trained. Nor is a variable of a loss on any backend, though it says `trainable=True`:
`fit` trains what the model holds. Otherwise PyTorch runs eagerly and follows.

**Proof.** The values that your objective can read are noted when training begins, and again at each epoch. For one that
your script changed: the step is traced with the old value and run with the new one (the loss does not move), then traced
anew (it does); where no loss depends on it, the same of the gradient. Of a loss assigned to the model: nobody reads it, and
compiled it makes another total. Of a variable: the objective falls by a step of it alone, and it has its first value still.

**What to do.** Keep the value in a weight of the model or of a layer, `self.add_weight(shape=(), trainable=False)`, and
`assign` to it in `on_epoch_begin`. That is live on every backend.
"""
    source = (
        "https://github.com/keras-team/keras/issues/4813",
        "keras/src/backend/jax/trainer.py: only variables of the model enter the jitted step",
        "keras/src/trainers/compile_utils.py, CompileLoss.build: loss_weights are packed once",
        "https://github.com/keras-team/keras/issues/13826",
        "https://github.com/keras-team/keras/issues/13275",
    )
    backends = ("tensorflow", "jax")
    guilty = """
import keras
import numpy as np
from keras import layers, ops

rng = np.random.default_rng(0)
x = rng.normal(size=(64, 3)).astype("float32")
y = x @ rng.normal(size=(3, 1)).astype("float32")


class Shrinking(keras.losses.Loss):
    strength = 0.0

    def __init__(self):
        super().__init__()
        self.strength = 0.0

    def call(self, y_true, y_pred):
        return ops.mean(ops.square(y_true - y_pred) + self.strength * ops.square(y_pred), axis=-1)  # expect: LP302


loss = Shrinking()


class Anneal(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        loss.strength = 0.1 * epoch


model = keras.Sequential([keras.Input((3,)), layers.Dense(1)])
model.compile(optimizer="sgd", loss=loss)
model.fit(x, y, epochs=3, callbacks=[Anneal()], verbose=0)
"""
    innocent = """
import keras
import numpy as np
from keras import layers, ops

rng = np.random.default_rng(0)
x = rng.normal(size=(64, 3)).astype("float32")
y = x @ rng.normal(size=(3, 1)).astype("float32")


class Shrinking(layers.Layer):
    def __init__(self):
        super().__init__()
        self.strength = self.add_weight(shape=(), initializer="zeros", trainable=False, name="strength")

    def call(self, inputs):
        self.add_loss(self.strength * ops.mean(ops.square(inputs)))
        return inputs


shrinking = Shrinking()


class Anneal(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        shrinking.strength.assign(0.1 * epoch)


model = keras.Sequential([keras.Input((3,)), layers.Dense(1), shrinking])
model.compile(optimizer="sgd", loss="mse")
model.fit(x, y, epochs=3, callbacks=[Anneal()], verbose=0)
"""

    def check(self, lab: Lab) -> Iterator[Finding]:
        from lossproof.lab.execution.following import following, with_variable
        from lossproof.lab.execution.reassigning import ignored
        from lossproof.lab.execution.untrained import untrained

        capture = lab.capture
        if capture.model is not None and capture.training and lab.run.declared:
            with suppress(NotApplicable):
                left = lab.attempt(lambda: lab.once(untrained))
                if left is not None:
                    yield self._untrained(lab, left)
        if capture.reassigned is not None and capture.model is not None:
            with suppress(NotApplicable):
                assigned = lab.attempt(lambda: lab.once(ignored))
                if assigned is not None:
                    yield self._reassigned(lab, capture.reassigned, assigned)
        known = capture.changes.changed
        if capture.model is not None and not (known or capture.lost):
            with suppress(NotApplicable):
                _ = lab.evaluation
        own = [one for one in lab.changed_by_objective if one.slot.name not in known and capture.training]
        if capture.model is None or not (known or own or capture.lost or capture.reassigned or lab.run.declared):
            raise NotApplicable("no value that the objective can read was changed while it was trained")
        _ = lab.evaluation
        for change in [*known.values(), *own]:
            outcome = lab.attempt(partial(lab.once, following, change))
            if outcome is not None and outcome.stuck:
                yield self._frozen(lab, change, outcome)
        for lost in capture.lost:
            values = lab.attempt(partial(lab.once, with_variable, lost.variable, lost.value))
            if values is not None and differs(*values):
                yield self._lost(lost, *values)
                break

    def _frozen(self, lab: Lab, change: Change, outcome: Following) -> Finding:
        from lossproof.lab.execution.following import place_of_reading

        name = change.slot.name
        old, new = _shown(change.before), _shown(change.after)
        copied = name.startswith("loss_weights[") and not isinstance(
            change.before, np.ndarray
        )  # that is a variable's value
        return Finding(
            code=self.code,
            name=self.name,
            severity=Severity.ERROR,
            title=f"{name} is {old} for the compiled step, whatever the script makes of it",
            where=(lab.capture.compiled.where if copied and lab.capture.compiled else None)
            or place_of_reading(change.slot)
            or lab.capture.where,
            measured=f"1 batch; {name} changed from {old} to {new} {change.when}",
            explanation=(
                f"The step changes {name} itself, from {old} to {new} and so on, but its Python code runs only while it "
                "is traced. The compiled step keeps the value that it read then, however many steps are made."
                if change.by_step
                else f"The script changes {name} from {old} to {new} {change.when}, but "
                + (
                    "compile() copied the loss weights, and the copy is what training uses. "
                    if copied
                    else "the step was traced before and keeps the value that it read then. "
                )
                + "The new value is printed and logged wherever you look, and training goes on with the old one."
            ),
            evidence={"value": name, "traced": old, "changed_to": new, "when": change.when},
            counterfactual=Counterfactual(
                change="compile again" if copied else "trace the step anew",
                before=outcome.kept,
                after=outcome.fresh,
                label=f"{'how far the gradient turns' if outcome.turned else 'loss'} with {name} = {new}",
                columns=("as trained", "compiled again" if copied else "traced anew"),
                rows=(Row(f"the same with {name} = {old}", outcome.with_old, outcome.with_old, ""),),
            ),
            fix=Fix(
                "Keep the value in a weight that the model owns, and assign to it in "
                + ("the step" if change.by_step else "on_epoch_begin")
                + ": that is live on every backend.",
                code=f"self.{_word(name)} = self.add_weight(shape=(), trainable=False, name={_word(name)!r})",
            ),
        )

    def _reassigned(self, lab: Lab, one: Reassigned, found: Ignored) -> Finding:
        from lossproof.lab.execution.following import place_of_assignment

        trained, assigned = (_written(value) for value in (one.compiled, one.assigned))
        return Finding(
            code=self.code,
            name=self.name,
            severity=Severity.ERROR,
            title=f"what is assigned to model.{one.name} after compile is not trained",
            where=place_of_assignment(lab, one.name) or lab.capture.where,
            explanation=(
                f"model.{one.name} is {assigned} now, but it is only a note of what compile was given. Training goes on with "
                f"what compile made of {trained}, on every backend, eagerly as well. Nothing raises."
            ),
            evidence={"compiled": trained, "assigned": assigned},
            counterfactual=Counterfactual(
                change=f"compile again with {assigned}",
                before=found.trained,
                after=found.assigned,
                label="loss on the captured batch",
                columns=("as trained", "compiled again"),
            ),
            fix=Fix(
                "Compile again between two calls of fit, with the same optimizer, so that its state goes on.",
                code=f"model.compile(optimizer=model.optimizer, {one.name}=...)",
            ),
        )

    def _untrained(self, lab: Lab, found: Untrained) -> Finding:
        names, several = ", ".join(found.names), len(found.names) > 1
        values = ", ".join(str(_shown(value)) for value in found.values)
        norms = ", ".join(f"{norm:.3g}" for norm in found.norms)
        return Finding(
            code=self.code,
            name=self.name,
            severity=Severity.ERROR,
            title=f"{names} {'are' if several else 'is'} trainable, and no optimizer is given {'them' if several else 'it'}",
            where=found.where or lab.capture.where,
            explanation=(
                f"The objective depends on {names} (length of the gradient: {norms}), but fit hands the optimizer the weights "
                "of the model alone. A variable of a loss, or of a function, is none of them, whatever its trainable says: "
                f"{'these keep' if several else 'it keeps'} the value {values} to the end. Nothing raises."
            ),
            evidence={"variables": list(found.names), "gradients": list(found.norms)},
            counterfactual=Counterfactual(
                change="one step of it alone" if not several else "one step of these alone",
                before=found.before,
                after=found.after,
                label="loss on the captured batch",
                columns=("as trained", "after the step"),
            ),
            fix=Fix(
                "Make the variable a weight of the model before it is compiled: what a model or a layer holds is trained.",
                code="model.loss_variables = [loss.variable]",
            ),
        )

    def _lost(self, lost: LostAssignment, before: float, after: float) -> Finding:
        name, new = lost.variable.path, _shown(lost.value)
        return Finding(
            code=self.code,
            name=self.name,
            severity=Severity.ERROR,
            title=f"what is assigned to {name} in the middle of an epoch never reaches the step",
            where=lost.where,
            explanation=(
                f"On JAX the steps of an epoch carry the model's state along; {name} = {new}, assigned between two of "
                "them, is overwritten when the epoch ends. Nothing raises."
            ),
            evidence={"variable": name, "assigned": new},
            counterfactual=Counterfactual(
                change=f"{name} = {new}", before=before, after=after, columns=("as trained", "with the assigned value")
            ),
            fix=Fix("Assign in on_epoch_begin, or let the step compute the value from a step counter of the model."),
        )


def _shown(value: object) -> object:
    if isinstance(value, np.ndarray):
        return float(f"{value.item():.4g}") if value.size == 1 else str(np.round(value, 4).tolist())
    return float(f"{value:.4g}") if isinstance(value, float) else value


def _written(value: object) -> str:
    if isinstance(value, (dict, list, tuple)):
        entries = value.items() if isinstance(value, dict) else enumerate(value)
        return ", ".join(f"{key}: {_written(entry)}" for key, entry in entries)
    return str(
        getattr(value, "__name__", None) or (value if isinstance(value, (str, int, float)) else type(value).__name__)
    )


def _word(name: str) -> str:
    word = name.rstrip("]'\"").split(".")[-1].split("[")[-1].strip("'\"")
    return word if word.isidentifier() else "value"
