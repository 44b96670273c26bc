"""What an argument of a term can refer to: a target, an output, an input, a layer's output, sample weights, the step."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Self

import keras

PACKAGE = "lossproof"
"""Under which Keras registers what is saved with a Trainer."""


@dataclass(frozen=True)
class Reference:
    """Something of a training step that a term takes as an argument. It is data only; a Trainer looks it up."""

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """The reference that `get_config` described."""
        return cls(**config)


@keras.saving.register_keras_serializable(PACKAGE)
@dataclass(frozen=True)
class Target(Reference):
    """A target by its key in `y`; see `target`."""

    name: str | None = None
    dtype: str | None = None

    def __str__(self) -> str:
        return f"lp.target({self.name!r})" if self.name is not None else "lp.target()"


@keras.saving.register_keras_serializable(PACKAGE)
@dataclass(frozen=True)
class Output(Reference):
    """An output of the model; see `output`."""

    name: str | int | None = None

    def __str__(self) -> str:
        return f"lp.output({self.name!r})" if self.name is not None else "lp.output()"


@keras.saving.register_keras_serializable(PACKAGE)
@dataclass(frozen=True)
class Input(Reference):
    """An input of the model; see `input`."""

    name: str | None = None

    def __str__(self) -> str:
        return f"lp.input({self.name!r})" if self.name is not None else "lp.input()"


@keras.saving.register_keras_serializable(PACKAGE)
@dataclass(frozen=True)
class LayerOutput(Reference):
    """What a layer gives in the forward pass; see `layer`."""

    layer: Any = None
    call: int | None = None
    output: int | None = None

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor, a layer or tensor by its name."""
        given = self.layer
        return {**super().get_config(), "layer": given if isinstance(given, str) else given.name}

    def __str__(self) -> str:
        named = self.layer if isinstance(self.layer, str) else getattr(self.layer, "name", str(self.layer))
        more = "".join(f", {key}={getattr(self, key)}" for key in ("call", "output") if getattr(self, key) is not None)
        return f"lp.layer({named!r}{more})"


@keras.saving.register_keras_serializable(PACKAGE)
@dataclass(frozen=True)
class SampleWeight(Reference):
    """The sample weights; see `sample_weight`."""

    target: str | None = None

    def __str__(self) -> str:
        return f"lp.sample_weight({self.target!r})" if self.target is not None else "lp.sample_weight()"


@keras.saving.register_keras_serializable(PACKAGE)
@dataclass(frozen=True)
class Step(Reference):
    """The number of optimizer steps so far; see `step`."""

    def __str__(self) -> str:
        return "lp.step()"


def target(name: str | None = None, dtype: str | None = None) -> Target:
    """Refer to a target, for `lp.Term(f, y_true=lp.target("rating"))`.

    Where `fit` is given a dict as y, its keys are the names; they need not be names of outputs. A list has the names of
    the model's outputs, in their order. A single array answers to any name, if the objective names only one target.

    Args:
        name: Key of the target; None for the only one.
        dtype: What to cast it to. None for what Keras does to targets: float32 (`keras.config.floatx()`), which holds
            integers up to 16,777,216 exactly. `"int32"` keeps larger ones.
    """
    _check_name("target", name)
    return Target(name, None if dtype is None else keras.backend.standardize_dtype(dtype))


def output(name: str | int | None = None) -> Output:
    """Refer to an output of the model, for `lp.Term(f, mean=lp.output("mean"))`.

    Args:
        name: The key in a dict of outputs; else the name that Keras gives the output (of a Functional model, the name of
            the layer that makes it); else its position. None for the only one.

    The tensor has the shape of the output; it is cast to float32 if it is of lower precision, as Keras does.
    """
    if isinstance(name, bool) or not isinstance(name, (str, int, type(None))):
        raise TypeError(f"lp.output takes the name or the position of an output, found {name!r}.")
    return Output(name)


def input(name: str | None = None) -> Input:  # noqa: A001 - the public name is `lp.input`
    """Refer to an input of the model, as it was passed to the model. Integers stay integers.

    Args:
        name: Its key in a dict of inputs, or the name of the `keras.Input`. None for the only one.
    """
    _check_name("input", name)
    return Input(name)


def layer(layer: Any, *, call: int | None = None, output: int | None = None) -> LayerOutput:
    """Refer to what a layer gives in the same forward pass that makes the outputs.

    Args:
        layer: The name of a layer (`"z_mean"`; inside nested models also `"encoder/z_mean"`), the layer itself, or the
            symbolic tensor of a Functional model. The layer has to be part of what the Trainer's model computes.
        call: Of a layer that is called several times, which call, counted from 0 in the order in which they were written.
        output: Of a layer that gives several tensors, which one, counted from 0.

    A subclassed model has no graph in which a layer's output could be found. Let it return its intermediates in a dict
    with its outputs, and refer to them by `lp.output`.
    """
    if not isinstance(layer, (str, keras.Layer, keras.KerasTensor)):
        raise TypeError(
            f"lp.layer takes a layer's name, a keras Layer or a symbolic tensor, found {type(layer).__name__}: {layer!r}."
        )
    for what, value in (("call", call), ("output", output)):
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 0):
            raise ValueError(f"lp.layer({what}=...) counts from 0, found {value!r}.")
    if isinstance(layer, keras.KerasTensor) and (call is not None or output is not None):
        raise ValueError("lp.layer of a symbolic tensor is one tensor already: leave out call= and output=.")
    return LayerOutput(layer, call, output)


def sample_weight(target: str | None = None) -> SampleWeight:
    """Refer to the sample weights (after class_weight), shape (batch,) or as passed; None where there are none.

    A term that takes them as an argument weights its samples itself, so they are not applied to its values again.

    Args:
        target: Whose weights, where `fit` is given one array per target. None for those of the term's own target.
    """
    _check_name("sample_weight", target)
    return SampleWeight(target)


def step() -> Step:
    """Refer to the number of optimizer steps made before this one: a scalar int32 tensor, 0 at first.

    With `gradient_accumulation_steps=k` it grows once in k batches, like `optimizer.iterations`. A step that float16
    loss scaling skips is counted here. `compile` does not reset it, and it is saved with the Trainer.
    """
    return Step()


def _check_name(what: str, name: Any) -> None:
    if name is not None and not isinstance(name, str):
        raise TypeError(f"lp.{what} takes a name, found {type(name).__name__}: {name!r}.")
