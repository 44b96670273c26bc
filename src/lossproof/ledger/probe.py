"""The account of one step during training, computed beside the step from the same weights, batch and random numbers.

The step itself is left alone: adding outputs to a compiled step would make it another program, whose last digits differ.
The account is a program of its own that reads the model's state and writes none of it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np

from lossproof import keras_private
from lossproof.capture.objective import roots
from lossproof.capture.values import Changes
from lossproof.lab.added_losses import scaled_losses
from lossproof.lab.backends import running_backend
from lossproof.lab.compiled import name_of
from lossproof.lab.listen import listening
from lossproof.lab.received import Batch, as_batch
from lossproof.ledger.entry import Entry, PenaltyEntry, TermEntry, unique
from lossproof.ledger.gradients import gradient_entry, gram
from lossproof.ledger.penalties import Penalty, heard_adding, penalties_of

MOST_FORMS = 3
"""Batches of further shapes are passed by: each is compiled anew."""


@dataclass(frozen=True)
class _Part:
    name: str
    loss: str
    output: str | None


@dataclass
class _Traced:
    """What is known of the objective once it has run, or was traced, for one form of batch."""

    terms: list[_Part]
    penalties: list[Penalty]
    weights: list[Any]
    run: Callable[..., Any] | None = None


class Unmeasurable(Exception):  # noqa: N818 - an answer, not an error
    """The account of a step cannot be had; the text says why."""


class Probe:
    """Measures steps of one model.

    Args:
        model: A model in the middle of `fit`.
    """

    def __init__(self, model: Any) -> None:
        self.model = model
        self.backend = running_backend()
        self.own = type(model).compute_loss is not keras.Model.compute_loss
        self.kept: dict[Any, Any] = {}
        """For `Backend.taken`."""
        self._known: dict[Any, _Traced] = {}
        self._changes = Changes()
        self._changes.begin(roots(model, None))
        if type(model).train_step is not keras.Model.train_step and not _falls_back(model):
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

    def measure(self, data: Any, state: tuple[Any, ...] | None, with_gradients: bool) -> Entry | None:
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
        if known is None:
            if sum(key[0] == with_gradients for key in self._known) >= MOST_FORMS:
                return None
            known = self._known[form] = _Traced([], [], [])
            known.run = self._staged(known, batch, with_gradients)
        assert known.run is not None
        trainable, others = self._state(state)
        with self.backend.kept_randomness(), self._changes.moved_inside():
            raw = known.run(*trainable, *others, *tensors)
        return self._entry(known, [None if one is None else self.backend.numpy(one) for one in raw], batch)

    # The computation -------------------------------------------------------------------------------------------------

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

    def _staged(self, known: _Traced, example: Batch, with_gradients: bool) -> Callable[..., Any]:
        trained, others = list(self.model.trainable_variables), self._others()
        structure = (example.x, example.y, example.sample_weight)
        flat = keras.tree.flatten(structure)
        taken = [self.backend.is_tensor(leaf) for leaf in flat]

        def run(*tensors: Any) -> tuple[Any, ...]:
            weights = list(tensors[: len(trained)])
            mapping = list(zip(others, tensors[len(trained) : len(trained) + len(others)], strict=True))
            given = iter(tensors[len(trained) + len(others) :])
            leaves = [next(given) if is_tensor else leaf for leaf, is_tensor in zip(flat, taken, strict=True)]
            batch = Batch(*keras.tree.pack_sequence_as(structure, leaves)) if flat else example
            return self._parts(known, trained, weights, mapping, batch, with_gradients)

        if self.backend.name == "torch" or self.model.run_eagerly:
            return run
        return self.backend.stages(run, "jit" if self.backend.name == "jax" else "graph")

    def _parts(
        self,
        known: _Traced,
        trained: list[Any],
        weights: list[Any],
        mapping: list[tuple[Any, Any]],
        batch: Batch,
        with_gradients: bool,
    ) -> tuple[Any, ...]:
        """Values of terms, of penalties, the total, the factors of terms and penalties, the learning rate, the Grams."""

        def values(*tensors: Any) -> list[Any]:
            terms, penalties, total = self._forward(known, trained, tensors, mapping, batch)
            return [*terms, *penalties, total]

        def rows(*tensors: Any) -> tuple[list[Any], list[Any]]:
            """What is differentiated: each term, the regularizers together, each `add_loss`, the total of a user's."""
            found = values(*tensors)
            count = len(known.terms)
            penalties = list(zip(found[count:-1], known.penalties, strict=True))
            regularization = [value for value, one in penalties if one.kind != "add_loss"]
            together = [sum(regularization[1:], regularization[0])] if regularization else []
            added = [value for value, one in penalties if one.kind == "add_loss"]
            return [*found[:count], *together, *added, *([found[-1]] if self.own else [])], found

        products = None
        if with_gradients:
            gradients, found = self.backend.gradients(rows, weights)
            products = gram(gradients, weights)
        else:
            found = values(*[self.backend.detached(one) for one in weights])
        factors = self._factors(known, trained, weights, mapping, batch)
        stacked = keras.ops.stack([keras.ops.cast(value, "float32") for value in found])
        return stacked, factors, self._learning_rate(mapping), products

    def _forward(
        self,
        known: _Traced,
        trained: list[Any],
        tensors: Sequence[Any],
        mapping: list[tuple[Any, Any]],
        batch: Batch,
        shift: dict[int, Any] | None = None,
        factor: Any = None,
    ) -> tuple[list[Any], list[Any], Any]:
        model = self.model
        with ExitStack() as stack:
            hearing = stack.enter_context(listening(shift=shift))
            adding = stack.enter_context(heard_adding())
            scope = keras.StatelessScope([*mapping, *zip(trained, tensors, strict=True)], collect_losses=True)
            stack.enter_context(scope)
            y_pred = model(batch.x, training=True) if keras_private.takes_training(model) else model(batch.x)
            losses = list(model.losses)
            penalties = penalties_of(model, losses, adding)
            if factor is not None:
                stack.enter_context(scaled_losses(factor))
            total = self._total(batch, y_pred, losses if factor is None else [one * factor for one in losses])
        entries = list(keras_private.flat_losses(model))
        matched = []
        for heard in hearing.losses:
            entry = next((one for one in entries if one[1] is heard.target), None)
            if entry is not None:
                entries.remove(entry)
            matched.append(entry)
        several = sum(entry is not None for entry in matched) > 1
        named = [_part(heard.target, entry, several) for heard, entry in zip(hearing.losses, matched, strict=True)]
        names = unique([part.name for part in named])
        known.terms[:] = [_Part(n, part.loss, part.output) for n, part in zip(names, named, strict=True)]
        known.penalties[:] = penalties
        known.weights[:] = [None if entry is None else entry[2] for entry in matched]
        return [keras.ops.sum(one.result) for one in hearing.losses], [keras.ops.sum(one) for one in losses], total

    def _total(self, batch: Batch, y_pred: Any, losses: list[Any]) -> Any:
        model = self.model
        named = {"training": True} if "training" in inspect.signature(model.compute_loss).parameters else {}
        override = self.backend.name == "jax" and bool(losses)
        if override:
            keras_private.use_forward_losses(model, losses)
        try:
            return model.compute_loss(x=batch.x, y=batch.y, y_pred=y_pred, sample_weight=batch.sample_weight, **named)
        finally:
            if override:
                keras_private.use_forward_losses(model, [])

    def _factors(
        self, known: _Traced, trained: list[Any], weights: list[Any], mapping: list[tuple[Any, Any]], batch: Batch
    ) -> Any:
        """How far the total moves with each term, and with the penalties: read from `compile`, or by autodiff."""
        if not self.own:
            read = [1.0 if weight is None else weight for weight in known.weights]
            return keras.ops.stack(
                [keras.ops.cast(keras.ops.convert_to_tensor(one), "float32") for one in (*read, 1.0)]
            )
        count = len(known.terms)
        start = [keras.ops.zeros(()) for _ in range(count)] + [keras.ops.ones(())]

        def total(*inputs: Any) -> tuple[list[Any], None]:
            shift = dict(enumerate(inputs[:count]))
            return [self._forward(known, trained, weights, mapping, batch, shift, inputs[count])[2]], None

        rows, _ = self.backend.gradients(total, start)
        return keras.ops.stack(
            [keras.ops.zeros(()) if one is None else keras.ops.cast(one, "float32") for one in rows[0]]
        )

    def _learning_rate(self, mapping: list[tuple[Any, Any]]) -> Any:
        optimizer = self.model.optimizer
        if optimizer is None:
            return None
        with suppress(Exception), keras.StatelessScope(mapping):
            return keras.ops.cast(keras.ops.convert_to_tensor(optimizer.learning_rate), "float32")
        return None

    # The entry -------------------------------------------------------------------------------------------------------

    def _entry(self, known: _Traced, raw: Sequence[Any], batch: Batch) -> Entry:
        values, factors, rate, products = (None if one is None else np.asarray(one, dtype="float64") for one in raw)
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
        if self.own:  # the derivative by a common factor of all penalties
            counted = counted / float(added.sum()) if added.size and added.sum() else 1.0
        penalties = tuple(
            PenaltyEntry(one.name, one.kind, one.layer, one.what, float(value), counted, counted * float(value))
            for one, value in zip(known.penalties, added, strict=True)
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
            names = [part.name for part in known.terms]
            if any(one.kind != "add_loss" for one in known.penalties):
                names.append("regularization")
            names += [one.name for one in known.penalties if one.kind == "add_loss"]
            weights = [*factors[:count], *([counted] * (len(names) - count))]
            gradients = gradient_entry(names, weights, products, self.own and not entry.closes, self.model)
        return replace(entry, cause=cause, gradients=gradients)


def _part(loss: Any, entry: tuple[Any, ...] | None, several: bool) -> _Part:
    words = name_of(loss)
    output = str(entry[3]) if entry is not None and several else None
    return _Part(output if output is not None else words, words, output)


def _rows(batch: Batch) -> int | None:
    leaves = [leaf for leaf in keras.tree.flatten(batch.x) if leaf is not None and len(leaf.shape)]
    return int(leaves[0].shape[0]) if leaves else None


def _falls_back(model: Any) -> bool:
    """Whether the step is that of `lossproof.Trainer`: whatever it does with gradients, its loss is `compute_loss`."""
    return str(type(model).train_step.__module__).startswith("lossproof.objective.")
