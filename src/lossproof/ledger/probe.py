"""Beside a step of `fit`: the account of its loss, from the same weights, batch and random numbers.

The step itself is left alone: adding outputs to a compiled step would make it another program, whose last digits differ.
The account is a program of its own that reads the model's state and writes none of it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np

from lossproof import keras_private
from lossproof.capture.objective import roots
from lossproof.capture.values import Changes
from lossproof.lab.backends import running_backend
from lossproof.lab.received import Batch, as_batch
from lossproof.ledger.computation import Computation
from lossproof.ledger.entry import Entry, PenaltyEntry, TermEntry
from lossproof.ledger.gradients import gradient_entry
from lossproof.objective.trainer import GradientTrainer

MOST_FORMS = 3
"""Where accounts are compiled, batches of further shapes are passed by: each would be compiled anew."""


@dataclass(frozen=True)
class _Program:
    """The account of one form of batch, ready to run."""

    computation: Computation
    run: Callable[..., Any]


@dataclass(frozen=True)
class Measured:
    """An account, and what it took."""

    entry: Entry
    seconds: float
    first: bool
    """Whether it is the first of its kind; then `seconds` is what it takes without tracing and compiling."""


class Unmeasurable(Exception):  # noqa: N818 - an answer, not an error
    """The account of a step cannot be had; the text says why."""


class Probe:
    """Measures steps of one model.

    Args:
        model: A model in the middle of `fit`.

    Raises:
        Unmeasurable: The accounts of its steps cannot be had.
    """

    def __init__(self, model: Any) -> None:
        self.model = model
        self.backend = running_backend()
        self.own = type(model).compute_loss is not keras.Model.compute_loss
        self._measures = self.own
        """Whether the weights of the losses are measured, not read."""
        self._compiled = self.backend.name != "torch" and not model.run_eagerly
        self._known: dict[Any, _Program] = {}
        self._changes = Changes()
        self._changes.begin(roots(model, None))
        # Whatever the step of a Trainer does with gradients, its loss is `compute_loss`.
        if type(model).train_step not in (keras.Model.train_step, GradientTrainer.train_step):
            raise Unmeasurable(
                f"{type(model).__name__}.train_step is the user's own: what it does is known to it alone"
            )
        if self.backend.strategy_of(model) is not None:
            raise Unmeasurable("the model trains under tf.distribute: each replica takes its own batch")

    @property
    def ready(self) -> bool:
        """Whether everything that a step makes at its first run exists."""
        model = self.model
        loss = keras_private.compile_loss(model)
        optimizer = model.optimizer
        return bool(model.built and (loss is None or self.own or loss.built) and (optimizer is None or optimizer.built))

    def measure(self, data: Any, state: tuple[Any, ...] | None, with_gradients: bool) -> Measured | None:
        """The account of a step that is about to take `data`; None for a batch of too many different forms.

        Args:
            data: The batch, as the step receives it.
            state: On JAX, the state that the step receives; elsewhere the variables hold it.
            with_gradients: Whether the gradient of each part is wanted.
        """
        batch = as_batch(data)
        leaves = keras.tree.flatten((batch.x, batch.y, batch.sample_weight))
        tensors = [leaf for leaf in leaves if self.backend.is_tensor(leaf)]
        form = (
            with_gradients,
            tuple((tuple(leaf.shape), str(leaf.dtype)) if self.backend.is_tensor(leaf) else None for leaf in leaves),
        )
        known = self._known.get(form)
        seen = sum(key[0] == with_gradients for key in self._known)
        new = known is None and (self._compiled or not seen)  # then run twice: the second time tells what it takes
        if known is None:
            if self._compiled and seen >= MOST_FORMS:
                return None
            computation = Computation(self.model, with_gradients, self._measures)
            known = self._known[form] = _Program(computation, self._staged(computation, batch))
        trainable, others = self._state(state)
        arguments = (*trainable, *others, *tensors)
        with self.backend.kept_randomness():
            if new:
                self._run(known, arguments)
            began = time.perf_counter()
            entry = self._entry(known.computation, self._run(known, arguments), batch)
        seconds = time.perf_counter() - began
        if entry.closes or self._measures or not math.isfinite(entry.total):
            return Measured(entry, seconds, new)
        self._measures = True  # Keras drops all but one of several losses on one output
        self._known.clear()
        return self.measure(data, state, with_gradients)

    def settle(self, state: tuple[Any, ...] | None) -> None:
        """Wait for the steps that are still under way."""
        optimizer = [] if self.model.optimizer is None else self.model.optimizer.variables
        values = [one.value for one in optimizer] if state is None else self._state(state)[1]
        if values:
            self.backend.numpy(min(values, key=lambda value: math.prod(value.shape)))

    def _run(self, known: _Program, arguments: tuple[Any, ...]) -> list[np.ndarray | None]:
        with self._changes.moved_inside():
            raw = known.run(*arguments)
        numbers = [None if one is None else self.backend.numpy(one) for one in raw]
        return [None if one is None else np.asarray(one, dtype="float64") for one in numbers]

    def _state(self, state: tuple[Any, ...] | None) -> tuple[list[Any], list[Any]]:
        """The values of the trainable weights, and of everything else that is not to be read from the variables."""
        if state is None:
            return [variable.value for variable in self.model.trainable_variables], []
        return list(state[0]), [value for group in state[1:] for value in group]

    def _others(self) -> list[Any]:
        model = self.model
        if self.backend.name != "jax":
            return []
        optimizer = [] if model.optimizer is None else model.optimizer.variables
        return [*model.non_trainable_variables, *optimizer, *model.metrics_variables]

    def _staged(self, computation: Computation, example: Batch) -> Callable[..., Any]:
        count, others = len(self.model.trainable_variables), self._others()
        structure = (example.x, example.y, example.sample_weight)
        flat = keras.tree.flatten(structure)
        taken = [self.backend.is_tensor(leaf) for leaf in flat]

        def run(*tensors: Any) -> tuple[Any, ...]:
            mapping = list(zip(others, tensors[count : count + len(others)], strict=True))
            given = iter(tensors[count + len(others) :])
            leaves = [next(given) if is_tensor else leaf for leaf, is_tensor in zip(flat, taken, strict=True)]
            batch = Batch(*keras.tree.pack_sequence_as(structure, leaves)) if flat else example
            numbers = computation.run(tensors[:count], mapping, batch)
            return numbers.values, numbers.factors, numbers.learning_rate, numbers.products

        if not self._compiled:
            return run
        return self.backend.stages(run, "jit" if self.backend.name == "jax" else "graph")

    def _entry(self, known: Computation, raw: Sequence[np.ndarray | None], batch: Batch) -> Entry:
        values, factors, rate, products = raw
        assert values is not None
        assert factors is not None
        count = len(known.terms)
        total = float(values[-1])
        terms = tuple(
            TermEntry(part.name, part.loss, part.output, float(value), float(weight), float(weight * value))
            for part, value, weight in zip(known.terms, values[:count], factors[:count], strict=True)
        )
        added = values[count:-1]
        counted = float(factors[count])
        if known.measured:  # the derivative by a common factor of all entries of `model.losses`
            scaled = sum(value for value, one in zip(added, known.penalties, strict=True) if one.kind != "weighting")
            counted = counted / float(scaled) if scaled else 1.0
        shares = [1.0 if one.kind == "weighting" else counted for one in known.penalties]
        penalties = tuple(
            PenaltyEntry(one.name, one.kind, one.layer, one.what, float(value), share, share * float(value))
            for one, value, share in zip(known.penalties, added, shares, strict=True)
        )
        explained = sum(one.contribution for one in terms) + sum(one.contribution for one in penalties)
        entry = Entry(
            terms=terms,
            penalties=penalties,
            total=total,
            residual=total - explained,
            rows=_rows(batch),
            learning_rate=None if rate is None else float(rate),
        )
        cause = None
        if not entry.closes:
            name = f"{type(self.model).__name__}.compute_loss"
            cause = f"{name} computes parts of its total itself" if self.own else "unknown"
        gradients = None
        if products is not None:
            names, rest = known.driving, sum(one.kind == "weighting" for one in known.penalties)
            weights = [*factors[:count], *([counted] * (len(names) - count - rest)), *([1.0] * rest)]
            gradients = gradient_entry(names, weights, products, known.measured and not entry.closes, self.model)
        return replace(entry, cause=cause, gradients=gradients)


def _rows(batch: Batch) -> int | None:
    leaves = [leaf for leaf in keras.tree.flatten(batch.x) if leaf is not None and len(leaf.shape)]
    return int(leaves[0].shape[0]) if leaves else None
