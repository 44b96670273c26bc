"""Random numbers of Python, NumPy and untracked seed generators that a compiled step drew once."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import keras
import numpy as np

from lossproof.capture.copies import copy_of
from lossproof.capture.objective import roots
from lossproof.capture.values import reachable
from lossproof.lab.backends.host import host_seed
from lossproof.lab.evaluation import evaluate
from lossproof.lab.execution.following import mode_of, step_of
from lossproof.lab.lab import Lab
from lossproof.lab.localize.events import Event
from lossproof.lab.noise import differs
from lossproof.lab.replace import replaced
from lossproof.lab.step import run_step
from lossproof.lab.subject import Subject
from lossproof.rules.rule import NotApplicable

MOST_WORK = 1e9
"""Multiplications of a forward pass (see `work`) beyond which no second one is made."""


@dataclass(frozen=True)
class FrozenRandomness:
    """An objective that draws anew each time it runs eagerly, and drew once where it was compiled."""

    eager: tuple[float, float]
    """Its value with one seed, and with another."""
    compiled: tuple[float, float]
    """Traced and run with the first seed; the same step run with the other seed."""
    fresh: float
    """Traced and run with the other seed."""
    event: Event | None
    """The user's expression that draws."""


def frozen_randomness(lab: Lab) -> FrozenRandomness | None:
    """The proof that the compiled step repeats the random numbers of its trace; None where it does not.

    Everything that the objective draws is made repeatable by a seed. Then the eager value must depend on the seed and on
    nothing else, and the compiled one on the seed with which it was traced alone.
    """
    if lab.capture.model is None or mode_of(lab) == "eager":
        raise NotApplicable("the steps run eagerly")
    if lab.evaluation.work > MOST_WORK:
        raise NotApplicable("one evaluation is too much work for a second one")
    generators = _generators(lab)
    run = partial(_eager, lab)
    first = run() if not generators else _seeded(generators, 0, run)
    if first == _seeded(generators, 1, run):
        raise NotApplicable("nothing random is drawn in Python")
    eager = _seeded(generators, 0, run), _seeded(generators, 1, run)
    if eager != (_seeded(generators, 0, run), _seeded(generators, 1, run)) or not differs(*eager):
        return None
    step = step_of(lab)
    traced = _seeded(generators, 0, step)
    again = _seeded(generators, 1, step)
    fresh = _seeded(generators, 1, partial(_traced_anew, lab))
    if not np.array_equal(traced, again) or not np.isfinite([traced[0], fresh[0]]).all():
        return None
    if not np.abs(fresh - traced).max() > 64 * np.finfo("float32").eps * np.abs(traced).max():
        return None
    event = None
    for subject in lab.subjects:
        event = event or lab.attempt(partial(_drawing, lab, subject, generators))
    return FrozenRandomness(eager, (float(traced[0]), float(again[0])), float(fresh[0]), event)


def _traced_anew(lab: Lab) -> np.ndarray:
    return step_of(lab)()


def _eager(lab: Lab) -> float:
    if lab.overrides_train_step:
        return float(sum(run_step(lab.model, lab.batch).losses))
    return evaluate(lab.model, lab.batch, False).total


def _generators(lab: Lab) -> list[Any]:
    """The generator objects that the objective can reach; those of the model itself are part of its state."""
    kinds = (np.random.Generator, np.random.RandomState, random.Random, keras.random.SeedGenerator)
    slots = reachable(roots(lab.capture.model, lab.capture.compiled), lambda value: isinstance(value, kinds))
    found = {id(one): one for one in (slot.read() for slot in slots)}
    tracked = {id(variable) for variable, _ in lab.model.state}
    return [
        one for one in found.values() if not (isinstance(one, keras.random.SeedGenerator) and id(one.state) in tracked)
    ]


def _seeded(generators: list[Any], seed: int, run: Callable[[], Any]) -> Any:
    with ExitStack() as stack:
        stack.enter_context(host_seed(seed))
        stack.enter_context(replaced(np.random, "default_rng", partial(_default_rng, seed)))
        for one in generators:
            stack.enter_context(_reseeded(one, seed))
        return run()


def _default_rng(number: int, original: Any) -> Any:
    return lambda seed=None: original(number if seed is None else seed)


@contextmanager
def _reseeded(generator: Any, seed: int) -> Iterator[None]:
    if isinstance(generator, keras.random.SeedGenerator):
        kept = copy_of(generator.state)
        generator.state.assign(np.array([seed + 1, 0], dtype=kept.dtype))
        try:
            yield
        finally:
            generator.state.assign(kept)
        return
    if isinstance(generator, np.random.Generator):
        bits = generator.bit_generator
        state = bits.state
        bits.state = type(bits)(seed).state
        try:
            yield
        finally:
            bits.state = state
        return
    python = isinstance(generator, random.Random)
    before: Any = generator.getstate() if python else generator.get_state()
    generator.seed(seed)
    try:
        yield
    finally:
        (generator.setstate if python else generator.set_state)(before)


def _drawing(lab: Lab, subject: Subject, generators: list[Any]) -> Event | None:
    """The first expression whose value depends on the seed although none of its operands does."""
    events = [_seeded(generators, seed, lambda: lab.trace(subject)).events for seed in (0, 1)]
    for one, other in zip(*events, strict=False):
        if one.place != other.place:
            return None
        if _differ(lab, one.value, other.value):
            pairs = zip(one.operands, other.operands, strict=False)
            return one if not any(_differ(lab, a.value, b.value) for a, b in pairs) else None
    return None


def _differ(lab: Lab, a: Any, b: Any) -> bool:
    if lab.backend.is_concrete(a) and lab.backend.is_concrete(b):
        a, b = lab.number(a), lab.number(b)
    if not isinstance(a, (int, float, np.ndarray, np.generic)) or type(a) is not type(b):
        return False
    return not np.array_equal(a, b, equal_nan=np.asarray(a).dtype.kind == "f")
