"""From a model and some data to an `Explanation`, leaving both as they are."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import keras
import numpy as np

from lossproof import keras_private
from lossproof.capture.batch import copy_batch, count_rows, in_memory
from lossproof.capture.copies import copy_of
from lossproof.capture.direct import captured_model
from lossproof.capture.objective import roots
from lossproof.capture.record import Run
from lossproof.lab.backends import running_backend
from lossproof.lab.lab import Lab
from lossproof.lab.received import NoBatch
from lossproof.lab.state import reporting
from lossproof.ledger.account import account
from lossproof.ledger.explain import MOST_ROWS
from lossproof.ledger.explanation import Explanation
from lossproof.ledger.reasons import reasons, tested_account
from lossproof.rules.rule import NotApplicable
from lossproof.silence import silence


def examine(model: Any, data: dict[str, Any]) -> Explanation:
    """See `explain`."""
    with ExitStack() as stack:
        stack.enter_context(silence())
        ready = model.built and (keras_private.compile_loss(model) is None or keras_private.compile_loss(model).built)
        # What is built now draws its initial weights as in `fit`; otherwise not even reading the data may draw numbers.
        backend = running_backend()
        generators = (backend.from_present, backend.repeatable)  # each run draws the numbers that the next step will
        for kept in generators if ready else ():
            stack.enter_context(kept())
        run, rest = _captured(model, data)
        for kept in () if ready else generators:
            stack.enter_context(kept())
        stack.enter_context(_kept(model))
        lab = Lab(run.captures[0], run, most_rows=None)
        changes = run.captures[0].changes
        changes.begin(roots(model, run.captures[0].compiled))
        stack.enter_context(changes.moved_inside())
        return _explanation(lab, rest)


def _explanation(lab: Lab, left_out: int) -> Explanation:
    try:
        entry = account(lab)
    except NotApplicable as reason:
        raise ValueError(f"the objective cannot be accounted for: {reason}") from reason
    evaluating = _evaluating(lab)
    train, test = reporting.reported(lab, "train"), reporting.reported(evaluating, "test")
    alike = tested_account(lab)
    tested = alike if evaluating is lab else tested_account(evaluating)
    reported = None if train is None else train.reported.get("loss")
    evaluated = None if test is None or evaluating is not lab else test.reported.get("loss")
    return Explanation(
        model=lab.capture.model.name,
        backend=keras.backend.backend(),
        entry=entry,
        tested=tested,
        reported={} if train is None else dict(train.reported),
        evaluated={} if test is None else dict(test.reported),
        reasons=tuple(reasons(lab, entry, alike, reported, evaluated)),
        left_out=left_out,
    )


def _evaluating(lab: Lab) -> Lab:
    """The batch as `evaluate` takes it: it knows no class weights."""
    capture = copy.copy(lab.capture)
    if capture.data.get("class_weight") is None:
        return lab
    capture.data = {**capture.data, "class_weight": None}
    capture.batch = None if capture.batch is None else {**capture.batch, "class_weight": None}
    return Lab(capture, lab.run, most_rows=None)


def _captured(model: Any, data: dict[str, Any]) -> tuple[Run, int]:
    """The objective on the batch that is asked for, and how many rows of the arrays are not in it."""
    if hasattr(data["x"], "__next__"):  # a generator gives each batch once
        data = {**data, **_first_of(data["x"])}
    arrays = in_memory(data["x"], data["y"])
    count = (count_rows((data["x"], data["y"])) or 0) if arrays else 0
    size = min(count, data["batch_size"] or MOST_ROWS)
    asked = {**data, "batch_size": size} if arrays else data
    if arrays and not count:
        raise ValueError("there are no rows to explain: x is empty")
    try:
        run = captured_model(model, asked)
    except NoBatch as reason:
        raise ValueError(f"no batch can be read from the data: {reason}") from reason
    capture = run.captures[0]
    if arrays:
        batch = copy_batch(asked, spread=False)
        capture.batch = None if batch is None else {**batch, "batch_size": size}
        capture.data = data
    return run, count - size


def _first_of(iterator: Any) -> dict[str, Any]:
    try:
        items = next(iterator)
    except StopIteration:
        raise ValueError("the generator has no batch left: make a new one") from None
    x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(items)
    return {"x": x, "y": y, "sample_weight": sample_weight, "batch_size": None}


@contextmanager
def _kept(model: Any) -> Iterator[None]:
    """Inside, whatever a step does to variables or (on torch) to their stored gradients is taken back in the end."""
    from lossproof.lab.state.reporting import every_metric

    backend = running_backend()
    variables = {id(v): v for v in [*model.variables, *model.metrics_variables]}
    if model.optimizer is not None:
        variables |= {id(v): v for v in model.optimizer.variables}
    variables |= {id(v): v for metric in every_metric(model) for v in metric.variables}
    before = [(variable, np.array(copy_of(variable))) for variable in variables.values()]
    with backend.stored_gradients(model.trainable_variables):
        try:
            yield
        finally:
            for variable, value in before:
                if not np.array_equal(copy_of(variable), value, equal_nan=value.dtype.kind == "f"):
                    variable.assign(value)
