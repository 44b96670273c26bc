"""What an account of a step computes: one forward pass beside the step, with the derivatives that are wanted of it.

It runs eagerly or is traced; it reads the model's state and writes none of it. How much each loss weighs in a
`compute_loss` of the user's own is the derivative of the total with respect to what is added to that loss, which is 0.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import Any

import keras

from lossproof import keras_private
from lossproof.lab.backends import running_backend
from lossproof.lab.listen import listening
from lossproof.lab.received import Batch
from lossproof.lab.wiring.added_losses import scaled_losses
from lossproof.lab.wiring.compiled import name_of
from lossproof.ledger.account import term_names
from lossproof.ledger.gradients import gram
from lossproof.ledger.penalties import Penalty, heard_adding, penalties_of, rest_of

MOST_LOSSES = 256
"""Whose weight in a `compute_loss` of the user's can be measured."""


@dataclass(frozen=True)
class Part:
    """A loss that was heard."""

    name: str
    loss: str
    output: str | None


@dataclass(frozen=True)
class Numbers:
    """What a computation returns, as tensors."""

    values: Any
    """Of the terms, of the penalties, and the total: shape (T + P + 1,), float32."""
    factors: Any
    """How far the total moves with each term, and last with a common factor of the penalties: shape (T + 1,)."""
    learning_rate: Any
    """A scalar; None without an optimizer."""
    products: Any
    """The inner products of the parts' gradients, see `gradients.gram`; None where they are not wanted."""


class Computation:
    """The account of one form of batch.

    Args:
        model: A model in the middle of `fit`.
        with_gradients: Whether the gradient of each part is wanted.
        measured: Whether the weights of the losses are measured; else they are read from `compile`.

    Attributes:
        terms: The losses that were heard when it ran, or was traced.
        penalties: What is added to them.
    """

    def __init__(self, model: Any, with_gradients: bool, measured: bool) -> None:
        self.model = model
        self.measured = measured
        self.with_gradients = with_gradients
        self.backend = running_backend()
        self.terms: list[Part] = []
        self.penalties: list[Penalty] = []
        self._weights: list[Any] = []

    def run(self, weights: Sequence[Any], mapping: Sequence[tuple[Any, Any]], batch: Batch) -> Numbers:
        """Compute everything.

        Args:
            weights: Values of the trainable variables.
            mapping: Other variables with their values; those left out are read as they are.
            batch: What the step receives.
        """
        count = len(weights)
        extra = [keras.ops.zeros((MOST_LOSSES,)), keras.ops.ones(())] if self.measured else []

        def differentiated(*tensors: Any) -> tuple[list[Any], list[Any]]:
            values = self._forward(tensors[:count], mapping, batch, *tensors[count:])
            driving = self._driving(values) if self.with_gradients else []
            return [*driving, *(values[-1:] if self.measured else ())], values

        products = None
        if self.with_gradients or self.measured:
            given = weights if self.with_gradients else [self.backend.detached(one) for one in weights]
            inputs = [*given, *extra] if self.with_gradients else extra
            function = differentiated if self.with_gradients else lambda *more: differentiated(*given, *more)
            rows, values = self.backend.gradients(function, inputs)
            factors = self._derived(rows[-1][-2:]) if self.measured else self._read()
            if self.with_gradients:
                products = gram([row[:count] for row in rows], weights)
        else:
            values = self._forward([self.backend.detached(one) for one in weights], mapping, batch)
            factors = self._read()
        stacked = keras.ops.stack([keras.ops.cast(value, "float32") for value in values])
        return Numbers(stacked, factors, self._learning_rate(mapping), products)

    def _driving(self, values: Sequence[Any]) -> list[Any]:
        """What drives the weights: each term, the regularizers together, each other penalty."""
        count = len(self.terms)
        penalties = list(zip(values[count:-1], self.penalties, strict=True))
        regularization = [value for value, one in penalties if one.regularizes]
        together = [sum(regularization[1:], regularization[0])] if regularization else []
        return [*values[:count], *together, *(value for value, one in penalties if not one.regularizes)]

    @property
    def driving(self) -> list[str]:
        """The names of these parts."""
        together = ["regularization"] if any(one.regularizes for one in self.penalties) else []
        others = [one.name for one in self.penalties if not one.regularizes]
        return [*(one.name for one in self.terms), *together, *others]

    def _forward(
        self,
        weights: Sequence[Any],
        mapping: Sequence[tuple[Any, Any]],
        batch: Batch,
        shift: Any = None,
        factor: Any = None,
    ) -> list[Any]:
        model = self.model
        with ExitStack() as stack:
            hearing = stack.enter_context(listening(shift=None if shift is None else _Shift(shift)))
            adding = stack.enter_context(heard_adding())
            scope = [*mapping, *zip(model.trainable_variables, weights, strict=True)]
            stack.enter_context(keras.StatelessScope(scope, collect_losses=True))
            y_pred = model(batch.x, training=True) if keras_private.takes_training(model) else model(batch.x)
            losses = list(model.losses)
            penalties = penalties_of(model, losses, adding)
            added = [keras.ops.sum(one) for one in losses]
            if factor is not None:
                stack.enter_context(scaled_losses(factor))
                losses = [one * factor for one in losses]
            total = self._total(batch, y_pred, losses)
            rest = rest_of(model)
        self._note([one.target for one in hearing.losses])
        self.penalties[:] = [*penalties, *([] if rest is None else [rest[0]])]
        heard = [keras.ops.sum(one.result) for one in hearing.losses]
        return [*heard, *added, *([] if rest is None else [rest[1]]), total]

    def _note(self, heard: Sequence[Any]) -> None:
        entries = list(keras_private.flat_losses(self.model))
        matched = []
        for loss in heard:
            entry = next((one for one in entries if one[1] is loss), None)
            if entry is not None:
                entries.remove(entry)
            matched.append(entry)
        several = sum(entry is not None for entry in matched) > 1
        words = [name_of(loss) for loss in heard]
        outputs = [str(entry[3]) if entry is not None and several else None for entry in matched]
        names = term_names(self.model, [output or word for output, word in zip(outputs, words, strict=True)])
        self.terms[:] = [Part(*one) for one in zip(names, words, outputs, strict=True)]
        self._weights[:] = [None if entry is None else entry[2] for entry in matched]

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

    def _derived(self, row: Sequence[Any]) -> Any:
        by_shift, by_factor = (
            keras.ops.zeros(shape) if one is None else keras.ops.cast(one, "float32")
            for one, shape in zip(row, ((MOST_LOSSES,), ()), strict=True)
        )
        return keras.ops.concatenate([by_shift[: len(self.terms)], keras.ops.reshape(by_factor, (1,))])

    def _read(self) -> Any:
        read = [1.0 if weight is None else weight for weight in self._weights]
        return keras.ops.stack([keras.ops.cast(keras.ops.convert_to_tensor(one), "float32") for one in (*read, 1.0)])

    def _learning_rate(self, mapping: Sequence[tuple[Any, Any]]) -> Any:
        optimizer = self.model.optimizer
        if optimizer is None:
            return None
        with suppress(Exception), keras.StatelessScope(list(mapping)):
            return keras.ops.cast(keras.ops.convert_to_tensor(optimizer.learning_rate), "float32")
        return None


class _Shift(Mapping[int, Any]):
    """What is added to the loss heard first, second, ...: the entries of a vector, of as many as there turn out to be."""

    def __init__(self, vector: Any) -> None:
        self._vector = vector

    def __getitem__(self, position: int) -> Any:
        if not 0 <= position < MOST_LOSSES:
            raise KeyError(position)
        return self._vector[position]

    def __iter__(self) -> Any:
        return iter(range(MOST_LOSSES))

    def __len__(self) -> int:
        return MOST_LOSSES
