"""LP412: a loss that was given to `compile` is not part of the total."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from lossproof.findings.finding import Counterfactual, Finding, Fix, Row, Severity
from lossproof.rules.rule import NotApplicable, Rule

if TYPE_CHECKING:
    from lossproof.lab.lab import Lab
    from lossproof.lab.wiring.compiled import CompiledObjective, Wired


class DroppedLoss(Rule):
    """Several losses for one output, or a list of losses that is shorter than the list of outputs."""

    code = "LP412"
    name = "dropped-loss"
    severity = "error"
    summary = "drops losses: a list on one output, or fewer losses than outputs"
    explanation = """
A list of losses has one entry for each *output*. Where there is a single output, Keras evaluates every loss of the
list, returns the first and drops the others; their weights in `loss_weights` do nothing, and the progress bar shows them
as 0.0. Where the list is shorter than the list of outputs, the last outputs have no loss and are not trained, though their
targets are given.

**Proof.** One is added to what each loss returns: the total must grow by that loss's weight. For a dropped loss it does
not move. Or the predictions of an output are moved away by one, and the total stays what it was.

**What to do.** For several losses on one output, write one function that returns their weighted sum, and give the parts
as `metrics` to watch them. For several outputs, give one loss for each; `None` says that an output is not trained.
"""
    source = (
        "keras/src/trainers/compile_utils.py, CompileLoss.call: `return loss_values[0]`",
        "https://github.com/keras-team/keras-tuner/issues/358",
    )
    guilty = """
import keras
import numpy as np
from keras import layers, ops

rng = np.random.default_rng(0)
x = rng.normal(size=(64, 6)).astype("float32")
y = rng.normal(size=(64, 5)).astype("float32")


def fit(y_true, y_pred):
    return ops.mean(ops.square(y_true - y_pred), axis=-1)


def roughness(y_true, y_pred):
    return ops.mean(ops.square(y_pred[:, 1:] - y_pred[:, :-1]), axis=-1)


model = keras.Sequential([keras.Input((6,)), layers.Dense(5)])
model.compile(optimizer="sgd", loss=[fit, roughness], loss_weights=[1.0, 0.3])  # expect: LP412
model.fit(x, y, verbose=0)
"""
    innocent = """
import keras
import numpy as np
from keras import layers, ops

rng = np.random.default_rng(0)
x = rng.normal(size=(64, 6)).astype("float32")
y = rng.normal(size=(64, 5)).astype("float32")


def fit(y_true, y_pred):
    return ops.mean(ops.square(y_true - y_pred), axis=-1)


def roughness(y_true, y_pred):
    return ops.mean(ops.square(y_pred[:, 1:] - y_pred[:, :-1]), axis=-1)


def fit_and_roughness(y_true, y_pred):
    return fit(y_true, y_pred) + 0.3 * roughness(y_true, y_pred)


model = keras.Sequential([keras.Input((6,)), layers.Dense(5)])
model.compile(optimizer="sgd", loss=fit_and_roughness, metrics=[fit, roughness])
model.fit(x, y, verbose=0)
"""

    def check(self, lab: Lab) -> Iterator[Finding]:
        compiled = lab.compiled
        if not _lists(compiled.arguments.loss):
            raise NotApplicable("the losses are not given as a list")
        wired = lab.attempt(compiled.evaluate)
        if wired is None or not np.isfinite(wired.total):
            raise NotApplicable("the objective has no finite value on the captured batch")
        if not wired.terms:
            raise NotApplicable("the compiled losses are not called")
        if len(wired.terms) > 1 and len(compiled.outputs.items) == 1:
            yield from self._without_effect(lab, compiled, wired)
        yield from self._without_loss(lab, compiled, wired)

    # Several losses, of which some have no effect ----------------------------------------------------------------

    def _without_effect(self, lab: Lab, compiled: CompiledObjective, wired: Wired) -> Iterator[Finding]:
        effects = compiled.effective_weights(wired)
        meant = [1.0 if term.weight is None else term.weight for term in wired.terms]
        dropped = [i for i, effect in enumerate(effects) if effect == 0.0 and meant[i] != 0.0]
        if not dropped or all(effect == 0.0 for effect in effects) or not np.all(np.isfinite(effects)):
            return
        missing = sum(meant[i] * wired.terms[i].value for i in dropped)
        if not np.isfinite(missing):
            return
        names = ", ".join(wired.terms[i].name for i in dropped)
        kept = ", ".join(wired.terms[i].name for i in range(len(effects)) if i not in dropped)
        one = len(dropped) == 1
        yield Finding(
            code=self.code,
            name=self.name,
            severity=Severity.ERROR,
            title=f"{names} {'has' if one else 'have'} no effect on the loss",
            where=_compile_place(lab),
            explanation=(
                f"The list of losses holds {len(effects)} for one output. Keras evaluates all of them and returns the "
                f"first: the total is {kept} alone, and the weight of {names} does nothing. The history shows every "
                "part as 0.0. Nothing raises."
            ),
            evidence={
                "losses": [
                    {"name": term.name, "value": term.value, "weight": weight, "measured weight": effect}
                    for term, weight, effect in zip(wired.terms, meant, effects, strict=True)
                ],
                "dropped": [wired.terms[i].name for i in dropped],
            },
            counterfactual=Counterfactual(
                change="add the dropped losses with their weights",
                before=wired.total,
                after=wired.total + missing,
                columns=("as written", "all added"),
                rows=tuple(
                    Row(
                        f"{term.name} higher by 1",
                        wired.total + effect,
                        wired.total + missing + weight,
                        "the total does not move" if i in dropped else "",
                    )
                    for i, (term, weight, effect) in enumerate(zip(wired.terms, meant, effects, strict=True))
                ),
            ),
            fix=Fix(
                "Write one loss that returns the weighted sum, and pass the parts as metrics to watch them.",
                where=_compile_place(lab),
                code=_sum_in_code(compiled.arguments.loss, meant),
            ),
        )

    # Fewer losses than outputs -----------------------------------------------------------------------------------

    def _without_loss(self, lab: Lab, compiled: CompiledObjective, wired: Wired) -> Iterator[Finding]:
        losses, outputs = compiled.arguments.loss, compiled.outputs
        count = len(outputs.items)
        if outputs.form != "list" or not isinstance(losses, (list, tuple)) or not 0 < len(losses) < count:
            return
        if compiled.given.form not in ("list", "dict") or len(compiled.given.leaves) != count:
            return  # the user gave no targets for them: they are left out on purpose
        without = [i for i in range(count) if all(term.output != i for term in wired.terms)]
        if not without or any(term.output is None for term in wired.terms):
            return
        if any(compiled.moves_total(wired, i) for i in without):
            return
        extended = _extended(compiled, count)
        if extended is None:
            return
        loss, after = extended
        names = ", ".join(_called(outputs.names[i], i) for i in without)
        one = len(without) == 1
        yield Finding(
            code=self.code,
            name=self.name,
            severity=Severity.ERROR,
            title=f"{names} {'is' if one else 'are'} not trained",
            where=_compile_place(lab),
            explanation=(
                f"The list of losses holds {len(losses)} for {count} outputs. Keras matches them one by one and leaves "
                f"{names} without a loss, though {'its targets are' if one else 'their targets are'} given. Only a "
                "loss that stands alone, not in a list, goes to every output. Nothing raises."
            ),
            evidence={"losses": len(losses), "outputs": count, "without loss": [outputs.names[i] for i in without]},
            counterfactual=Counterfactual(
                change=f"{loss} for {names}, too",
                before=wired.total,
                after=after,
                columns=("as written", "a loss for each output"),
                rows=tuple(
                    Row(f"{_called(outputs.names[i], i)} moved away by 1", wired.total, None, "the total does not move")
                    for i in without
                ),
            ),
            fix=Fix(
                "Give one loss for each output, or one loss without a list for all of them; None for an output that "
                "is not to be trained.",
                where=_compile_place(lab),
            ),
        )


def _lists(loss: Any) -> bool:
    if isinstance(loss, dict):
        return any(_lists(one) for one in loss.values())
    return isinstance(loss, (list, tuple))


def _called(name: str | None, position: int) -> str:
    return f"output {position + 1}" if name is None else f"output '{name}'"


def _compile_place(lab: Lab) -> Any:
    compiled = lab.capture.compiled
    return compiled.where if compiled is not None and compiled.where is not None else lab.capture.where


def _extended(compiled: CompiledObjective, count: int) -> tuple[str, float] | None:
    """The name of a loss of the list that the outputs without one can have, too, and the total with it."""
    told = compiled.arguments
    for loss in reversed([one for one in told.loss if one is not None]):
        weights = told.loss_weights
        if isinstance(weights, (list, tuple)):
            weights = [*weights, *[1.0] * (count - len(weights))]
        longer = [*told.loss, *[loss] * (count - len(told.loss))]
        wired = compiled.attempt(loss=longer, loss_weights=weights, with_metrics=False)
        if wired is not None:
            return compiled.name_of(loss), wired.total
    return None


def _sum_in_code(loss: Any, weights: Sequence[float]) -> str | None:
    losses = next(iter(loss.values())) if isinstance(loss, dict) else loss
    names = [getattr(one, "__name__", None) for one in losses] if isinstance(losses, (list, tuple)) else []
    if len(names) != len(weights) or not all(isinstance(name, str) and name.isidentifier() for name in names):
        return None
    terms = [
        f"{name}(y_true, y_pred)" if weight == 1.0 else f"{weight:g} * {name}(y_true, y_pred)"
        for name, weight in zip(names, weights, strict=True)
    ]
    return f"loss=lambda y_true, y_pred: {' + '.join(terms)}"
