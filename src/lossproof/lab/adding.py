"""What layers of the user's own add to the loss by `add_loss` in their `call`, as subjects that can be traced."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from lossproof import keras_private
from lossproof.capture.userfiles import is_user_file, is_user_function
from lossproof.lab.backends.base import Tensor
from lossproof.lab.lab import Lab
from lossproof.lab.replace import replaced
from lossproof.lab.subject import Subject


@dataclass(frozen=True)
class AddingSubject(Subject):
    """The `call` of a layer with what it received; `x` is its first argument."""

    arguments: tuple[Any, ...] = ()
    added: float = 0.0

    def total(self) -> Tensor:
        return keras.ops.convert_to_tensor(self.added)

    def unreduced(self) -> Tensor:
        return self.total()

    def traceable(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.function, self.arguments


def adding_subjects(lab: Lab) -> tuple[AddingSubject, ...]:
    """Those of one forward pass on the captured batch, in its order."""
    calls: dict[int, tuple[tuple[Any, ...], dict[str, Any]]] = {}
    added: dict[int, tuple[Any, float]] = {}

    def noting_call(original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)  # Keras reads the signature
        def call(layer: Any, *args: Any, **named: Any) -> Any:
            calls[id(layer)] = args, named
            return original(layer, *args, **named)

        return call

    def noting_loss(original: Callable[..., Any]) -> Callable[..., Any]:
        def add_loss(layer: Any, loss: Any) -> Any:
            here = inspect.currentframe()
            caller = here.f_back if here is not None else None
            if caller is not None and is_user_file(caller.f_code.co_filename):
                amount = sum(float(np.sum(lab.number(one))) for one in keras.tree.flatten(loss))
                added[id(layer)] = layer, added.get(id(layer), (layer, 0.0))[1] + amount
            return original(layer, loss)

        return add_loss

    layers = [one for one in keras_private.layers_of(lab.capture.model) if is_user_function(type(one).call)]
    owners = {next(base for base in type(one).__mro__ if "call" in vars(base)) for one in layers}
    with lab.undisturbed(), ExitStack() as stack:
        stack.enter_context(replaced(keras.layers.Layer, "add_loss", noting_loss))
        for owner in owners:
            stack.enter_context(replaced(owner, "call", noting_call))
        with lab.model.scope():
            lab.model.forward(lab.batch.x)
    found = []
    for layer, amount in added.values():
        if id(layer) not in calls:
            continue
        args, named = calls[id(layer)]
        function = functools.partial(layer.call, **named) if named else layer.call
        found.append(
            AddingSubject(
                kind="add_loss",
                name=f"{type(layer).__name__}.add_loss of {layer.name}",
                function=function,
                y_true=None,
                y_pred=None,
                x=args[0] if args else None,
                arguments=args,
                added=amount,
            )
        )
    return tuple(found)
