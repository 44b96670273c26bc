"""LP403: the targets do not go to the outputs that they were made for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from lossproof.findings.finding import Counterfactual, Finding, Fix, Row, Severity
from lossproof.lab.failure import in_words
from lossproof.lab.noise import differs
from lossproof.rules.rule import NotApplicable, Rule

if TYPE_CHECKING:
    from lossproof.lab.lab import Lab
    from lossproof.lab.wiring.compiled import CompiledObjective, Wired
    from lossproof.lab.wiring.outputs import Outputs


class TargetStructure(Rule):
    """Targets in another number, order or structure than the outputs."""

    code = "LP403"
    name = "target-structure"
    severity = "error"
    summary = "gets targets in another number, order or structure than its outputs"
    explanation = """
Keras flattens the outputs and the targets and matches them by position. A dict is flattened in the *sorted* order of
its keys, not in the order in which it was written: a list of targets for `{"price": ..., "age": ...}` gives its first
array to `age`. Where the shapes agree nothing raises, and each output learns what the other should have learnt. Targets in
another number or nesting than the outputs raise an error that names neither.

**Proof.** What each output's loss received is compared with the arrays that were passed. The same arrays are then given
in the order in which the outputs were declared (or in the only order in which every shape fits), and the losses change;
or, where the script failed, the objective now has a value.

**What to do.** Pass the targets as a dict with the names of the outputs.
"""
    source = (
        "keras/src/trainers/compile_utils.py, CompileLoss.call: `tree.pack_sequence_as(y_pred, y_true)`",
        "https://github.com/keras-team/keras/issues/20596",
    )
    guilty = """
import keras
import numpy as np
from keras import layers

rng = np.random.default_rng(0)
x = rng.normal(size=(64, 6)).astype("float32")
wind = 8.0 + x[:, :1]
rain = 0.1 * x[:, 1:2]

inputs = keras.Input((6,))
hidden = layers.Dense(8, activation="relu")(inputs)
model = keras.Model(inputs, {"wind": layers.Dense(1)(hidden), "rain": layers.Dense(1)(hidden)})
model.compile(optimizer="sgd", loss={"wind": "mse", "rain": "mae"})
model.fit(x, [wind, rain], verbose=0)  # expect: LP403
"""
    innocent = """
import keras
import numpy as np
from keras import layers

rng = np.random.default_rng(0)
x = rng.normal(size=(64, 6)).astype("float32")
wind = 8.0 + x[:, :1]
rain = 0.1 * x[:, 1:2]

inputs = keras.Input((6,))
hidden = layers.Dense(8, activation="relu")(inputs)
model = keras.Model(inputs, {"rain": layers.Dense(1)(hidden), "wind": layers.Dense(1)(hidden)})
model.compile(optimizer="sgd", loss={"wind": "mse", "rain": "mae"})
model.fit(x, [rain, wind], verbose=0)  # declared in the order of the alphabet
"""

    def check(self, lab: Lab) -> Iterator[Finding]:
        compiled = lab.compiled
        if compiled.targets is None:
            raise NotApplicable("there are no targets")
        outputs, given = compiled.outputs, compiled.given
        if outputs.form == "nested":
            raise NotApplicable("the outputs are nested in several levels")
        if len(outputs.items) == 1 and given.form == "one":
            raise NotApplicable("one output, one array of targets")
        failed = compiled.failure(with_metrics=False) if lab.capture.error is not None else None
        wired = None if failed is not None else lab.attempt(compiled.evaluate)
        if failed is None and wired is None:
            raise NotApplicable("the objective cannot be evaluated on the captured batch")
        if given.form == "list" and len(given.leaves) == len(outputs.items) > 1:
            yield from self._order(lab, compiled, wired)
        elif failed is not None:
            yield from self._structure(lab, compiled)

    # The right number, in another order --------------------------------------------------------------------------

    def _order(self, lab: Lab, compiled: CompiledObjective, wired: Wired | None) -> Iterator[Finding]:
        outputs = compiled.outputs
        straight = tuple(range(len(outputs.items)))
        # For each output, in Keras's flat order, the array that stands where the output was declared.
        declared = tuple(outputs.declared.index(i) for i in straight)
        fitting = compiled.fitting_orders()
        if declared != straight and (declared in fitting or not fitting):
            yield from self._reordered(lab, compiled, wired, declared, "declared for it")
        elif len(fitting) == 1 and straight not in fitting:
            wrong = [i for i in straight if fitting[0][i] != i]
            if wired is None or all(compiled.misused(wired.total, i) for i in wrong if not compiled.fits(i)):
                yield from self._reordered(lab, compiled, wired, fitting[0], "made for it, by its shape")

    def _reordered(
        self, lab: Lab, compiled: CompiledObjective, wired: Wired | None, order: Sequence[int], why: str
    ) -> Iterator[Finding]:
        outputs, given = compiled.outputs, compiled.given
        after = compiled.attempt({"y": outputs.packed([given.leaves[j] for j in order])}, with_metrics=False)
        if after is None:
            return
        values_after = _by_output(after)
        values = _by_output(wired) if wired is not None else {}
        terms = wired.terms if wired is not None else ()
        received = {t.output: t.target for t in terms if t.output is not None and t.target is not None}
        if wired is not None:
            wrong = [i for i, target in received.items() if target != order[i]]
            if not wrong or not any(differs(values[i], values_after[i]) for i in wrong if i in values_after):
                return  # each output received its own array, or one with the same values
        else:
            wrong = [i for i, j in enumerate(order) if i != j]
        names = [_called(outputs, i) for i in range(len(outputs.items))]
        keys = outputs.form == "dict"
        first = wrong[0]
        got = {i: received.get(i, i) for i in range(len(names))}
        means = [compiled.target_mean(i) for i in range(len(names))]
        yield Finding(
            code=self.code,
            name=self.name,
            severity=Severity.ERROR,
            title="targets go to the wrong outputs",
            where=lab.capture.where,
            explanation=(
                f"The targets are a list, the outputs {'a dict: Keras sorts its keys and' if keys else 'too: Keras'} "
                f"matches them by position. {names[first]} receives array {got[first] + 1}, and array "
                f"{order[first] + 1} was {why}. {_consequence(lab, wired)}"
            ),
            evidence={
                "outputs": list(outputs.names),
                "received": [got[i] for i in range(len(names))],
                "meant": list(order),
                "target shapes": [list(shape) for shape in given.shapes],
                "output shapes": [list(one.shape) for one in outputs.items],
                **({"explains_error": True} if lab.capture.error is not None and wired is None else {}),
            },
            counterfactual=Counterfactual(
                change=f"each output receives the array that was {why}",
                before=wired.total if wired is not None else in_words(lab.capture.error),
                after=after.total,
                columns=("as written", "reordered"),
                rows=tuple(
                    row
                    for i in outputs.declared
                    if i in values_after
                    for row in (
                        Row(f"loss of {names[i]}", values.get(i), values_after[i]),
                        Row(f"mean target of {names[i]}", means[got[i]], means[order[i]]),
                    )
                ),
            ),
            fix=Fix(
                f"Pass a dict: {{{', '.join(f'{outputs.items[i].name!r}: ...' for i in outputs.declared)}}}."
                if keys
                else "Pass the arrays in the order of the outputs.",
                where=lab.capture.where,
            ),
        )

    # Another number or nesting -----------------------------------------------------------------------------------

    def _structure(self, lab: Lab, compiled: CompiledObjective) -> Iterator[Finding]:
        if not _mismatched(compiled):
            return
        for other in compiled.restructurings():
            after = compiled.attempt({"y": other.y}, with_metrics=False, **other.arguments)
            if after is not None:
                break
        else:
            return
        outputs, given = compiled.outputs, compiled.given
        many = len(outputs.items)
        shapes = ", ".join(f"{_called(outputs, i)} {_shape(outputs.items[i].shape)}" for i in outputs.declared)
        yield Finding(
            code=self.code,
            name=self.name,
            severity=Severity.ERROR,
            title=f"{_counted(compiled)} for {many} output{'s' if many > 1 else ''}",
            where=lab.capture.where,
            explanation=(
                f"The model returns {_structure_of(outputs)}: {shapes}. The targets are {_described(compiled)}. Keras "
                f"cannot match them, and fails with {in_words(lab.capture.error)}."
            ),
            evidence={
                "outputs": list(outputs.names),
                "output shapes": [list(one.shape) for one in outputs.items],
                "target shapes": [list(shape) for shape in given.shapes],
                "target keys": list(given.names),
                "explains_error": True,
            },
            counterfactual=Counterfactual(
                change=other.change,
                before=in_words(lab.capture.error),
                after=after.total,
                columns=("as written", "restructured"),
            ),
            fix=Fix(other.fix, where=lab.capture.where),
        )


def _consequence(lab: Lab, wired: Wired | None) -> str:
    if wired is None:
        return f"It does not fit, and Keras fails with {in_words(lab.capture.error)}."
    fate = "nothing raises" if lab.capture.error is None else "Keras does not notice"
    return f"Each is trained towards the targets of another, and {fate}."


def _mismatched(compiled: CompiledObjective) -> bool:
    """Whether number or nesting of the targets differ from the outputs in a way that is not said by the losses."""
    outputs, given, loss = compiled.outputs, compiled.given, compiled.arguments.loss
    count = len(outputs.items)
    if given.form == "nested":
        return True
    if count == 1:
        return (given.form == "dict" and outputs.form == "one") or len(given.leaves) != 1
    if given.form == "one":
        return True
    if given.form == "dict":
        names = [name for name in outputs.names if name is not None]
        if not names:
            return True
        trained = set(loss) if isinstance(loss, dict) else set(names)
        # Names that are no output's are another rule's; so are outputs that neither have a loss nor a target.
        return set(given.names) < set(names) and not trained <= set(given.names)
    trained_count = sum(one is not None for one in loss) if isinstance(loss, (list, tuple)) else count
    if isinstance(loss, dict):
        trained_count = sum(one is not None for one in loss.values())
    return len(given.leaves) not in (count, trained_count)


def _by_output(wired: Wired) -> dict[int, float]:
    values: dict[int, float] = {}
    for term in wired.terms:
        if term.output is not None:
            values[term.output] = values.get(term.output, 0.0) + term.value
    return values


def _called(outputs: Outputs, i: int) -> str:
    name = outputs.items[i].name
    return f"output {i + 1}" if name is None else f"'{name}'"


def _structure_of(outputs: Outputs) -> str:
    count = len(outputs.items)
    return {"one": "one tensor", "list": f"a list of {count}", "dict": f"a dict of {count}"}[outputs.form]


def _counted(compiled: CompiledObjective) -> str:
    given = compiled.given
    if given.form == "nested":
        return "nested targets"
    many = "1 array" if len(given.leaves) == 1 else f"{len(given.leaves)} arrays"
    return f"a dict of {many}" if given.form == "dict" else f"{many} of targets"


def _described(compiled: CompiledObjective) -> str:
    given = compiled.given
    shapes = [_shape(shape) for shape in given.shapes]
    if given.form == "one":
        return f"one array {shapes[0]}"
    if given.form == "dict":
        return f"a dict: {', '.join(f'{name!r} {shape}' for name, shape in zip(given.names, shapes, strict=True))}"
    return f"{'nested' if given.form == 'nested' else 'a list'}: {', '.join(shapes)}"


def _shape(shape: tuple[int, ...]) -> str:
    return f"({', '.join(map(str, shape))}{',' if len(shape) == 1 else ''})"
