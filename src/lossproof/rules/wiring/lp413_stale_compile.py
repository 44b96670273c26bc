"""LP413: what is trained is not what the last `compile`, or `trainable`, says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from lossproof.findings.finding import Counterfactual, Finding, Fix, Row, Severity
from lossproof.lab.noise import differs
from lossproof.rules.rule import NotApplicable, Rule

if TYPE_CHECKING:
    from lossproof.capture.record import Retrained
    from lossproof.lab.lab import Lab
    from lossproof.lab.state.stepping import Step


class StaleCompile(Rule):
    """`loss_weights` without a loss at a second `compile`; `trainable` changed after `compile`."""

    code = "LP413"
    name = "stale-compile"
    severity = "warning"
    summary = "is not what the last `compile` says: arguments left out kept their old values, or `trainable` changed"
    explanation = """
`compile` without `loss` keeps the loss of the `compile` before it, together with its `loss_weights`: new weights that are
given without a loss are ignored. Nothing raises.

`trainable` is meant to be set before `compile`. Set after it, what happens depends on the backend. TensorFlow has traced
the step after the first `fit` and goes on training what it trained; PyTorch follows at once where it can; JAX, and
PyTorch for weights that were frozen before, stop because the optimizer was built for other weights. And in the
GAN of the textbooks (`discriminator.trainable = False` between the two `compile` calls) Keras 3 trains the discriminator
no more: the flag takes effect in its own training, too.

**Proof.** The total with the new `loss_weights`; or which weights the call has moved, and one step of those that should
have moved.

**What to do.** Give `compile` all of its arguments each time, and compile again after each change of `trainable`.
"""
    source = (
        "keras/src/trainers/trainer.py, Trainer.compile",
        "https://github.com/keras-team/keras/issues/8585",
    )
    guilty = """
import keras
import numpy as np
from keras import layers

rng = np.random.default_rng(0)
x = rng.normal(size=(64, 4)).astype("float32")
price, age = x[:, :1] * 100.0, x[:, 1:2]

inputs = keras.Input((4,))
model = keras.Model(inputs, [layers.Dense(1, name="price")(inputs), layers.Dense(1, name="age")(inputs)])
model.compile(optimizer="sgd", loss=["mae", "mae"], loss_weights=[1.0, 1.0])
model.fit(x, [price, age], verbose=0)
model.compile(optimizer="sgd", loss_weights=[0.01, 1.0])  # expect: LP413
model.fit(x, [price, age], verbose=0)
"""
    innocent = """
import keras
import numpy as np
from keras import layers

rng = np.random.default_rng(0)
x = rng.normal(size=(64, 4)).astype("float32")
price, age = x[:, :1] * 100.0, x[:, 1:2]

inputs = keras.Input((4,))
model = keras.Model(inputs, [layers.Dense(1, name="price")(inputs), layers.Dense(1, name="age")(inputs)])
model.compile(optimizer="sgd", loss=["mae", "mae"], loss_weights=[1.0, 1.0])
model.fit(x, [price, age], verbose=0)
model.get_layer("price").trainable = False
model.compile(optimizer="sgd", loss=["mae", "mae"], loss_weights=[0.01, 1.0])
model.fit(x, [price, age], verbose=0)
model.compile(optimizer=keras.optimizers.SGD(0.001))
model.fit(x, [price, age], verbose=0)
"""

    def check(self, lab: Lab) -> Iterator[Finding]:
        capture = lab.capture
        if capture.model is None or capture.compiled is None or not capture.training:
            raise NotApplicable("no compiled model is trained")
        told = capture.compiled.arguments
        changed = capture.retrained
        if changed is None and (told.get("loss") is not None or told.get("loss_weights") is None):
            raise NotApplicable("compile was given its loss, and trainable did not change after it")
        if told.get("loss") is None and told.get("loss_weights") is not None and _last_compiled(lab):
            yield from self._ignored_weights(lab)
        if changed is None:
            return
        if capture.error is not None:
            yield from self._refused(lab, changed)
        elif not changed.declared and changed.compiled and not changed.compiled & changed.moved:
            yield from self._nothing(lab, changed)
        elif not changed.taken and not lab.overrides_train_step:
            yield from self._not_followed(lab, changed)

    # New loss_weights without a loss ------------------------------------------------------------------------------

    def _ignored_weights(self, lab: Lab) -> Iterator[Finding]:
        compiled = lab.capture.compiled
        assert compiled is not None
        given = compiled.arguments["loss_weights"]
        before = lab.compiled.attempt(with_metrics=False)
        after = lab.compiled.attempt(with_metrics=False, loss_weights=given)
        if before is None or after is None or not differs(before.total, after.total, "float32", 1024):
            return
        kept = lab.compiled.arguments.loss_weights
        yield Finding(
            code=self.code,
            name=self.name,
            severity=Severity.WARNING,
            title="the new loss_weights are ignored: compile was given no loss",
            where=compiled.where,
            explanation=(
                f"Without a loss, compile keeps the loss of the call before it with that call's loss_weights, {kept}. The "
                f"total is {before.total:.4g} on this batch, where the weights given here make it {after.total:.4g}. "
                "Nothing raises."
            ),
            evidence={"given": repr(given), "in force": repr(kept)},
            counterfactual=Counterfactual(
                change="the same losses with the loss_weights given here",
                before=before.total,
                after=after.total,
                columns=("as trained", "as given"),
            ),
            fix=Fix("Pass the loss again, together with its new weights.", where=compiled.where),
        )

    # trainable after compile --------------------------------------------------------------------------------------

    def _nothing(self, lab: Lab, changed: Retrained) -> Iterator[Finding]:
        from lossproof.lab.state.stepping import one_step, weights_of

        total = lab.attempt(lambda: lab.total)
        step = lab.once(one_step, weights=weights_of(lab, changed.compiled))
        if total is None or step is None or not np.isfinite(step.total) or step.length == 0.0:
            return
        name, count = lab.capture.model.name, len(changed.compiled)
        yield self._finding(
            lab,
            Severity.ERROR,
            f"{name} has no weight left to train",
            (
                f"{name} was compiled with {count} trainable weights. Then trainable was set to False, which takes effect "
                f"in Keras 3 without another compile, also where it was meant for another model alone. This "
                f"{lab.capture.call} changes nothing."
            ),
            "the weights that were trainable at compile",
            total,
            step.total,
            (Row("length of the step", 0.0, step.length, "no weight moves"),),
            "Set trainable = True before you train it, and compile it again.",
            {"trainable at compile": count, "trainable now": 0},
        )

    def _not_followed(self, lab: Lab, changed: Retrained) -> Iterator[Finding]:
        from lossproof.lab.state.stepping import layers_with, one_step, weights_of

        frozen, thawed = changed.compiled - changed.declared, changed.declared - changed.compiled
        still, not_yet = frozen & changed.moved, thawed if changed.moved and not thawed & changed.moved else frozenset()
        if not still and not not_yet:
            return
        old = lab.once(one_step, weights=weights_of(lab, changed.compiled))
        new = lab.once(one_step, weights=weights_of(lab, changed.declared))
        if old is None or new is None or not differs(old.length, new.length, "float32", 1024):
            return
        names = ", ".join(layers_with(lab, still or not_yet)) or "some layers"
        does = "is trained on, though trainable is False" if still else "is not trained, though trainable is True"
        yield self._finding(
            lab,
            Severity.WARNING,
            f"{names} {does}",
            (
                f"trainable of {names} changed after compile. The step was traced before, with the weights that were "
                f"trainable then, and goes on training those: {len(still or not_yet)} weights do the opposite of what "
                "their flag says. Nothing raises."
            ),
            "compile again",
            old.total,
            new.total,
            (Row("length of the step", old.length, new.length),),
            "Compile the model again after trainable has changed.",
            {"layers": names, "weights": len(still or not_yet)},
        )

    def _refused(self, lab: Lab, changed: Retrained) -> Iterator[Finding]:
        from lossproof.lab.state.stepping import layers_with, one_step, refusal, weights_of

        error, refused = lab.capture.error, lab.attempt(lambda: lab.once(refusal))
        step: Step | None = lab.once(one_step, weights=weights_of(lab, changed.declared or changed.compiled))
        if refused is None or type(refused) is not type(error) or lab.capture.steps or step is None:
            return
        different = changed.declared ^ changed.compiled
        names = ", ".join(layers_with(lab, different)) or "some layers"
        yield self._finding(
            lab,
            Severity.ERROR,
            f"trainable of {names} changed after compile, and the optimizer refuses",
            (
                f"The optimizer was built for the {len(changed.compiled)} weights that were trainable at compile; now "
                f"{len(changed.declared)} are. It stops at the first step with a {type(error).__name__}."
            ),
            "compile again",
            type(error).__name__,
            step.total,
            (),
            "Compile the model again, with a new optimizer, after trainable has changed.",
            {"layers": names, "explains_error": True},
        )

    def _finding(  # noqa: PLR0913, PLR0917 - the parts of a finding, said by three experiments
        self,
        lab: Lab,
        severity: Severity,
        title: str,
        explanation: str,
        change: str,
        before: float | str,
        after: float,
        rows: tuple[Row, ...],
        fix: str,
        evidence: dict[str, object],
    ) -> Finding:
        return Finding(
            code=self.code,
            name=self.name,
            severity=severity,
            title=title,
            where=lab.capture.where,
            explanation=explanation,
            evidence=evidence,
            counterfactual=Counterfactual(
                change=change,
                before=before,
                after=after,
                label="loss after one step",
                columns=("as it runs", "changed"),
                rows=rows,
            ),
            fix=Fix(fix, where=lab.capture.compiled.where if lab.capture.compiled is not None else None),
        )


def _last_compiled(lab: Lab) -> bool:
    """Whether no later call of `compile` of this model was seen than that of the capture."""
    own = lab.capture.compiled
    serials = [one.compiled.serial for one in lab.run.captures if one.model is lab.capture.model and one.compiled]
    return own is not None and own.serial == max(serials, default=own.serial)
