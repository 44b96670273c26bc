"""LP401: a key of loss, weights, metrics or targets names no output, or is matched with another output."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lossproof.findings.finding import Counterfactual, Finding, Fix, Place, Row, Severity
from lossproof.lab.failure import in_words
from lossproof.lab.noise import differs
from lossproof.rules.rule import NotApplicable, Rule

if TYPE_CHECKING:
    from lossproof.lab.lab import Lab
    from lossproof.lab.wiring.compiled import CompiledObjective, Wired
    from lossproof.lab.wiring.keys import Repair
    from lossproof.lab.wiring.naming import Meant
    from lossproof.lab.wiring.outputs import Outputs

COMPILED = ("loss", "loss_weights", "metrics", "weighted_metrics")
WORDS = {"y": "target", "weighted_metrics": "weighted_metrics", "sample_weight": "sample_weight"}


class UnmatchedKey(Rule):
    """Keys that name no output, and values that go to another output than their key says."""

    code = "LP401"
    name = "unmatched-key"
    severity = "error"
    summary = (
        "names outputs that do not exist, or is matched with other outputs than its keys say "
        "(loss, loss_weights, metrics, targets)"
    )
    explanation = """
Dicts given to `compile` and `fit` name outputs: the keys of a dict of outputs, else the names of the output layers. A
key that names none mostly raises, but not in words that help: where the targets have a wrong key, Keras packs the *keys*
in the place of the arrays and fails to convert a string to a float. And `loss_weights` are matched by position, over
sorted keys, without a look at the names: a wrong key then gives the weight of one output to another, and nothing raises.
So do lists of losses or weights given to a dict of outputs, which is sorted first.

**Proof.** Where the script failed, the objective is evaluated again with the key renamed: it has a value. Where it did
not, one is added to each loss and the total must grow by the weight that its own key says; it grows by another's.

**What to do.** Use the names of the outputs everywhere: name the layers, or return a dict of outputs.
"""
    source = (
        "keras/src/trainers/compile_utils.py, CompileLoss.build and CompileLoss.call",
        "https://github.com/tensorflow/tensorflow/issues/72679",
    )
    guilty = """
import keras
import numpy as np
from keras import layers

rng = np.random.default_rng(0)
x = rng.normal(size=(64, 6)).astype("float32")
age = x[:, :1]
sex = (x[:, 1:2] > 0).astype("float32")

inputs = keras.Input((6,))
hidden = layers.Dense(8, activation="relu")(inputs)
age_out = layers.Dense(1, name="age_head")(hidden)
sex_out = layers.Dense(1, activation="sigmoid", name="sex_head")(hidden)
model = keras.Model(inputs, [age_out, sex_out])
model.compile(optimizer="sgd", loss={"age": "mse", "sex_head": "binary_crossentropy"})  # expect: LP401
model.fit(x, [age, sex], verbose=0)
"""
    innocent = """
import keras
import numpy as np
from keras import layers

rng = np.random.default_rng(0)
x = rng.normal(size=(64, 6)).astype("float32")
age = x[:, :1]
sex = (x[:, 1:2] > 0).astype("float32")

inputs = keras.Input((6,))
hidden = layers.Dense(8, activation="relu")(inputs)
age_out = layers.Dense(1, name="age_head")(hidden)
sex_out = layers.Dense(1, activation="sigmoid", name="sex_head")(hidden)
model = keras.Model(inputs, [age_out, sex_out])
model.compile(optimizer="sgd", loss={"age_head": "mse", "sex_head": "binary_crossentropy"})
model.fit(x, [age, sex], verbose=0)
"""

    def check(self, lab: Lab) -> Iterator[Finding]:
        compiled = lab.compiled
        outputs = compiled.outputs
        if outputs.form == "nested":
            raise NotApplicable("the outputs are nested in several levels")
        told = compiled.told
        if not any(isinstance(value, dict) for value in told.values()) and outputs.form != "dict":
            raise NotApplicable("nothing is matched by name")
        if lab.capture.error is not None and compiled.failure() is not None:
            yield from self._failing(lab, compiled)
            return
        wired = lab.attempt(compiled.evaluate)
        if wired is None:
            raise NotApplicable("the objective cannot be evaluated on the captured batch")
        yield from self._by_position(lab, compiled, wired)

    # Where the script failed -------------------------------------------------------------------------------------

    def _failing(self, lab: Lab, compiled: CompiledObjective) -> Iterator[Finding]:
        repairs, after = compiled.repaired()
        if after is None:
            return
        in_compile = [one for one in repairs if one.argument in COMPILED]
        in_fit = [one for one in repairs if one.argument not in COMPILED]
        for group in (in_compile, in_fit):
            if group:
                yield self._unmatched(lab, compiled, group[0], group[1:], after)

    def _unmatched(
        self, lab: Lab, compiled: CompiledObjective, repair: Repair, others: Sequence[Repair], after: Wired
    ) -> Finding:
        """One finding for all arguments of one call."""
        outputs, error = compiled.outputs, in_words(lab.capture.error)
        word = WORDS.get(repair.argument, repair.argument)
        names = [one.name for one in outputs.as_declared]
        where = _place(lab, repair.argument)
        renamed = {key: one.name for key, one in repair.unknown.items() if one.name is not None}
        if repair.by_position and outputs.form == "one":
            title = f"{word} is a dict, but the model has a single output without a name"
            explanation = f"The key says nothing to Keras, which fails with {error}."
            change = f"{word} without the dict"
            fix = f"Pass {word} itself, not a dict."
        elif repair.by_position:
            title = f"{word} is a dict, but the outputs are a list{'' if any(names) else ' without names'}"
            explanation = f"Keras looks for each output's entry by its position, and fails with {error}."
            change = f"{word} as a list in the order of the outputs"
            fix = (
                f"Pass {word} as a list in the order of the outputs"
                f"{'' if any(names) else ', or return a dict of outputs from `call`'}."
            )
        else:
            title = _mismatch(word, repair.unknown, names)
            as_array = repair.argument == "y" and len(compiled.given.leaves) == len(outputs.items)
            how = "Keras takes the key itself for the array, and" if as_array else "Keras"
            explanation = f"{_outputs_in_words(outputs)} {how} fails with {error}."
            change = _change(repair.unknown)
            fix = _advice(repair, names)
        if others:
            explanation += f" The same holds for {', '.join(WORDS.get(one.argument, one.argument) for one in others)}."
        return Finding(
            code=self.code,
            name=self.name,
            severity=Severity.ERROR,
            title=title,
            where=where,
            explanation=explanation,
            evidence={
                "arguments": [repair.argument, *(one.argument for one in others)],
                "unmatched": list({key: None for one in (repair, *others) for key in one.unknown}),
                "outputs": names,
                "renamed": renamed,
                "explains_error": True,
            },
            counterfactual=Counterfactual(
                change=change, before=error, after=after.total, columns=("as written", "renamed")
            ),
            fix=Fix(fix, where=where),
        )

    # Where nothing raised ----------------------------------------------------------------------------------------

    def _by_position(self, lab: Lab, compiled: CompiledObjective, wired: Wired) -> Iterator[Finding]:
        outputs, told = compiled.outputs, compiled.arguments
        per_output = {term.output: term for term in wired.terms if term.output is not None}
        if len(outputs.items) < 2 or len(per_output) != len(wired.terms) or not wired.terms:
            return
        if lab.overrides_compute_loss or lab.overrides_train_step:
            return  # the weights are what the user's own step makes of them
        lists = compiled.sorted_lists()
        if lists:
            yield from self._sorted(lab, compiled, wired, lists)
        elif isinstance(told.loss_weights, dict):
            yield from self._weights(lab, compiled, wired)

    def _weights(self, lab: Lab, compiled: CompiledObjective, wired: Wired) -> Iterator[Finding]:
        """`loss_weights` of which a key says another output than the one that it acts on."""
        weights, acting = compiled.arguments.loss_weights, compiled.acting_weights(wired)
        wrong = next((one for one in acting if one.wrong), None)
        if wrong is None:
            return
        names = [one.name for one in compiled.outputs.as_declared]
        unknown = [key for key in weights if key not in names]
        unmatched = ""
        if unknown:
            unmatched = f" The {_mismatch('loss_weights', compiled.unknown_keys(weights), names)}".rstrip("?") + "."
        where = _place(lab, "loss_weights")
        yield Finding(
            code=self.code,
            name=self.name,
            severity=Severity.ERROR,
            title=f"the weight of output {wrong.output!r} is not {wrong.said:g} but {wrong.measured:.4g}",
            where=where,
            explanation=(
                f"Adding 1 to the loss of {wrong.output!r} moves the total by {wrong.measured:.4g}. Keras sorts the keys "
                "of loss_weights and gives the values to the losses by position; the names are not compared."
                f"{unmatched} Nothing raises."
            ),
            evidence={
                "loss_weights": {str(key): float(value) for key, value in weights.items()},
                "measured": {one.output: one.measured for one in acting},
                "unmatched": unknown,
            },
            counterfactual=Counterfactual(
                change="each weight given to the output that its key says",
                before=wired.total,
                after=wired.total + sum((one.said - one.measured) * one.value for one in acting),
                columns=("as written", "by name"),
                rows=tuple(Row(f"weight of {one.output!r}", one.measured, one.said) for one in acting),
            ),
            fix=Fix(
                "Give loss_weights the same keys as the losses, or pass both as lists in the order of the outputs.",
                where=where,
            ),
        )

    def _sorted(
        self, lab: Lab, compiled: CompiledObjective, wired: Wired, lists: Mapping[str, Any]
    ) -> Iterator[Finding]:
        """Lists that are matched with a dict of outputs in the sorted order of its keys."""
        outputs = compiled.outputs
        after = compiled.attempt(with_metrics=False, **lists)
        if after is None:
            return
        before_values, after_values = _parts(wired), _parts(after)
        moved = [i for i in before_values if i in after_values and differs(before_values[i], after_values[i])]
        if not moved:
            return
        words = " and ".join(name for name in COMPILED if name in lists)
        where = _place(lab, "loss")
        declared = ", ".join(repr(one.name) for one in outputs.as_declared)
        taken = ", ".join(map(repr, outputs.names))
        yield Finding(
            code=self.code,
            name=self.name,
            severity=Severity.ERROR,
            title=f"{words}: the list is matched with the outputs in another order",
            where=where,
            explanation=(
                f"The outputs are a dict, declared in the order {declared}. Keras sorts its keys, and gives the "
                f"entries of the list to {taken}, in this order. Nothing raises."
            ),
            evidence={
                "arguments": list(lists),
                "declared": [one.name for one in outputs.as_declared],
                "matched": list(outputs.names),
            },
            counterfactual=Counterfactual(
                change="the entries given to the outputs in the order of their declaration",
                before=wired.total,
                after=after.total,
                columns=("as written", "as declared"),
                rows=tuple(
                    Row(f"part of {outputs.names[i]!r}", before_values.get(i), after_values.get(i))
                    for i in outputs.declared
                ),
            ),
            fix=Fix(f"Pass a dict with the names of the outputs: {declared}.", where=where),
        )


def _parts(wired: Wired) -> dict[int, float]:
    """What each output adds to the total."""
    return {
        term.output: term.value * (1.0 if term.weight is None else term.weight)
        for term in wired.terms
        if term.output is not None
    }


# Words -----------------------------------------------------------------------------------------------------------


def _mismatch(word: str, unknown: Mapping[str, Meant], names: Sequence[Any]) -> str:
    keys = ", ".join(map(repr, unknown))
    does = "key {} does" if len(unknown) == 1 else "keys {} do"
    text = f"{word} {does.format(keys)} not match any output: {', '.join(map(repr, names))}"
    likely = [one.name for one in unknown.values() if one.sure]
    return f"{text}; did you mean {', '.join(map(repr, likely))}?" if likely else text


def _outputs_in_words(outputs: Outputs) -> str:
    names = ", ".join(repr(one.name) for one in outputs.as_declared)
    if outputs.form == "dict":
        layers = [one.layer for one in outputs.items if one.layer not in (None, one.name)]
        hint = f" (not the names of the layers: {', '.join(map(repr, layers))})" if layers else ""
        return f"The outputs are named by the keys of the dict that the model returns, {names}{hint}."
    return f"The outputs are named after the layers that make them: {names}."


def _change(unknown: Mapping[str, Meant]) -> str:
    parts = [
        f"{key!r} renamed to {one.name!r}" if one.name is not None else f"{key!r} left out"
        for key, one in unknown.items()
    ]
    return ", ".join(parts)


def _advice(repair: Repair, names: Sequence[Any]) -> str:
    extra = [key for key, one in repair.unknown.items() if one.name is None]
    if len(extra) == len(repair.unknown):
        return f"Leave {', '.join(map(repr, extra))} out, or give the model an output of that name."
    return f"Use the names of the outputs: {', '.join(map(repr, names))}."


def _place(lab: Lab, argument: str) -> Place | None:
    compiled = lab.capture.compiled
    if argument in COMPILED and compiled is not None and compiled.where is not None:
        return compiled.where
    return lab.capture.where
