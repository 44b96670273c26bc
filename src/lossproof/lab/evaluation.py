"""The captured objective, evaluated once as the script would: what it heard, its total, its penalties."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np

from lossproof import keras_private
from lossproof.lab.backends import running_backend
from lossproof.lab.backends.base import Tensor
from lossproof.lab.listen import Heard, listening
from lossproof.lab.model import Forward, Functional
from lossproof.lab.received import Batch
from lossproof.lab.step import run_step
from lossproof.lab.work import counted


@dataclass(frozen=True)
class Evaluation:
    """One evaluation on the captured batch and weights, in training mode."""

    forward: Forward | None
    """None where the model of a custom step cannot be called on the inputs of the batch as they are."""
    total: float
    losses: tuple[Heard, ...]
    """The calls of `keras.losses.Loss` that had values, not tracers."""
    added: tuple[float, ...]
    """`model.losses` after the forward pass: regularizers and `add_loss`."""
    gradients: tuple[np.ndarray | None, ...] | None = None
    """Of the total, for each trainable weight, where they were had along with the values."""
    work: float = 0.0
    """About how many multiplications the forward pass takes, see `work.counted`."""


def evaluate(model: Functional, batch: Batch, own_step: bool, with_gradients: bool = False) -> Evaluation:
    """Evaluate the objective, and its gradient where one pass gives both.

    Args:
        model: The captured model.
        batch: What the step received.
        own_step: Whether the user's model has a `train_step` of its own, which is then run.
        with_gradients: Whether the gradient is wanted as well.

    Raises:
        Whatever the user's code raises.
    """
    if own_step:
        outcome = run_step(model, batch)
        forward: Forward | None = None
        added: tuple[float, ...] = ()
        # A step may hand the model something else than its inputs.
        with counted() as work, suppress(Exception), model.scope():
            forward = model.forward(batch.x)
            added = _values(forward.losses)
        heard = _concrete(outcome.hearing.losses)
        return Evaluation(forward, sum(outcome.losses), heard, added, work=work.multiplications)
    with counted() as work:
        evaluated = _evaluated(model, batch, with_gradients)
    return replace(evaluated, work=work.multiplications)


def _evaluated(model: Functional, batch: Batch, with_gradients: bool) -> Evaluation:
    if with_gradients and running_backend().has_values_while_differentiating:
        with suppress(Exception):  # what refuses to be differentiated may well have a value
            return _with_gradients(model, batch)
    return _evaluation(at_once(lambda: _run(model, batch, None)))


def _with_gradients(model: Functional, batch: Batch) -> Evaluation:
    backend = running_backend()
    seen: list[Seen] = []

    def total(*weights: Tensor) -> Tensor:
        seen.append(_run(model, batch, list(weights)))
        return seen[-1].total

    _, gradients = backend.gradient(total, model.start)
    arrays = tuple(None if gradient is None else backend.numpy(gradient) for gradient in gradients)
    return replace(_evaluation(seen[0].with_tensors(backend.detached)), gradients=arrays)


@dataclass(frozen=True)
class Seen:
    """What an evaluation shows."""

    total: Tensor
    forward: Forward
    losses: tuple[Heard, ...]

    def with_tensors(self, change: Callable[[Tensor], Tensor]) -> Seen:
        """The same with each tensor exchanged, and its mask. A tensor that stands in several places still does so."""
        changed: dict[int, tuple[Any, Any]] = {}

        def cut(leaf: Any) -> Any:
            if not running_backend().is_tensor(leaf):
                return leaf
            if id(leaf) not in changed:
                mask = keras_private.mask_of(leaf)
                copy, mask = change(leaf), None if mask is None else change(mask)
                if copy is not leaf:
                    keras_private.set_mask(copy, mask)
                changed[id(leaf)] = leaf, copy
            return changed[id(leaf)][1]

        def everywhere(data: Any) -> Any:
            return data if data is None else keras.tree.map_structure(cut, data)

        forward = Forward(everywhere(self.forward.y_pred), everywhere(self.forward.losses))
        heard = tuple(
            Heard(one.target, *map(everywhere, (one.y_true, one.y_pred, one.sample_weight, one.result)))
            for one in self.losses
        )
        return Seen(cut(self.total), forward, heard)


def _run(model: Functional, batch: Batch, weights: list[Tensor] | None) -> Seen:
    with listening() as hearing, model.scope(weights):
        forward = model.forward(batch.x)
        total = model.compute_loss(batch, forward)
    return Seen(total, forward, tuple(hearing.losses))


def at_once(run: Callable[[], Seen]) -> Seen:
    """The same as one program, see `Backend.at_once`: what is seen on the way leaves it along with the total."""
    backend = running_backend()
    seen: list[Seen] = []
    traced: dict[int, Tensor] = {}

    def program() -> list[Tensor]:
        def note(tensor: Tensor) -> Tensor:
            if not backend.is_concrete(tensor):
                traced[id(tensor)] = tensor
            return tensor

        traced.clear()
        seen[:] = [run()]
        seen[0].with_tensors(note)
        return list(traced.values())

    values = dict(zip(traced, backend.at_once(program), strict=True))
    return seen[0].with_tensors(lambda tensor: values.get(id(tensor), tensor))


def _evaluation(seen: Seen) -> Evaluation:
    total = float(np.sum(running_backend().numpy(seen.total)))
    return Evaluation(seen.forward, total, _concrete(seen.losses), _values(seen.forward.losses))


def _values(losses: list[Tensor]) -> tuple[float, ...]:
    return tuple(float(np.sum(running_backend().numpy(loss))) for loss in losses)


def _concrete(losses: Sequence[Heard]) -> tuple[Heard, ...]:
    backend = running_backend()

    def has_values(data: Any) -> bool:
        leaves = [leaf for leaf in keras.tree.flatten(data) if backend.is_tensor(leaf)]
        return all(backend.is_concrete(leaf) for leaf in leaves)

    return tuple(one for one in losses if has_values((one.y_true, one.y_pred, one.sample_weight)))
