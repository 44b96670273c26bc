"""Symbolic tensors that an objective reads, and the objective with their values of the same forward pass."""

from __future__ import annotations

import functools
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np

from lossproof import keras_private
from lossproof.capture.place import place_of_frame
from lossproof.capture.userfiles import is_user_file
from lossproof.capture.values import Slot, reachable
from lossproof.findings.finding import Place
from lossproof.lab.backends.base import Tensor
from lossproof.lab.execution.following import place_of_reading
from lossproof.lab.lab import Lab
from lossproof.lab.replace import replaced
from lossproof.lab.wiring.compiled import CompiledObjective
from lossproof.rules.rule import NotApplicable

ROUNDS = 4
"""An objective fails at its first symbolic tensor; how often one more is looked for."""


@dataclass(frozen=True)
class Symbol:
    """A symbolic tensor of the model's graph that the objective reads.

    `slot` is where it is held (a closure's cell, a global, an attribute, ...); None where it is read from a layer
    (`layer.output`) while the objective runs.
    """

    name: str
    layer: str | None
    shape: tuple[int | None, ...]
    tensor: Any = field(compare=False)
    slot: Slot | None = field(default=None, compare=False)
    where: Place | None = None
    """The expression that reads it."""


@dataclass(frozen=True)
class Replayed:
    """The objective with the symbols that it needs replaced by their values."""

    symbols: tuple[Symbol, ...]
    total: float


def replayed(lab: Lab) -> Replayed | None:
    """The objective on the captured batch once its symbolic tensors have values; None where that is not the remedy.

    The symbols are those without whose value the objective still raises.
    """
    try:
        return _Replay(lab).run()
    except NotApplicable:
        raise
    except Exception:  # a graph that Keras cannot cut here, a value that cannot be put in place
        return None


class _Replay:
    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.compiled = CompiledObjective(lab)
        self.batch = self.compiled.received()

    def run(self) -> Replayed | None:
        if self.compiled.attempt() is not None:
            return None
        symbols = self._held()
        for _ in range(ROUNDS):
            reads: list[Symbol] = []
            total = self._total(symbols, reads)
            if total is not None:
                needed = [one for one in symbols if self._total([s for s in symbols if s is not one], []) is None]
                return Replayed(tuple(needed), total) if needed else None
            known = {id(one.tensor) for one in symbols if one.slot is None}
            new = [one for one in reads if id(one.tensor) not in known]
            if not new:
                return None
            symbols += new[:1]
        return None

    def _held(self) -> list[Symbol]:
        """The symbolic tensors in reach of the losses and metrics."""
        told, model = self.compiled.arguments, self.lab.capture.model
        roots: dict[str, Any] = {}
        for argument in (told.loss, told.metrics, told.weighted_metrics):
            for leaf in keras.tree.flatten(argument):
                if leaf is not None and not isinstance(leaf, str):
                    roots[f"{self.compiled.name_of(leaf)}#{len(roots)}"] = leaf
        if self.lab.overrides_compute_loss or self.lab.overrides_train_step:
            roots[model.name] = model
        slots = reachable(roots, lambda value: isinstance(value, keras.KerasTensor))
        found = {(slot.name, id(slot.read())): slot for slot in slots}
        return [_symbol(_shown(slot), slot.read(), slot, place_of_reading(slot)) for slot in found.values()]

    def _total(self, symbols: Sequence[Symbol], reads: list[Symbol]) -> float | None:
        """The total with these symbols replaced; `reads` receives the symbols that are read from layers meanwhile."""
        outputs, values = self._values([one.tensor for one in symbols])
        replacement = {id(one.tensor): value for one, value in zip(symbols, values, strict=True)}
        try:
            with ExitStack() as stack:
                for symbol, value in zip(symbols, values, strict=True):
                    if symbol.slot is not None:
                        stack.enter_context(_written(symbol.slot, value))
                from_layers = {id(one.tensor): replacement[id(one.tensor)] for one in symbols if one.slot is None}
                stack.enter_context(_read_from_layers(self.lab.capture.model, from_layers, reads))
                total = self.compiled.evaluate(batch=self.batch, y_pred=outputs, with_metrics=True).total
        except Exception:  # a symbol is left, or something else is wrong with the objective
            return None
        return total if np.isfinite(total) else None

    def _values(self, tensors: Sequence[Any]) -> tuple[Any, list[Tensor]]:
        """The outputs and the values of symbolic tensors, in one forward pass in training mode."""
        if not tensors:
            return self.compiled.forward.y_pred, []
        model = self.lab.capture.model
        with self.lab.model.scope():
            try:
                flat = keras.tree.flatten(model.outputs)
                values = keras.tree.flatten(_tap(model, [*flat, *tensors])(self.batch.x, training=True))
            except ValueError:  # a tensor of a model within the model, whose inputs are its own
                with _inputs_heard() as heard:
                    y_pred = self.lab.model.forward(self.batch.x).y_pred
                return y_pred, [_inner_value(tensor, heard) for tensor in tensors]
        return keras.tree.pack_sequence_as(self.compiled.forward.y_pred, values[: len(flat)]), values[len(flat) :]


def _tap(model: Any, tensors: Sequence[Any]) -> Any:
    """A model from the inputs of another to tensors of its graph; a ValueError where they are not of its graph."""
    structure = getattr(model, "input", None)
    return keras.Model(structure if structure is not None else model.inputs, list(tensors))


@contextmanager
def _inputs_heard() -> Iterator[list[tuple[Any, Any]]]:
    """Inside, each call of a model is noted with its inputs."""
    heard: list[tuple[Any, Any]] = []

    def make(original: Any) -> Any:
        def call(self: Any, x: Any, *args: Any, **kwargs: Any) -> Any:
            heard.append((self, x))
            return original(self, x, *args, **kwargs)

        return call

    with replaced(keras.Model, "__call__", make):
        yield heard


def _inner_value(tensor: Any, heard: Sequence[tuple[Any, Any]]) -> Tensor:
    """The value of a symbolic tensor of one of the models that were called."""
    for model, x in heard:
        try:
            tap = _tap(model, [tensor])
        except (ValueError, AttributeError):  # not of this model's graph, or a model without one
            continue
        return keras.tree.flatten(tap(x, training=True))[0]
    raise ValueError("the tensor belongs to no model that takes part")


def _symbol(name: str, tensor: Any, slot: Slot | None, where: Place | None) -> Symbol:
    return Symbol(name, keras_private.layer_of(tensor), tuple(tensor.shape), tensor, slot, where)


def _shown(slot: Slot) -> str:
    """How the user's code calls what a slot holds."""
    name, word = re.sub("#[0-9]+", "", slot.name), slot.word
    return word if word is not None and not name.startswith(word) and not name.endswith(f".{word}") else name


@contextmanager
def _written(slot: Slot, value: Any) -> Iterator[None]:
    before = slot.read()
    slot.write(value)
    try:
        yield
    finally:
        slot.write(before)


@contextmanager
def _read_from_layers(model: Any, values: dict[int, Tensor], reads: list[Symbol]) -> Iterator[None]:
    """Inside, `layer.output` and the like, read by the user's code, are noted and answered with `values`."""
    classes = {cls for layer in _layers(model) for cls in type(layer).__mro__}
    with ExitStack() as stack:
        for cls in classes:
            for key in ("input", "output", "inputs", "outputs"):
                if isinstance(vars(cls).get(key), property):
                    stack.enter_context(_answered(cls, key, values, reads))
        yield


@contextmanager
def _answered(cls: type, key: str, values: dict[int, Tensor], reads: list[Symbol]) -> Iterator[None]:
    original = vars(cls)[key]

    def answer(self: Any) -> Any:
        told = original.fget(self)
        reader = sys._getframe(1)  # noqa: SLF001 - documented, there is no other way
        if not is_user_file(reader.f_code.co_filename):
            return told
        reads.extend(
            _symbol(f"{self.name}.{key}", tensor, None, place_of_frame(reader))
            for tensor in keras.tree.flatten(told)
            if isinstance(tensor, keras.KerasTensor) and id(tensor) not in values
        )
        return keras.tree.map_structure(lambda tensor: values.get(id(tensor), tensor), told)

    setattr(cls, key, property(functools.wraps(original.fget)(answer)))
    try:
        yield
    finally:
        setattr(cls, key, original)


def _layers(model: Any) -> Iterator[Any]:
    yield model
    for layer in getattr(model, "layers", ()):
        yield from _layers(layer)
