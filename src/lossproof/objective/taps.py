"""Takes the values of symbolic tensors out of a model's own forward pass.

Each model on the way to a tapped tensor runs, for the time of one call, an extended graph: the same layers and nodes, with
the tapped tensors as further outputs. It is the same computation, so that dropout masks and updates of BatchNorm are those
of the outputs. The values travel with the outputs to the loss as Keras's own masks do: attached to a tensor, so that they
belong to one trace and one thread, and go when it goes.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import keras

from lossproof import keras_private
from lossproof.objective.attached import Attachment, first_of
from lossproof.objective.binding import Bound
from lossproof.objective.graph import Place

Tensor = Any
Key = tuple[int, ...]

_LOCK = threading.RLock()


class _Extended:
    """One model of the way, with what is to be read in its graph; the extended graph has no new nodes on the user's layers."""

    def __init__(self, model: Any, tensors: dict[Key, Any]) -> None:
        self.model = model
        self.keys = tuple(tensors)
        structure = {"outputs": keras_private.output_structure(model), "taps": list(tensors.values())}
        self.graph = keras.Model(keras_private.input_structure(model), structure)
        self.users = 0


class Taps:
    """The tapped tensors of one model.

    Args:
        places: Where they are made.
    """

    def __init__(self, places: Sequence[Place]) -> None:
        self._collected = threading.local()
        self._attachment = Attachment()
        owners: dict[int, tuple[Any, dict[Key, Any]]] = {}
        for place in places:
            owner = place.models[-1]
            owners.setdefault(id(owner), (owner, {}))[1][place.key] = place.tensor
        self._extended = [_Extended(owner, tensors) for owner, tensors in owners.values()]

    def __bool__(self) -> bool:
        return bool(self._extended)

    def call(self, forward: Callable[[], Any]) -> Any:
        """Run `forward`, which calls the model, and attach the tapped values to what it returns."""
        values: dict[Key, Tensor] = {}
        outer = getattr(self._collected, "values", None)
        self._collected.values = values
        try:
            with self._installed():
                outputs = forward()
        finally:
            self._collected.values = outer
        # What is kept for the outputs must not hold them: a tap that is the first output is left out.
        first = first_of(outputs)
        self._attachment.attach(outputs, {key: value for key, value in values.items() if value is not first})
        return outputs

    def values(self, outputs: Any) -> dict[Key, Tensor] | None:
        """The values of the forward pass that returned these outputs, by `Place.key`; None if it is not known."""
        kept: dict[Key, Tensor] | None = self._attachment.of(outputs)
        if kept is None:
            return None
        first = first_of(outputs)
        return {key: kept.get(key, first) for one in self._extended for key in one.keys}

    @contextlib.contextmanager
    def _installed(self) -> Iterator[None]:
        # Replicas of tf.distribute run this in threads that take turns in the middle of a pass: the last one removes it.
        with _LOCK:
            for one in self._extended:
                one.users += 1
                if one.users == 1:
                    vars(one.model)["call"] = self._call_of(one)  # past the tracking of attributes
        try:
            yield
        finally:
            with _LOCK:
                for one in self._extended:
                    one.users -= 1
                    if one.users == 0:
                        vars(one.model).pop("call", None)

    def _call_of(self, extended: _Extended) -> Callable[..., Any]:
        def call(inputs: Any, *args: Any, **kwargs: Any) -> Any:
            values = getattr(self._collected, "values", None)
            if values is None:  # another thread calls the user's model meanwhile
                return type(extended.model).call(extended.model, inputs, *args, **kwargs)
            result = extended.graph.call(inputs, *args, **kwargs)
            values.update(zip(extended.keys, result["taps"], strict=True))
            outputs = result["outputs"]
            return outputs[0] if isinstance(outputs, (list, tuple)) and len(outputs) == 1 else outputs

        return call


@dataclass
class NoTaps:
    """Stands in where nothing is tapped: the forward pass is the model's alone."""

    nothing: dict[Key, Tensor] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return False

    def call(self, forward: Callable[[], Any]) -> Any:
        """Run `forward`."""
        return forward()

    def values(self, outputs: Any) -> dict[Key, Tensor] | None:
        """No values."""
        return self.nothing


def tapping(terms: Sequence[Bound]) -> Taps | NoTaps:
    """What reads the layers that these terms refer to."""
    places = [place for one in terms for place in one.layers.values()]
    return Taps(places) if places else NoTaps()
