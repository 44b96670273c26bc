"""The first steps of a captured training, run again with the account of each, for the page of a check."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import keras
import numpy as np

from lossproof import keras_private
from lossproof.capture.batch import ROWS, Recorded, count_batches, count_rows, in_memory, take_rows
from lossproof.capture.copies import copies
from lossproof.lab.backends import running_backend
from lossproof.lab.failure import in_words
from lossproof.lab.lab import Lab
from lossproof.lab.received import Batch, as_batch
from lossproof.lab.rehearsal import data_of, runner_of
from lossproof.lab.step import restored
from lossproof.ledger.account import account
from lossproof.ledger.course import Course
from lossproof.ledger.entry import Entry
from lossproof.ledger.probe import Probe, Unmeasurable

STEPS = 20
"""Steps that are run again."""
LEAST = 2
WORK = 2e10
"""Multiplications (see `lab.work`) after which no further step is run."""
POINTS = 100
"""Of a schedule."""


def course_of(lab: Lab) -> Course | None:
    """The course of a captured objective; None where it has fewer than two parts, or is not trained.

    Everything is put back. Whatever goes wrong is said in the course.
    """
    if not lab.capture.training or not (lab.losses or lab.forward_losses):
        return None
    batch = account(lab)
    if len(batch.parts) + (not batch.closes) < 2:
        return None
    at, schedules = _schedules(lab)
    try:
        entries, unseen = _entries(lab), ""
    except Unmeasurable as reason:
        entries, unseen = (), str(reason)
    except Exception as error:  # the user's code or data may refuse to run again; a page must not fail for it
        entries, unseen = (), in_words(error)
    return Course(batch, entries, unseen, at, schedules)


def _entries(lab: Lab) -> tuple[Entry, ...]:
    batches = _batches(lab)
    probe = Probe(lab.capture.model)
    if not probe.ready:
        raise Unmeasurable("the model was not built when the script ended")
    entries = []
    with running_backend().repeatable(), restored(lab.model):
        _fresh_optimizer(lab)
        runner = runner_of(lab)
        for step, batch in enumerate(batches):
            measured = probe.measure(data_of(batch), runner.state, with_gradients=True)
            if measured is not None:
                entries.append(replace(measured.entry, step=step))
            runner.train(batch)
    return tuple(entries)


def _fresh_optimizer(lab: Lab) -> None:
    """Give the optimizer the state with which it began, where that was none."""
    training = next((one for one in lab.run.trainings if one.capture == lab.capture.id), None)
    optimizer = lab.capture.model.optimizer
    if training is None or training.settings.get("iterations"):
        return
    with suppress(Exception):  # a class of the user's that cannot be made again: then the state is that of the end
        fresh = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
        fresh.build(lab.capture.model.trainable_variables)
        for variable, value in zip(optimizer.variables, copies(fresh.variables), strict=True):
            variable.assign(value)


# The data -------------------------------------------------------------------------------------------------------------


def _batches(lab: Lab) -> Sequence[Batch]:
    """The first batches, in an order such as training might have; again from the first where a next epoch begins."""
    most = int(np.clip(WORK / max(lab.evaluation.work * 3.0, 1.0), LEAST, STEPS))
    read = list(itertools.islice(_epoch(lab, most), most))
    wanted = min(most, len(read) * int(lab.capture.epochs_asked or 1))
    return list(itertools.islice(itertools.cycle(read), wanted))


def _epoch(lab: Lab, most: int) -> Iterator[Batch]:
    data = lab.capture.data
    x = data.get("x")
    if lab.capture.call != "fit" or not data:
        yield lab.batch
    elif isinstance(x, Recorded):
        yield from map(as_batch, x.batches)
    elif in_memory(x, data.get("y")):
        count, size = count_rows((x, data.get("y"))) or 0, data.get("batch_size") or ROWS
        order = np.arange(count)
        if data.get("shuffle", True):
            order = np.random.default_rng(0).permutation(count)
        order = order[: int(count * (1.0 - (data.get("validation_split") or 0.0)))]
        cut = {key: take_rows(data.get(key), order[: most * size]) for key in ("x", "y", "sample_weight")}
        yield from map(as_batch, keras_private.epoch_data({**data, **cut}))
    else:
        yield from map(as_batch, keras_private.epoch_data(data))


# The weights ----------------------------------------------------------------------------------------------------------


def _schedules(lab: Lab) -> tuple[tuple[int, ...], dict[str, tuple[float, ...]]]:
    """Steps of the whole training, and by term its weight at each."""
    data = lab.capture.data
    schedule = keras.optimizers.schedules.LearningRateSchedule
    terms = [one for one in getattr(lab.capture.model, "objective", ()) if isinstance(one.weight, schedule)]
    batches = data.get("steps_per_epoch") or count_batches(
        data.get("x"), data.get("batch_size"), data.get("validation_split") or 0.0
    )
    if not terms or not batches:
        return (), {}
    last = int(batches) * int(lab.capture.epochs_asked or 1) - 1
    at = tuple(sorted({int(step) for step in np.linspace(0, last, POINTS)}))
    found: dict[str, tuple[float, ...]] = {}
    for term in terms:
        with suppress(Exception):
            values = tuple(float(np.asarray(_number(term.weight, step))) for step in at)
            if len(set(values)) > 1:
                found[term.name] = values
    return (at, found) if found else ((), {})


def _number(schedule: Any, step: int) -> Any:
    return keras.ops.convert_to_numpy(schedule(keras.ops.convert_to_tensor(step, dtype="int32")))
