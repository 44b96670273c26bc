"""Gradients that are not finite in one mode of execution and finite in another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import keras
import numpy as np

from lossproof import keras_private
from lossproof.capture.place import place_of_function
from lossproof.capture.userfiles import is_user_file
from lossproof.findings.finding import Severity
from lossproof.lab.blind import Point, quiet
from lossproof.lab.gradient.births import birth_in_model, birth_of_gradient, numbers_at
from lossproof.lab.gradient.blame import bad_rows, by_differences, counts, culprits, subjects_on, without, worst
from lossproof.lab.gradient.reach import Found, batch_of_unusual
from lossproof.lab.gradient.trouble import Trouble, example, finite
from lossproof.lab.lab import Lab
from lossproof.lab.predictions import float_leaves, with_float_leaves
from lossproof.lab.received import Batch
from lossproof.lab.subject import LossSubject, Subject, take

XLA = "XLA (`jit_compile=True`, and by default on an accelerator)"


def where_it_shows(lab: Lab, batch: Batch, trouble: Trouble) -> Trouble:
    """The same trouble, a warning where only eager execution shows it.

    JAX compiles the step, and XLA may turn the product of a mask and a NaN into a select.
    """
    eager = getattr(lab.capture.model, "run_eagerly", False)
    if trouble.kind != "gradient" or lab.backend.name != "jax" or eager or lab.overrides_train_step:
        return trouble
    point = lab.attempt(lambda: _compiled_whole(lab, batch)(batch))
    if point is None or not finite(point, "gradient"):
        return trouble
    return replace(trouble, severity=Severity.WARNING, modes="eager execution; the compiled step happens to hide it")


def under_xla(lab: Lab) -> list[Trouble]:
    """What only XLA shows on the captured batch, or on one with unusual rows.

    TensorFlow's own kernel gives 0 for 0 * sqrt'(0); compiled by XLA, as on an accelerator, it is NaN. Code of Keras
    alone is not compiled again.
    """
    if lab.backend.name != "tensorflow" or not lab.capture.training or lab.overrides_train_step:
        return []
    unusual = lab.attempt(lambda: batch_of_unusual(lab)) if lab.capture.model is not None else None
    troubles: list[Trouble] = []
    for found in (None, unusual) if unusual is not None else (None,):
        batch = lab.batch if found is None else found.batch
        for subject in subjects_on(lab, batch):
            known = any(one.subject is not None and one.subject.name == subject.name for one in troubles)
            if isinstance(subject, LossSubject) and not known and _is_own(subject.function):
                trouble = lab.attempt(partial(_in_loss, lab, subject, found))
                troubles += [trouble] if trouble is not None else []
    if not troubles and _own_layers(lab):
        found = unusual
        trouble = lab.attempt(lambda: _in_model(lab, lab.batch if found is None else found.batch, found))
        troubles += [trouble] if trouble is not None else []
    return troubles


def _is_own(function: Any) -> bool:
    place = place_of_function(function)
    return place is not None and is_user_file(place.file)


def _own_layers(lab: Lab) -> bool:
    """Whether the forward pass runs code of the user's, or `keras.ops` called on symbolic tensors."""
    model = lab.capture.model
    operations = [*getattr(model, "operations", ()), *keras_private.layers_of(model)]
    return any(
        isinstance(one, keras.layers.Lambda)
        or not isinstance(one, keras.layers.Layer)
        or not type(one).__module__.startswith("keras.")
        for one in operations
    )


def _in_loss(lab: Lab, subject: Subject, found: Found | None) -> Trouble | None:
    point = _compiled(lab, subject)
    if not finite(point, "value") or finite(point, "gradient"):
        return None  # a value that depends on the mode is another rule's

    def at(rows: np.ndarray) -> Point:
        return _compiled(lab, subject.rows(rows))

    size = subject.batch_size
    rows = bad_rows(lab, subject, point, "gradient")
    cure = without(lab, at, point, "gradient", rows, size) or by_differences(lab, subject, point, "gradient")
    if cure is None:
        return None
    return Trouble(
        kind="gradient",
        reach="captured" if found is None else "data",
        severity=_severity(lab),
        subject=subject,
        cure=cure,
        batch=size,
        event=birth_of_gradient(lab, subject),
        examples=example(numbers_at(lab, subject), worst(point, "gradient", int(rows[0]))),
        modes=XLA,
        **counts(lab, rows, size, found),
    )


def _in_model(lab: Lab, batch: Batch, found: Found | None) -> Trouble | None:
    compiled = _compiled_whole(lab, batch)
    point = compiled(batch)
    if not finite(point, "value") or finite(point, "gradient"):
        return None

    def at(rows: np.ndarray) -> Point:
        return compiled(Batch(*(take(data, rows) for data in (batch.x, batch.y, batch.sample_weight))))

    size = next(int(leaf.shape[0]) for leaf in keras.tree.flatten(batch.x) if leaf is not None)
    rows = culprits(lab, at, "gradient", size, np.array([], dtype=int))
    cure = without(lab, at, point, "gradient", rows, size)
    if cure is None:
        return None
    return Trouble(
        kind="gradient",
        reach="captured" if found is None else "data",
        severity=_severity(lab),
        subject=None,
        cure=cure,
        batch=size,
        event=birth_in_model(lab, batch, "gradient"),
        modes=XLA,
        **counts(lab, rows, size, found),
    )


def _severity(lab: Lab) -> Severity:
    return Severity.ERROR if getattr(lab.capture.model, "jit_compile", None) is True else Severity.WARNING


def _compiled(lab: Lab, subject: Subject) -> Point:
    def gradient(*tensors: Any) -> Any:
        value, found = lab.backend.gradient(lambda *moved: with_float_leaves(lab, subject, moved).total(), tensors)
        return value, [g for g in found if g is not None]

    with quiet(lab):
        value, gradients = lab.backend.stages(gradient, "jit")(*float_leaves(lab, subject))
    return Point(float(np.sum(lab.number(value))), tuple(lab.number(g) for g in gradients))


def _compiled_whole(lab: Lab, batch: Batch) -> Callable[[Batch], Point]:
    """The objective and its gradient for the weights, compiled once for all batches of the shapes of one."""
    start = lab.model.start
    parts = (batch.x, batch.y, batch.sample_weight)

    def gradient(*tensors: Any) -> Any:
        given = iter(tensors[len(start) :])
        filled = keras.tree.map_structure(lambda leaf: None if leaf is None else next(given), parts)

        def total(*weights: Any) -> Any:
            return lab.model.objective(Batch(*filled), list(weights))

        value, found = lab.backend.gradient(total, list(tensors[: len(start)]))
        return value, [g for g in found if g is not None]

    compiled = lab.backend.stages(gradient, "jit")

    def run(other: Batch) -> Point:
        leaves = keras.tree.flatten((other.x, other.y, other.sample_weight))
        with quiet(lab):
            value, gradients = compiled(*start, *(leaf for leaf in leaves if leaf is not None))
        return Point(float(np.sum(lab.number(value))), tuple(lab.number(g) for g in gradients))

    return run
