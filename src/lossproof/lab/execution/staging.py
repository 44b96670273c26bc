"""A subject as the compiled step runs it: its tensors are inputs of a traced function, not constants."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import keras
import numpy as np

from lossproof import keras_private
from lossproof.capture.batch import ROWS, count_rows, in_memory
from lossproof.capture.place import place_of_function
from lossproof.capture.userfiles import is_user_file
from lossproof.lab.backends.base import Mode, Tensor
from lossproof.lab.bounds import bounds_of, confident
from lossproof.lab.execution.following import mode_of
from lossproof.lab.lab import Lab
from lossproof.lab.localize.events import Event
from lossproof.lab.noise import rounding
from lossproof.lab.predictions import tensor_like, with_predictions
from lossproof.lab.subject import StepSubject, Subject

FIELDS = ("x", "y_true", "y_pred", "sample_weight")
NUDGES = 6
MOST_EVENTS = 60
"""Expressions that are staged one by one to find the place of a divergence."""


@dataclass(frozen=True)
class Divergence:
    """A subject whose value depends on the mode of execution."""

    subject: Subject
    mode: Mode
    staged: float
    eager: float
    sure: bool
    """Whether it shows at predictions that are right and as sure as they can be, not on the captured batch."""
    elements: int
    """In how many entries of what the user's function returns the two differ."""
    of: int
    event: Event | None
    pair: tuple[float, float] | None
    """The value of the expression at the first entry that differs: staged, eager."""
    passes: tuple[tuple[str, float], ...]
    """Passes of the graph's optimizer without which the staged value is another, with that value."""


def divergence(lab: Lab, subject: Subject) -> Divergence | None:
    """The proof that the compiled step computes another value than the same code run eagerly; None if it does not.

    Where the code draws random numbers or keeps a count the two need not agree, and nothing is said.
    """
    mode = mode_of(lab)
    if mode == "eager" or isinstance(subject, StepSubject) or not _is_own(subject.function):
        return None
    _ = lab.model.state  # read before anything is traced
    with _as_they_are(lab):
        found = lab.attempt(partial(_at, lab, subject, mode, False))
        if found is None and lab.capture.training:
            there = lab.attempt(lambda: _sure(lab, subject))
            found = lab.attempt(partial(_at, lab, there, mode, True)) if there is not None else None
    diverging: Divergence | None = found
    return diverging


def open_rows(lab: Lab) -> bool:
    """Whether the step is traced for batches of any size, as far as the data tell.

    Of arrays that a batch size divides, of a `tf.data.Dataset` with fixed shapes, and in `train_on_batch`, TensorFlow
    knows the size while it traces.
    """
    capture = lab.capture
    x: Any = capture.data.get("x")
    y = capture.data.get("y")
    if capture.call.endswith("_on_batch"):
        return False
    if hasattr(x, "element_spec"):
        shapes = [leaf.shape for leaf in keras.tree.flatten(x.element_spec) if getattr(leaf, "shape", None) is not None]
        return any(shape.rank is None or (shape.rank and shape[0] is None) for shape in shapes)
    if not in_memory(x, y):
        return True
    count = int((count_rows((x, y)) or 0) * (1.0 - (capture.data.get("validation_split") or 0.0)))
    return count % (capture.data.get("batch_size") or ROWS) != 0


def _at(lab: Lab, subject: Subject, mode: Mode, sure: bool) -> Divergence | None:
    eager, again = _twice(lab, lambda: _entries(subject))
    if not np.array_equal(eager, again, equal_nan=True) or not np.isfinite(eager).all():
        return None
    run = _staged(lab, subject, mode, _entries)
    staged, repeated = _twice(lab, run)
    if not np.array_equal(staged, repeated, equal_nan=True) or staged.shape != eager.shape:
        return None
    differing = ~np.isfinite(staged)
    if not differing.any():
        differing = np.abs(staged - eager) > _tolerance(lab, subject, eager)
    if not differing.any():
        return None
    event, pair = lab.attempt(partial(_place, lab, subject, mode)) or (None, None)
    return Divergence(
        subject=subject,
        mode=mode,
        staged=float(_twice(lab, _staged(lab, subject, mode, _total))[0].sum()),
        eager=float(_twice(lab, lambda: _total(subject))[0].sum()),
        sure=sure,
        elements=int(differing.sum()),
        of=eager.size,
        event=event,
        pair=pair,
        passes=tuple(_passes(lab, subject, mode, staged)),
    )


def _tolerance(lab: Lab, subject: Subject, eager: np.ndarray) -> np.ndarray:
    """How far the entries may lie apart by rounding.

    Half of the digits of float32, relative to the largest entry; more where the eager value itself is that sensitive
    to a change of the tensors in their last place.
    """
    half = float(np.sqrt(np.finfo("float32").eps)) * float(np.abs(eager).max(initial=0.0))
    spread = np.zeros_like(eager)
    random = np.random.default_rng(0)
    epsilon = float(np.finfo("float32").eps)
    for _ in range(NUDGES):

        def nudged(leaf: Any) -> Any:
            if not lab.backend.is_tensor(leaf) or "float" not in keras.backend.standardize_dtype(leaf.dtype):
                return leaf
            values = lab.number(leaf)
            moved = tensor_like(lab, values * (1.0 + epsilon * random.uniform(-2.0, 2.0, values.shape)), leaf)
            keras_private.set_mask(moved, keras_private.mask_of(leaf))
            return moved

        other = subject.changed(**{key: _mapped(nudged, getattr(subject, key)) for key in ("y_true", "y_pred")})
        with np.errstate(invalid="ignore"):
            difference = np.abs(_twice(lab, partial(_entries, other))[0] - eager)
        spread = np.maximum(spread, np.where(np.isfinite(difference), difference, np.inf))
    return half + 64.0 * spread + rounding("float32", float(np.abs(eager).max(initial=0.0)), 64)


def _entries(subject: Subject) -> Tensor:
    return keras.ops.reshape(keras.ops.cast(keras.ops.convert_to_tensor(subject.unreduced()), "float32"), (-1,))


def _total(subject: Subject) -> Tensor:
    return keras.ops.reshape(keras.ops.cast(keras.ops.convert_to_tensor(subject.total()), "float32"), (-1,))


def _twice(lab: Lab, run: Callable[[], Tensor]) -> tuple[np.ndarray, np.ndarray]:
    """A value, and the value that the generators give next: equal where nothing is drawn."""
    with lab.undisturbed():
        return lab.number(run()), lab.number(run())


def _mapped(function: Callable[[Any], Any], data: Any) -> Any:
    return data if data is None else keras.tree.map_structure(function, data, none_is_leaf=True)


@contextmanager
def _as_they_are(lab: Lab) -> Iterator[None]:
    # TensorFlow's cross-entropies look at how predictions were made, which inputs of a staged function do not tell.
    with ExitStack() as stack:
        if lab.backend.looks_through_predictions:
            stack.enter_context(keras_private.logits_hidden())
        yield


def _staged(lab: Lab, subject: Subject, mode: Mode, of: Callable[[Subject], Tensor]) -> Callable[[], Tensor]:
    """`of(subject)`, staged with the subject's tensors as inputs."""
    data = {key: getattr(subject, key) for key in FIELDS}
    flat = keras.tree.flatten(data)
    positions = [i for i, leaf in enumerate(flat) if lab.backend.is_tensor(leaf)]
    examples = [flat[i] for i in positions]

    def function(*tensors: Tensor) -> Tensor:
        leaves = list(flat)
        for i, tensor in zip(positions, tensors, strict=True):
            with suppress(AttributeError):  # a tracer may have no room for it
                keras_private.set_mask(tensor, keras_private.mask_of(flat[i]))
            leaves[i] = tensor
        packed = keras.tree.pack_sequence_as(data, leaves)
        return of(subject.changed(**packed))

    compiled = lab.backend.stepped(function, mode, examples, open_rows(lab))
    return lambda: compiled(*examples)


def _sure(lab: Lab, subject: Subject) -> Subject | None:
    """The subject at predictions that lie on its targets where both lie on a bound of the output."""
    guess = confident(lab, subject)
    if guess is None:
        return None
    there = with_predictions(lab, subject, guess.leaves)
    mode = mode_of(lab)
    if np.isfinite(_twice(lab, _staged(lab, there, mode, _entries))[0]).all():
        return None  # wherever the bounds may be
    guess = confident(lab, subject, bounds_of(lab, subject))
    return None if guess is None else with_predictions(lab, subject, guess.leaves)


def _is_own(function: Any) -> bool:
    place = place_of_function(function)
    return place is not None and is_user_file(place.file)


# Where ---------------------------------------------------------------------------------------------------------------


def _place(lab: Lab, subject: Subject, mode: Mode) -> tuple[Event, tuple[float, float]] | None:
    """The first expression that is not finite, or that differs, when it is staged alone.

    Each is the only result of a function of its own: what else is asked for changes what an optimizer may rewrite.
    """
    events = lab.trace(subject).events
    wanted = [i for i, event in enumerate(events) if _is_float(lab, event.value)][-MOST_EVENTS:]
    for i in wanted:
        eager = lab.number(events[i].value)
        staged = _twice(lab, _staged(lab, subject, mode, partial(_event, lab, i)))[0]
        if staged.shape != eager.shape or not np.isfinite(eager).all():
            continue
        bad = ~np.isfinite(staged)
        if not bad.any() and eager.size:
            half = float(np.sqrt(np.finfo("float32").eps))
            bad = np.abs(staged - eager) > half * np.maximum(np.abs(staged), np.abs(eager))
        if bad.any():
            at = tuple(np.argwhere(bad)[0])
            return events[i], (float(staged[at]), float(eager[at]))
    return None


def _event(lab: Lab, i: int, subject: Subject) -> Tensor:
    return lab.trace(subject).events[i].value


def _is_float(lab: Lab, value: Any) -> bool:
    return lab.backend.is_concrete(value) and "float" in keras.backend.standardize_dtype(value.dtype)


def _passes(lab: Lab, subject: Subject, mode: Mode, staged: np.ndarray) -> Iterator[tuple[str, float]]:
    """Which pass of the optimizer makes the difference, where the backend lets it be switched off."""
    for name in lab.backend.rewrites() if mode == "graph" else ():
        with lab.backend.without_rewrite(name):
            other = _twice(lab, _staged(lab, subject, mode, _entries))[0]
            if np.isfinite(other).sum() > np.isfinite(staged).sum():
                yield name, float(_twice(lab, _staged(lab, subject, mode, _total))[0].sum())
