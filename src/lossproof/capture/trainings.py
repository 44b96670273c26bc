"""The history of trainings: what each began with, on which rows, and which variables it updated."""

from __future__ import annotations

import weakref
from typing import Any

import numpy as np

from lossproof import keras_private
from lossproof.capture.batch import fingerprint
from lossproof.capture.copies import copies, copy_of
from lossproof.capture.place import user_place
from lossproof.capture.record import Capture, Restarted, Run, Training, Update
from lossproof.capture.rows import marks_of, split_marks

MOST_TRAININGS = 16
"""Trainings whose initial weights are kept: enough for a comparison, and no burden for a loop of hundreds."""


def begin_training(run: Run, capture: Capture, arguments: dict[str, Any]) -> Training:
    """The entry of a call that trains, made before it runs; a loop of `train_on_batch` has one."""
    model = capture.model
    if capture.again and capture.call == "train_on_batch":  # a loop over batches is one training
        for known in reversed(run.trainings):
            if known.model() is model and known.call == capture.call and known.compiled is capture.compiled:
                return known
    variables = list(model.trainable_variables) if model.built else []
    trained = {update.capture for v in variables for update in run.updates_of(v) if update.by != "assign"}
    others = sorted(one.capture for one in run.trainings if one.capture in trained and one.model() is not model)
    optimizer = getattr(model, "optimizer", None)
    rows, held_out = split_marks(arguments) if capture.call == "fit" else (None, None)
    training = Training(
        capture=capture.id,
        call=capture.call,
        where=capture.where,
        model_name=model.name,
        model=weakref.ref(model),
        variables=[weakref.ref(v) for v in variables],
        compiled=capture.compiled,
        data=fingerprint(arguments.get("x"), arguments.get("y"), arguments.get("sample_weight")),
        settings={
            "optimizer": _config(optimizer),
            "iterations": iterations(model),
            **{key: arguments.get(key) for key in ("batch_size", "epochs", "shuffle", "class_weight")},
        },
        began_trained_by=others,
        began_trained_before=sorted(one for one in trained if one is not None),
        rows=rows,
        judged=[] if held_out is None else [held_out],
        began_trainable=None if others or len(run.trainings) >= MOST_TRAININGS else copies(variables),
    )
    run.trainings.append(training)
    return training


def end_training(run: Run, capture: Capture, training: Training, logs: Any) -> None:
    """Complete the entry when the call has ended."""
    model = capture.model
    training.steps += capture.steps
    if training.capture != capture.id:
        kept = next((one for one in run.captures if one.id == training.capture), None)
        if kept is not None:
            kept.steps += capture.steps
    if not training.variables and model.built:  # built by its first step
        training.variables = [weakref.ref(v) for v in model.trainable_variables]
    if training.first_logs is None:
        training.first_logs = capture.logs[0] if capture.logs else logs if isinstance(logs, dict) else None
    if capture.steps:
        for variable in model.trainable_variables if model.built else ():
            update = Update(capture.call, training.capture, model.name, capture.where, capture.steps)
            run.note_update(variable, update)


def note_judged(run: Run, model: Any, x: Any) -> None:
    """A model is evaluated on these rows, which its last training may have seen."""
    training = next((one for one in reversed(run.trainings) if one.model() is model), None)
    marks = marks_of(x) if training is not None and training.rows is not None else None
    if training is not None and marks is not None:
        training.judged.append(marks)


def foreign_state(model: Any) -> list[np.ndarray] | None:
    """The variables of an optimizer that was built for other weights than those of its model; None if it was not."""
    optimizer = getattr(model, "optimizer", None)
    known = {id(v) for v in keras_private.optimized_variables(optimizer)} if optimizer is not None else set()
    mine = model.trainable_variables if model.built else []
    foreign = optimizer is not None and bool(known) and (not mine or any(id(v) not in known for v in mine))
    return copies(optimizer.variables) if optimizer is not None and foreign else None


def restarted(capture: Capture, model: Any) -> Restarted | None:
    """Whether a model that was trained is back at the weights of an earlier call, and its optimizer is not."""
    count = iterations(model)
    if not count or not capture.steps or capture.weights is None:
        return None
    trainable = {id(v) for v in model.trainable_variables}
    before = [(v, old) for v, old in zip(model.variables, capture.weights, strict=False) if id(v) in trainable]
    if not before or not all(np.array_equal(copy_of(v), old) for v, old in before):
        return None
    return Restarted(user_place(), count, copies(model.optimizer.variables))


def iterations(model: Any) -> int | None:
    """The steps that the optimizer of a model has made; None without one."""
    made = getattr(getattr(model, "optimizer", None), "iterations", None)
    try:
        return int(copy_of(made)) if made is not None else None
    except Exception:  # on JAX a step that failed leaves the variables without their values
        return None


def _config(optimizer: Any) -> Any:
    try:
        config = optimizer.get_config()
    except Exception:  # an optimizer of the user's that cannot say: then only its class is known
        return type(optimizer).__name__
    return {key: repr(value) for key, value in config.items() if key != "name"} | {"class": type(optimizer).__name__}
