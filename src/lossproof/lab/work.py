"""How much work a forward pass is, by what its layers hold, so that a search is as long on every machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from typing import Any

import keras

from lossproof import keras_private
from lossproof.lab.localize.shapes import shape_of
from lossproof.lab.replace import replaced


@dataclass
class Work:
    """The work of the layers that were called."""

    multiplications: float = 0.0


@contextmanager
def counted() -> Iterator[Work]:
    """Inside, the work of each layer that is called is added up: its weights, once for every row and position.

    That is what a dense, a recurrent (a position is a time step) and a convolutional layer (a place in the picture) come
    to; the elements of what comes out are added for the others. Layers that a layer with weights of its own calls, such as
    the cell of a recurrent one, are counted with it.
    """
    work = Work()
    inside = 0

    def around(original: Callable[..., Any]) -> Callable[..., Any]:
        def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
            nonlocal inside
            counts = inside == 0 and not _holds_layers(layer)
            inside += counts
            try:
                result = original(layer, *args, **kwargs)
            finally:
                inside -= counts
            if counts:
                given = [_sizes(leaf) for leaf in keras.tree.flatten((args, result))]
                places = max((prod(sizes[:-1]) for sizes in given), default=1)
                looked_up = isinstance(layer, keras.layers.Embedding)  # and not multiplied
                weights = 0 if looked_up else sum(prod(tuple(variable.shape)) for variable in layer.weights)
                made = sum(prod(_sizes(leaf)) for leaf in keras.tree.flatten(result))
                work.multiplications += float(places * weights + made)
            return result

        return call

    with replaced(keras.layers.Layer, "__call__", around):
        yield work


def _sizes(leaf: Any) -> list[int]:
    return [size or 1 for size in shape_of(leaf) or ()]


def _holds_layers(layer: Any) -> bool:
    return not isinstance(layer, keras.layers.RNN) and any(one is not layer for one in keras_private.layers_of(layer))
