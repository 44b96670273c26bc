"""Training loops of the user's own, without `fit`: which losses they call, and which variables they update."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import keras
import numpy as np

from lossproof import keras_private
from lossproof.capture.copies import copy_of
from lossproof.capture.interception import assigned_by_user
from lossproof.capture.place import user_place
from lossproof.capture.record import Capture, Declared, Loop, LossCall, Run, Update
from lossproof.lab.backends import running_backend

MOST_LOSSES = 8
MOST_LOOPS = 8
MOST_DECLARED = 64
LARGEST_DECLARED = 1 << 16
TRAINABLE = 3
"""The position of `trainable` among the arguments of a `keras.Variable`."""


def note_loss(run: Run, loss: Any, y_true: Any, y_pred: Any, sample_weight: Any) -> bool:
    """Keep what a loss receives, the first time that it has values; whether the loss is a new one."""
    known = next((i for i, one in enumerate(run.loose_losses) if one.loss is loss), None)
    if len(run.loose_losses) >= MOST_LOSSES if known is None else run.loose_losses[known].concrete:
        return False
    data = (y_true, y_pred, sample_weight)
    concrete = all(_concrete(leaf) for leaf in keras.tree.flatten(data))
    kept = [_kept(part) if concrete else None for part in data]
    call = LossCall(loss, kept[0], kept[1], kept[2], user_place(), concrete)
    if known is None:
        run.loose_losses.append(call)
    elif concrete:
        run.loose_losses[known] = call
    return known is None


def note_apply(run: Run, optimizer: Any) -> None:
    """Remember an optimizer that is used outside any fit."""
    if len(run.loops) < MOST_LOOPS and all(one.optimizer is not optimizer for one in run.loops):
        run.loops.append(Loop(optimizer, user_place(), _iterations(optimizer)))


def note_declared(run: Run, variable: Any, args: tuple[Any, ...], named: dict[str, Any]) -> None:
    """Remember a variable that the user's code makes and calls trainable; most others are made by layers."""
    said = named.get("trainable", args[TRAINABLE] if len(args) > TRAINABLE else None)
    if said is not True or len(run.declared) >= MOST_DECLARED or not assigned_by_user():
        return
    with suppress(Exception):  # one that is made later has no value yet
        if int(np.prod(variable.shape)) <= LARGEST_DECLARED:
            run.declared.append(Declared(weakref.ref(variable), copy_of(variable), user_place()))


def note_loop_updates(run: Run) -> None:
    """Write into the history of the variables how often each loop has updated them."""
    for loop in run.loops:
        # A loop that keeps the state outside of Keras (JAX) brings the counter back, or assigns, or neither.
        count = _iterations(loop.optimizer) - loop.iterations
        for variable in keras_private.optimized_variables(loop.optimizer) if count > 0 else ():
            run.note_update(variable, Update("apply", None, None, loop.where, count))


def loose_captures(run: Run) -> Iterator[Capture]:
    """A capture for each loss of the user's own loops that was seen with values.

    A loss that a script merely tries out, and trains by `fit`, is none of them.
    """
    if run.captures and not run.loops:
        return
    number = max((one.id for one in run.captures), default=0)
    for call in run.loose_losses:
        if call.concrete:
            number += 1
            yield loss_capture(number, "Loss.__call__", call)


def loss_capture(number: int, call: str, loss: LossCall) -> Capture:
    """A loss and what it received, without a model."""
    return Capture(
        id=number,
        call=call,
        where=loss.where,
        model=None,
        compiled=None,
        data={},
        batch=None,
        signature=(),
        loss_call=loss,
    )


def what_loops_hid(run: Run) -> list[str]:
    """What was not seen of the user's own training loops, in sentences."""
    told = []
    lines = sorted({f"{one.where.file}:{one.where.line}" for one in run.loops if one.where is not None})
    loop = "a training loop of your own was seen" + (f" (gradients are applied at {', '.join(lines)})" if lines else "")
    seen = [one for one in run.loose_losses if one.concrete]
    if seen and (run.loops or not run.captures):
        told.append(
            f"{loop}: each keras.losses.Loss that it calls was checked on the first values that it received, but not what "
            "the loop makes of them: sums, gradients and updates"
        )
    traced = [one for one in run.loose_losses if not one.concrete]
    if traced and (run.loops or not run.captures):
        names = ", ".join(sorted({type(one.loss).__name__ for one in traced}))
        told.append(
            f"{names} was called only inside a function that {running_backend().name} traces, where it has no values, so "
            "it was not checked: pass targets and predictions to lossproof.check_loss"
        )
    if run.loops and not run.loose_losses:
        told.append(
            f"{loop}, which calls no keras.losses.Loss object: losses that are plain functions of tensors are not seen in "
            "it; pass targets and predictions to lossproof.check_loss"
        )
    return told


def _iterations(optimizer: Any) -> int:
    try:
        return int(copy_of(optimizer.iterations))
    except Exception:  # inside a traced function it has no value: then the loop began with it
        return 0


def _concrete(leaf: Any) -> bool:
    backend = running_backend()
    return backend.is_concrete(leaf) if backend.is_tensor(leaf) else not isinstance(leaf, keras.KerasTensor)


def _kept(data: Any) -> Any:
    def keep(leaf: Any) -> Any:
        if isinstance(leaf, np.ndarray):
            return leaf.copy()
        if not hasattr(leaf, "detach"):
            return leaf
        kept = leaf.detach()  # PyTorch: or the graph of the step would stay in memory
        keras_private.set_mask(kept, keras_private.mask_of(leaf))
        return kept

    return keras.tree.map_structure(keep, data) if data is not None else None
