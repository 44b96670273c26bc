"""Who calls the layer that owns some weights."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import keras

from lossproof.capture.place import user_place
from lossproof.capture.userfiles import is_user_file
from lossproof.findings.finding import Place
from lossproof.lab.blind import quiet
from lossproof.lab.lab import Lab
from lossproof.lab.replace import replaced


def called_at(lab: Lab, variables: set[int]) -> Place | None:
    """Where the `call` of the captured model, and nothing else, calls the layer that owns some variables."""
    found: list[Place | None] = []
    model = lab.capture.model

    def make(original: Callable[..., Any]) -> Callable[..., Any]:
        def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
            if layer is not model and variables & {id(v) for v in layer.trainable_variables}:
                found.append(_from_call_of(model))
            return original(layer, *args, **kwargs)

        return call

    with quiet(lab), replaced(keras.layers.Layer, "__call__", make), lab.model.scope():
        lab.model.forward(lab.batch.x)
    return found[0] if found and None not in found else None


def _from_call_of(model: Any) -> Place | None:
    frame = sys._getframe(2)  # noqa: SLF001 - documented, there is no other way
    while frame is not None and frame.f_code.co_filename.startswith(_KERAS):
        frame = frame.f_back  # type: ignore[assignment]
    own = frame is not None and frame.f_code.co_name == "call" and frame.f_locals.get("self") is model
    return user_place() if own and is_user_file(frame.f_code.co_filename) else None


_KERAS = str(keras.__path__[0])
