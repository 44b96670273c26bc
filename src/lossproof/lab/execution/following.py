"""Whether a compiled step follows a value that the script changes, or keeps what it read when it was traced."""

from __future__ import annotations

import dis
import linecache
import types
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from lossproof import keras_private
from lossproof.capture.place import make_place
from lossproof.capture.values import Change, Slot, codes_of, held
from lossproof.findings.finding import Place
from lossproof.lab.backends.base import Mode
from lossproof.lab.lab import Lab
from lossproof.lab.step import restored
from lossproof.rules.rule import NotApplicable

MOST_WORK = 1e9
"""Multiplications of a forward pass (see `work`) beyond which no gradient is traced for a value that moves no loss."""


@dataclass(frozen=True)
class Following:
    """The loss under two values: by the step traced with the first one, and by one traced anew."""

    with_old: float
    """Traced and run with the old value."""
    kept: float
    """The same traced step, run with the new value."""
    fresh: float
    """Traced anew with the new value."""
    moved: float
    """How much the step's whole outcome (loss, and the weights after a custom step) moves, traced anew."""
    stuck: bool
    """Whether the traced step gives the old outcome to the last bit although a fresh one does not."""
    turned: bool = False
    """Whether it is the gradient that moves, and not the loss: the numbers are how far it is from the old one."""


def mode_of(lab: Lab) -> Mode:
    """How the script runs its steps."""
    model = lab.capture.model
    if model.run_eagerly:
        return "eager"
    if lab.backend.name == "torch":
        return "jit" if model.jit_compile else "eager"
    return "jit" if model.jit_compile or lab.backend.name == "jax" else "graph"


def following(lab: Lab, change: Change) -> Following:
    """Whether the compiled step follows a Python value that is changed as the script did."""
    known = _compiled_weight(lab, change)
    if known is not None:
        return known
    found = _followed(lab, change)
    unmoved = not found.stuck and found.moved <= _noise(found.with_old)
    if mode_of(lab) == "eager" or lab.overrides_train_step or not unmoved or lab.evaluation.work > MOST_WORK:
        return found
    return _turned(lab, change) or found


def _noise(largest: float) -> float:
    return 64 * float(np.finfo("float32").eps) * max(1e-30, abs(largest))


def _traced(
    lab: Lab, change: Change, make: Callable[[Lab], Callable[[], np.ndarray]]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Traced and run with the old value; run again with the new one; traced anew with it."""
    with held(change.slot, change.before):
        step = make(lab)
        old = step()
        with held(change.slot, change.after):
            return old, step(), make(lab)()


def _turned(lab: Lab, change: Change) -> Following | None:
    """The same for the gradient, where it alone depends on the value, as in a layer that reverses gradients."""
    old, kept, fresh = _traced(lab, change, gradient_of)
    moved = float(np.linalg.norm(fresh - old))
    if not moved > np.sqrt(np.finfo("float32").eps) * float(np.linalg.norm(old)):  # half of the digits
        return None
    apart = float(np.linalg.norm(kept - old))
    return Following(0.0, apart, moved, moved, stuck=apart == 0.0, turned=True)


def _followed(lab: Lab, change: Change) -> Following:
    old, kept, fresh = _traced(lab, change, step_of)
    moved = float(np.abs(fresh - old).max())
    noise = _noise(float(np.abs(old).max()))
    return Following(
        with_old=float(old[0]),
        kept=float(kept[0]),
        fresh=float(fresh[0]),
        moved=moved,
        stuck=bool(np.array_equal(kept, old) and moved > noise),
    )


def _compiled_weight(lab: Lab, change: Change) -> Following | None:
    """For an entry of `loss_weights`: the copy that `compile` made is used, whatever the user's container says."""
    compiled = lab.capture.compiled
    if compiled is None or not change.slot.name.startswith("loss_weights["):
        return None
    if isinstance(
        change.slot.read(), keras.Variable
    ):  # what is copied is a reference: whether it is live is to be seen
        return None
    with held(change.slot, change.before):
        old = keras_private.compiled_total(lab.capture.model, compiled.arguments, lab.batch, lab.forward.y_pred)
    with held(change.slot, change.after):
        new = keras_private.compiled_total(lab.capture.model, compiled.arguments, lab.batch, lab.forward.y_pred)
    before, after = float(lab.number(old)), float(lab.number(new))
    return Following(before, before, after, abs(after - before), bool(before != after))


def with_variable(lab: Lab, variable: Any, value: np.ndarray) -> tuple[float, float]:
    """The objective as captured, and with a variable of the model at another value."""
    before = lab.total
    state = lab.model.state
    position = next((i for i, (one, _) in enumerate(state) if one is variable), None)
    if position is None:
        raise NotApplicable("the assigned variable is not one of the model's")
    kept = state[position]
    try:
        state[position] = (
            variable,
            lab.backend.tensor(value.astype(kept[1].dtype if lab.backend.name == "jax" else "float32")),
        )
        return before, float(lab.number(lab.model.objective(lab.batch)))
    finally:
        state[position] = kept


def step_of(lab: Lab) -> Callable[[], np.ndarray]:
    """The step, to be traced at its first call: gives the loss and whatever else the step produces."""
    if not lab.overrides_train_step:
        compiled = lab.backend.frozen(lambda: lab.model.objective(lab.batch), mode_of(lab))

        def run_objective() -> np.ndarray:
            with lab.backend.repeatable():
                return lab.number(compiled()).reshape(1)

        return run_objective
    model = lab.model
    data: tuple[Any, ...] = (lab.batch.x, lab.batch.y, lab.batch.sample_weight)
    while data[-1] is None:
        data = data[:-1]
    if lab.backend.name == "jax":
        step = lab.backend.frozen(model.model.train_step, mode_of(lab))

        def run_stateless() -> np.ndarray:
            logs, state = step(state_of(model.model), data)
            return _outcome(lab, logs, state[0])

        return run_stateless
    step = lab.backend.frozen(lambda: model.model.train_step(data), mode_of(lab))

    def run() -> np.ndarray:
        with lab.backend.repeatable(), restored(model):
            logs = step()
            return _outcome(lab, logs, [variable.value for variable in model.trainable])

    return run


def gradient_of(lab: Lab) -> Callable[[], np.ndarray]:
    """The gradient of the objective, to be traced at its first call: for all weights, one after the other."""
    start = lab.model.start

    def gradients() -> list[Any]:
        (row,), _ = lab.backend.gradients(
            lambda *weights: ([lab.model.objective(lab.batch, list(weights))], None), start
        )
        return [keras.ops.zeros_like(tensor) if one is None else one for one, tensor in zip(row, start, strict=True)]

    compiled = lab.backend.frozen(gradients, mode_of(lab))

    def run() -> np.ndarray:
        with lab.backend.repeatable():
            return np.concatenate([lab.number(one).reshape(-1) for one in compiled()])

    return run


def state_of(model: Any) -> tuple[list[Any], ...]:
    """What JAX's trainer hands to a step: the values of all variables, in its four groups."""
    groups = (
        model.trainable_variables,
        model.non_trainable_variables,
        model.optimizer.variables,
        model.metrics_variables,
    )
    return tuple([variable.value for variable in group] for group in groups)


def _outcome(lab: Lab, logs: Any, weights: list[Any]) -> np.ndarray:
    if isinstance(logs, dict) and "loss" in logs:  # the others follow, in the order of their names
        logs = [logs["loss"], {key: value for key, value in logs.items() if key != "loss"}]
    values = [lab.number(value).reshape(-1) for value in keras.tree.flatten(logs) if value is not None]
    return np.concatenate([*values, *(lab.number(weight).reshape(-1) for weight in weights)]).astype("float64")


def place_of_reading(slot: Slot) -> Place | None:
    """The first instruction of the user's code that reads the slot."""
    readers = (
        code for code in slot.readers if code.co_name != "__init__"
    )  # what is read there is read before any step
    return place_of_instruction(readers, slot.word, "LOAD_")


def place_of_assignment(lab: Lab, name: str) -> Place | None:
    """Where a callback of the user's assigns an attribute of this name."""
    callbacks = keras.tree.flatten(lab.capture.data.get("callbacks") or [])
    return place_of_instruction((code for one in callbacks for code in codes_of(type(one))), name, "STORE_ATTR")


def place_of_instruction(codes: Iterable[types.CodeType], name: str | None, operation: str) -> Place | None:
    """The first instruction that does something to a name, such as `STORE_ATTR`, in some code and what is defined in it."""
    for code in _nested(codes):
        for instruction in dis.get_instructions(code):
            if instruction.argval == name and instruction.opname.startswith(operation):
                at = instruction.positions
                if at is None or at.lineno is None or at.end_lineno is None:
                    continue
                span = (at.lineno, at.col_offset, at.end_lineno, at.end_col_offset)
                if None in span:
                    continue
                lines = linecache.getlines(code.co_filename)
                return make_place(code.co_filename, lines, span, scope=code.co_qualname)  # type: ignore[arg-type]
    return None


def _nested(codes: Iterable[types.CodeType]) -> Iterator[types.CodeType]:
    for code in codes:
        yield code
        yield from _nested(one for one in code.co_consts if isinstance(one, types.CodeType))
