"""LP502: a model is trained by an optimizer that holds the state of another training."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from lossproof.findings.finding import Counterfactual, Finding, Fix, Row, Severity
from lossproof.lab.noise import differs
from lossproof.rules.rule import NotApplicable, Rule

if TYPE_CHECKING:
    from lossproof.capture.record import Restarted
    from lossproof.lab.lab import Lab
    from lossproof.lab.state.stepping import Foreign, Step


class SharedOptimizer(Rule):
    """One optimizer object in the `compile` of two models, or left as it was when the weights were set back."""

    code = "LP502"
    name = "shared-optimizer"
    severity = "error"
    summary = "is minimised by an optimizer built for, or carrying state of, other variables"
    explanation = """
An optimizer keeps numbers for each weight (Adam's two moments, a momentum) and a count of its steps. They belong to the
weights of the first model that it trains. Given to the `compile` of a second model (the next fold, the next setting, the
discriminator) it does not start anew: on TensorFlow and PyTorch it refuses the unknown weights; on JAX it goes by their
number and shapes, and applies the moments of the old model to the new one. Nothing raises there, and the folds of a
cross-validation are not independent. The same happens where one model is set back to the weights with which an earlier
`fit` began: `set_weights` leaves the optimizer alone.

**Proof.** One step on the batch with the state that the optimizer brought along, and one with a fresh optimizer of the
same settings. Where the script stopped: the step with a fresh optimizer runs.

**What to do.** Make a new optimizer for each model, or pass its name; compile again after setting the weights back.
"""
    source = (
        "keras/src/optimizers/base_optimizer.py, BaseOptimizer.apply and stateless_apply",
        "https://github.com/mrosol/Nonlincausality/pull/12",
    )
    guilty = """
import keras
import numpy as np
from keras import layers

rng = np.random.default_rng(0)
x = rng.normal(size=(96, 4)).astype("float32")
y = x[:, :1] - x[:, 1:2]

optimizer = keras.optimizers.Adam(0.1)
for fold in range(2):
    keras.utils.set_random_seed(fold)
    model = keras.Sequential([keras.Input((4,)), layers.Dense(1)])
    model.compile(optimizer=optimizer, loss="mse")  # expect: LP502
    rows = np.arange(len(x)) // 48 != fold
    model.fit(x[rows], y[rows], verbose=0)
"""
    innocent = """
import keras
import numpy as np
from keras import layers

rng = np.random.default_rng(0)
x = rng.normal(size=(96, 4)).astype("float32")
y = x[:, :1] - x[:, 1:2]

for fold in range(2):
    keras.utils.set_random_seed(fold)
    model = keras.Sequential([keras.Input((4,)), layers.Dense(1)])
    model.compile(optimizer=keras.optimizers.Adam(0.1), loss="mse")
    rows = np.arange(len(x)) // 48 != fold
    model.fit(x[rows], y[rows], verbose=0)
"""

    def check(self, lab: Lab) -> Iterator[Finding]:
        from lossproof.lab.state.stepping import foreign, one_step

        capture = lab.capture
        if capture.model is None or not capture.training:
            raise NotApplicable("nothing is trained")
        if capture.restarted is not None and not lab.overrides_train_step:
            yield from self._restarted(lab, capture.restarted)
            return
        if capture.optimizer_state is None:
            raise NotApplicable("the optimizer was fresh, or had trained these weights before")
        if lab.overrides_train_step and capture.error is None:
            raise NotApplicable("the model applies its gradients itself")
        found = lab.once(foreign)
        if found is None or found.within:
            raise NotApplicable("the optimizer knows the weights of the model")
        fresh = lab.once(one_step)
        if fresh is None or not np.isfinite(fresh.total):
            return
        failed = capture.error is not None and capture.steps == 0
        carried = one_step(lab, capture.optimizer_state)
        if not failed and (carried is None or not differs(carried.total, fresh.total, "float32", 1024)):
            return
        yield self._finding(lab, found, fresh, None if failed else carried)

    def _restarted(self, lab: Lab, again: Restarted) -> Iterator[Finding]:
        from lossproof.lab.state.stepping import one_step

        fresh, carried = lab.once(one_step), one_step(lab, again.optimizer_state)
        if fresh is None or carried is None or not np.isfinite([fresh.total, carried.total]).all():
            return
        if not differs(carried.total, fresh.total, "float32", 1024):
            return  # an optimizer without a state
        name, first = lab.capture.model.name, lab.capture.where
        at = f" at line {first.line}" if first is not None else ""
        yield Finding(
            code=self.code,
            name=self.name,
            severity=Severity.ERROR,
            title=f"{name} starts anew from its first weights, its optimizer does not",
            where=again.where,
            explanation=(
                f"This fit begins with the very weights of the fit{at}, set back by the script. The optimizer has made "
                f"{again.iterations} steps since: its counter and its moments go on, so that the first step is "
                f"{carried.length:.4g} long where a fresh optimizer's is {fresh.length:.4g}. What earlier fits have seen "
                "has a part in this one. Nothing raises."
            ),
            evidence={"steps before": again.iterations},
            counterfactual=Counterfactual(
                change="a fresh optimizer of the same settings",
                before=carried.total,
                after=fresh.total,
                label="loss after one step",
                columns=("as written", "fresh optimizer"),
                rows=(Row("length of the first step", carried.length, fresh.length),),
            ),
            fix=Fix("Compile again, with a new optimizer, wherever the weights are set back.", where=again.where),
        )

    def _finding(self, lab: Lab, foreign: Foreign, fresh: Step, carried: Step | None) -> Finding:
        capture = lab.capture
        where = capture.compiled.where if capture.compiled is not None else capture.where
        name = capture.model.name
        steps = f"{foreign.iterations} step{'s' if foreign.iterations != 1 else ''}"
        if carried is None:
            explanation = (
                f"This optimizer was built for {foreign.known} weights of another model, and {foreign.unknown} weights of "
                f"{name} are none of them. It keeps a state for each weight that it knows, and refuses the others, so "
                f"{capture.call} stops at its first step with a {type(capture.error).__name__}."
            )
        else:
            explanation = (
                f"This optimizer has made {steps} on the weights of another model. Its counter and its moments go on with "
                f"{name}, whose first step is {carried.length:.4g} long where a fresh optimizer's is {fresh.length:.4g}. "
                "Nothing raises on JAX, which compares numbers and shapes only; TensorFlow and PyTorch refuse it."
            )
        rows = () if carried is None else (Row("length of the first step", carried.length, fresh.length),)
        return Finding(
            code=self.code,
            name=self.name,
            severity=Severity.ERROR,
            title=f"{name} is trained by an optimizer that belongs to another model",
            where=where,
            explanation=explanation,
            evidence={
                "built for": foreign.known,
                "unknown": foreign.unknown,
                "steps before": foreign.iterations,
                **({"explains_error": True} if carried is None else {}),
            },
            counterfactual=Counterfactual(
                change="a fresh optimizer of the same settings",
                before=type(capture.error).__name__ if carried is None else carried.total,
                after=fresh.total,
                label="loss after one step",
                columns=("as written", "fresh optimizer"),
                rows=rows,
            ),
            fix=Fix("Make a new optimizer for each model that is compiled.", where=where),
        )
