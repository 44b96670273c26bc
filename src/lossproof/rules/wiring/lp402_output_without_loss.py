"""LP402: an output has no loss, and Keras refuses that, or leaves the output untrained without a word."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from lossproof.findings.finding import Counterfactual, Finding, Fix, Place, Row, Severity
from lossproof.rules.rule import NotApplicable, Rule

if TYPE_CHECKING:
    from lossproof.lab.lab import Lab
    from lossproof.lab.wiring.compiled import CompiledObjective
    from lossproof.lab.wiring.unlossed import Completed, Untrained


class OutputWithoutLoss(Rule):
    """A dict of losses that does not name every output."""

    code = "LP402"
    name = "output-without-loss"
    severity = "error"
    summary = "leaves an output without loss or target"
    explanation = """
A dict of losses may name some of the outputs only. What follows depends on how the model returns its outputs. From a
list of outputs, Keras refuses it: an output that is there to be looked at, such as an attention map, must be given
`None`, by its position, and must have no entry among the targets. From a dict of outputs, Keras accepts it without a
word. An output whose targets were passed, but whose loss was forgotten, is then not trained: the weights that lead to
it alone stay as they were initialised (TensorFlow and PyTorch warn that they have no gradient, JAX does not).

**Proof.** *Refused:* the same call runs with `None` for the outputs without loss. *Accepted:* the predictions of the
output are moved away and the total stays what it was; weights that its predictions depend on get no gradient; with a loss
for it they do.

**What to do.** Give each output a loss, or say that it has none: `None` in a list of losses in the order of the outputs.
"""
    source = (
        "keras/src/trainers/compile_utils.py, CompileLoss.build and CompileLoss.call",
        "https://github.com/tensorflow/tensorflow/issues/35267",
    )
    yields_to = ("LP401", "LP403", "LP412")
    guilty = """
import keras
import numpy as np
from keras import layers

rng = np.random.default_rng(0)
x = rng.normal(size=(64, 6)).astype("float32")
price = x[:, :1]

inputs = keras.Input((6,))
attention = layers.Dense(6, activation="softmax", name="attention")(inputs)
price_out = layers.Dense(1, name="price")(layers.Multiply()([inputs, attention]))
model = keras.Model(inputs, [price_out, attention])
model.compile(optimizer="sgd", loss={"price": "mse"})  # expect: LP402
model.fit(x, {"price": price}, verbose=0)
"""
    innocent = """
import keras
import numpy as np
from keras import layers

rng = np.random.default_rng(0)
x = rng.normal(size=(64, 6)).astype("float32")
price = x[:, :1]

inputs = keras.Input((6,))
attention = layers.Dense(6, activation="softmax", name="attention")(inputs)
price_out = layers.Dense(1, name="price")(layers.Multiply()([inputs, attention]))
model = keras.Model(inputs, [price_out, attention])
model.compile(optimizer="sgd", loss=["mse", None])
model.fit(x, [price], verbose=0)
"""

    def check(self, lab: Lab) -> Iterator[Finding]:
        from lossproof.lab.wiring.unlossed import completed, untrained

        compiled = lab.compiled
        outputs = compiled.outputs
        if not isinstance(compiled.arguments.loss, dict):
            raise NotApplicable("the losses are not given by name")
        if outputs.form not in ("list", "dict") or len(outputs.items) < 2:
            raise NotApplicable("the model has one output")
        if lab.capture.error is not None:
            with_all = lab.once(completed)
            if with_all is not None:
                yield self._refused(lab, compiled, with_all)
            return
        found = lab.once(untrained)
        if found is not None:
            yield self._accepted(lab, compiled, found)

    def _refused(self, lab: Lab, compiled: CompiledObjective, one: Completed) -> Finding:
        names = _listed(one.without)
        form = "list" if isinstance(one.loss, list) else "dict"
        return Finding(
            code=self.code,
            name=self.name,
            severity=Severity.ERROR,
            title=f"{names} {'has' if len(one.without) == 1 else 'have'} no loss",
            where=_compile_place(lab),
            explanation=(
                f"The model returns {_listed(compiled.outputs.names)}, and the losses name {_listed(one.named)}. Keras "
                f"wants an entry for each of the outputs of a list, and fails with {one.error}."
            ),
            evidence={
                "outputs": list(compiled.outputs.names),
                "without loss": list(one.without),
                "explains_error": True,
            },
            counterfactual=Counterfactual(
                change=f"None for {names}" + (", and only the targets of the others" if one.targets_changed else ""),
                before=one.error,
                after=one.total,
            ),
            fix=Fix(
                f"Say that {names} {'has' if len(one.without) == 1 else 'have'} no loss: None, in a {form} in the order "
                "of the outputs"
                + (", and pass the targets of the others alone, as a list." if one.targets_changed else "."),
                where=_compile_place(lab),
                code=f"loss={_in_code(compiled, one.loss)}",
            ),
        )

    def _accepted(self, lab: Lab, compiled: CompiledObjective, one: Untrained) -> Finding:
        names = _listed(one.names)
        single = len(one.names) == 1
        return Finding(
            code=self.code,
            name=self.name,
            severity=Severity.ERROR,
            title=f"{names} {'has' if single else 'have'} targets and no loss",
            where=_compile_place(lab),
            explanation=(
                f"Targets were passed for {names}, but the losses name {_listed(one.named)} only. Keras leaves the "
                f"{'other' if single else 'others'} out: {one.weights:,} trainable numbers that lead to {names} alone "
                "get no gradient and stay as they were initialised."
            ),
            evidence={"without loss": list(one.names), "untrained weights": one.weights},
            counterfactual=Counterfactual(
                change=f"{one.loss} for {names}, too",
                before=one.total,
                after=one.after,
                columns=("as written", "with a loss"),
                rows=(
                    Row(f"{names} moved away by 1", one.total, one.moved, "the total does not move"),
                    Row("weights without a gradient", one.weights, one.weights_after),
                ),
            ),
            fix=Fix(
                f"Give {names} a loss; or leave {'its' if single else 'their'} targets out, if it is not to be trained.",
                where=_compile_place(lab),
            ),
        )


def _listed(names: Any) -> str:
    quoted = [f"'{name}'" for name in names]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} and {quoted[-1]}"


def _in_code(compiled: CompiledObjective, loss: Any) -> str:
    def said(entry: Any) -> str:
        return "None" if entry is None else repr(entry) if isinstance(entry, str) else compiled.name_of(entry)

    if isinstance(loss, list):
        return f"[{', '.join(said(entry) for entry in loss)}]"
    return "{" + ", ".join(f"{key!r}: {said(entry)}" for key, entry in loss.items()) + "}"


def _compile_place(lab: Lab) -> Place | None:
    compiled = lab.capture.compiled
    return compiled.where if compiled is not None and compiled.where is not None else lab.capture.where
