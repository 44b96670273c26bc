"""The value of each term on one batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
from keras import ops

from lossproof import keras_private
from lossproof.objective.binding import Bound
from lossproof.objective.naming import Named
from lossproof.objective.reduction import Seen, copied, reduced
from lossproof.objective.targets import named_weights

Tensor = Any


@dataclass(frozen=True)
class Tensors:
    """What the terms of one step are made of, by name."""

    outputs: Named
    inputs: Named
    targets: Named
    taps: dict[tuple[int, ...], Tensor]
    sample_weight: Any
    """None, one array for all, or a dict of arrays by target."""
    step: Callable[[], Tensor]


def evaluate(terms: Sequence[Bound], tensors: Tensors, seen: Seen) -> dict[str, Tensor]:
    """The reduced values by term, unweighted: scalars in `floatx`.

    Args:
        terms: The terms.
        tensors: What they are made of.
        seen: What terms returned so far, for `reduced`.

    Raises:
        ValueError: a term that returns something else than one value per sample or finer.
    """
    return {bound.term.name: _value(bound, tensors, seen) for bound in terms}


def _value(bound: Bound, there: Tensors, seen: Seen) -> Tensor:
    term = bound.term
    data, made, others = _arguments(bound, there)
    weight = None if bound.sample_weights else _weight_of(bound, there)
    two = set(data) == {"y_true"} and set(made) == {"y_pred"} and set(others) <= set(bound.constants)
    if two or term.function.is_loss:
        both = {**others, **data, **made}
        y_pred = both["y_pred"] if term.mask else _without_mask(both["y_pred"])
        return reduced(bound.pair, term, both["y_true"], y_pred, weight, seen)
    loss = copied(bound.form)
    loss.others = others
    y_true, loss.true_name = _single(data)
    alone = term.mask and len(made) == 1
    y_pred, loss.pred_name = _single(made) if alone else (made, None)
    loss.mask = _mask(bound, made) if term.mask and not alone else None
    return reduced(loss, term, y_true, y_pred, weight, seen)


def _single(arguments: Named) -> tuple[Any, str | None]:
    if len(arguments) == 1:
        (name, value), *_ = arguments.items()
        return value, name
    return arguments, None


def _arguments(bound: Bound, there: Tensors) -> tuple[Named, Named, dict[str, Any]]:
    """(of the data, made by the model, others) by parameter. The first two are cast to floats by Keras, so integers that
    have to stay integers are among the others."""
    data: Named = {}
    made: Named = {}
    others: dict[str, Any] = dict(bound.constants)
    for name, (target, dtype) in bound.targets.items():
        tensor = there.targets[target]
        if dtype is None:
            data[name] = tensor
        else:
            others[name] = ops.cast(tensor, dtype)
    for name, source in bound.inputs.items():
        tensor = ops.convert_to_tensor(there.inputs[source])
        (data if _is_float(tensor) else others)[name] = tensor
    for name, source in bound.outputs.items():
        tensor = there.outputs[source]
        (made if _is_float(tensor) else others)[name] = tensor
    for name, place in bound.layers.items():
        tensor = there.taps[place.key]
        (made if _is_float(tensor) else others)[name] = tensor
    for name, target_or_none in bound.sample_weights.items():
        weight = _weight_of(bound, there, target_or_none)
        others[name] = None if weight is None else ops.cast(weight, keras.config.floatx())
    others.update({name: there.step() for name in bound.steps})
    if "y_true" in made and "y_pred" in made:  # a loss between two outputs
        data["y_true"] = made.pop("y_true")
    if "y_pred" in data and "y_true" in data and not made:
        made["y_pred"] = data.pop("y_pred")
    return data, made, others


def _is_float(tensor: Tensor) -> bool:
    return "float" in keras.backend.standardize_dtype(tensor.dtype)


def _weight_of(bound: Bound, there: Tensors, target: str | None = None) -> Tensor | None:
    weights = named_weights(there.sample_weight, list(there.targets))
    if not isinstance(weights, dict):
        return weights
    wanted = target if target is not None else bound.weighted_by
    return weights.get(wanted) if wanted is not None else None


def _mask(bound: Bound, made: Named) -> Tensor | None:
    """The mask that the model's tensors have in common; as for a loss of Keras, that of `y_pred` if there is one."""
    if "y_pred" in made:
        return keras_private.mask_of(made["y_pred"])
    masks = [(name, mask) for name, tensor in made.items() if (mask := keras_private.mask_of(tensor)) is not None]
    if not masks:
        return None
    (first, common), *rest = masks
    for name, mask in rest:
        if tuple(mask.shape) != tuple(common.shape):
            raise ValueError(
                f"Term {bound.term.name!r}: {first!r} has a mask of shape {tuple(common.shape)} and {name!r} one of shape "
                f"{tuple(mask.shape)}. Say lp.Term(..., mask=False) and leave masked positions out in the function."
            )
        if mask is not common:
            common = ops.logical_and(common, mask)
    return common


def _without_mask(tensor: Tensor) -> Tensor:
    # A tensor of its own, so that the user's keeps its mask; a reshape or cast to the same is none on every backend.
    return tensor if keras_private.mask_of(tensor) is None else tensor * ops.ones((), dtype=tensor.dtype)
