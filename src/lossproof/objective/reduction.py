"""One term's arguments to one number, as Keras does it for a loss: casts, rank alignment, mask, sample weights, reduction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
from keras import ops

from lossproof import keras_private
from lossproof.objective.loss_value import loss_value
from lossproof.objective.probe import ROWS, shape_for
from lossproof.objective.term import Term

Tensor = Any
Seen = dict[tuple[Any, ...], "Outcome"]


class TermLoss(keras.losses.Loss):
    """A term of any arguments as a loss of Keras, which casts, masks, weights and reduces it.

    `y_true` is a dict of what belongs to the data and `y_pred` a dict of what the model made, by parameter; where that is
    one tensor, the tensor itself, so that Keras finds its mask as it does for a loss of two arguments.

    Args:
        fn: The function.
        parameters: Those of its parameters that may be passed by position, in order.
        name: The term's name.
        reduction: As Keras has it.
    """

    def __init__(self, fn: Callable[..., Any], parameters: Sequence[str], name: str, reduction: str) -> None:
        super().__init__(name=name, reduction=reduction)
        self.fn = fn
        self.parameters = tuple(parameters)
        self.true_name: str | None = None
        self.pred_name: str | None = None
        self.others: dict[str, Any] = {}
        self.mask: Tensor | None = None

    def call(self, y_true: Any, y_pred: Any) -> Tensor:
        """The function's values, with the mask that the arguments have in common."""
        data = {self.true_name: y_true} if self.true_name is not None else y_true
        made = {self.pred_name: y_pred} if self.pred_name is not None else y_pred
        named = {**data, **made, **self.others}
        if "y_true" in named and "y_pred" in named:
            named["y_true"], named["y_pred"] = keras_private.of_one_rank(named["y_true"], named["y_pred"])
        by_position = []
        for parameter in self.parameters:
            if parameter not in named:
                break
            by_position.append(named.pop(parameter))
        values = self.fn(*by_position, **named)
        if self.mask is not None and hasattr(values, "shape"):
            keras_private.set_mask(values, self.mask)
        return values


def loss_of_pair(term: Term, constants: dict[str, Any]) -> Any:
    """The loss object of a term of `(y_true, y_pred)`: the user's own, or one around the function.

    Args:
        term: The term.
        constants: What else the function is called with.
    """
    read = term.function
    if read.is_loss:
        given: Any = read.function
        if given.reduction == term.reduction:
            return given
        loss = copied(given)
        loss.reduction = term.reduction
        return loss
    return keras_private.loss_of_function(read.function, term.name, term.reduction, constants)


@dataclass(frozen=True)
class Outcome:
    """What a term returned when it was looked at."""

    scalar: bool
    fold: int | None
    """The number of axes that its values are reduced to before weights act; None where they act as they are."""


def watched(loss: Any, term: Term, weight_rank: int | None, outcomes: list[Outcome]) -> Any:
    """A copy of a loss that looks at the values which it is about to reduce.

    Args:
        loss: Of a `Bound`.
        term: Whose it is.
        weight_rank: The number of axes of the sample weights that are going to act; None if there are none.
        outcomes: What was seen is appended.

    The copy raises `ValueError` for values that are not one per sample or finer. Values finer than the weights (or the
    mask) are averaged over their further axes first ("sum": summed), so that weights of shape (batch,) act on samples. Keras
    would raise, or weight another axis if it has the same length.
    """
    looking = copied(loss)

    def call(y_true: Any, y_pred: Any) -> Tensor:
        values = type(loss).call(looking, y_true, y_pred)
        in_mask = None if isinstance(y_pred, dict) else keras_private.mask_of(y_pred)
        mask = in_mask if in_mask is not None else keras_private.mask_of(values)
        rows = rows_of((y_pred, y_true))
        check_values(values, term, weight_rank, mask)
        shape = tuple(getattr(values, "shape", ()))
        check_rows(shape, term, rows)
        if rows is None and shape:
            check_rows(shape_for(lambda *pair: type(loss).call(looking, *pair), y_true, y_pred), term, ROWS)
        ranks = [rank for rank in (weight_rank, None if mask is None else len(mask.shape)) if rank is not None]
        fold = max(ranks) if ranks and len(shape) > max(ranks) > 0 else None
        outcomes.append(Outcome(not shape, fold))
        return values if fold is None else _folded(values, fold, loss.reduction)

    looking.call = call
    return looking


def _folded(values: Tensor, rank: int, reduction: str) -> Tensor:
    fold = ops.sum if reduction == "sum" else ops.mean
    coarser = fold(values, axis=tuple(range(rank, len(values.shape))))
    mask = keras_private.mask_of(values)
    if mask is not None:
        keras_private.set_mask(coarser, mask)
    return coarser


def rows_of(structure: Any) -> int | None:
    """The batch size of the first tensor that has axes; None if it is not known."""
    leaves = (one for one in keras.tree.flatten(structure) if one is not None and len(getattr(one, "shape", ())))
    first = next(leaves, None)
    return None if first is None else first.shape[0]


def _shapes(tensors: Any) -> tuple[Any, ...]:
    """Those of one tensor or of a dict of them, without the batch axis."""
    if isinstance(tensors, dict):
        return tuple(_shapes(one) for one in tensors.values())
    return tuple(getattr(tensors, "shape", ()))[1:]


def copied(loss: Any) -> Any:
    """A shallow copy of a loss object."""
    # Not copy.copy, for which Keras saves and loads its objects.
    other = object.__new__(type(loss))
    vars(other).update(vars(loss))
    return other


def check_values(values: Any, term: Term, weight_rank: int | None, mask: Tensor | None) -> None:
    """Raise ValueError unless the values of a term are one tensor, one value per sample or finer (or an unweighted scalar)."""
    function = term.function.name
    if isinstance(values, (dict, list, tuple)) or values is None:
        what = "None" if values is None else f"a {type(values).__name__}"
        raise ValueError(
            f"Term {term.name!r}: {function} returned {what}. Expected one tensor: one value per sample. "
            + ("Does it end without `return`?" if values is None else "Write one lp.Term for each part.")
        )
    shape = tuple(getattr(values, "shape", ()))
    if not shape:
        _check_scalar(term, weight_rank is not None, mask)
        return
    if mask is not None and len(shape) < len(mask.shape):
        raise ValueError(
            f"Term {term.name!r}: {function} returned shape {shape}, and the mask has shape {tuple(mask.shape)}, so "
            "it cannot act. Return one value per masked position, or say lp.Term(..., mask=False) if the function leaves "
            "masked positions out itself."
        )


def check_rows(shape: tuple[Any, ...] | None, term: Term, rows: int | None) -> None:
    """Raise ValueError for values of a shape whose first axis is not the batch, as far as both are known."""
    if not shape or rows is None or shape[0] is None or shape[0] == rows:
        return
    raise ValueError(
        f"Term {term.name!r}: {term.function.name} returned shape {shape} for a batch of {rows}. Expected one value per "
        f"sample or finer, ({rows}, ...): reduce over the last axes, not over the batch (axis 0), and keep the batch "
        "axis first. A value that belongs to no single sample is returned as a scalar."
    )


def _check_scalar(term: Term, weighted: bool, mask: Tensor | None) -> None:
    if not weighted and mask is None:
        return
    why = "sample weights (or class weights)" if weighted else "a mask"
    raise ValueError(
        f"Term {term.name!r}: {term.function.name} returned a scalar, and there {'are' if weighted else 'is'} {why}, which "
        "cannot act on a number for the whole batch. Return one value per sample: ops.mean(..., axis=-1), not ops.mean(...). "
        + (
            "Or bind lp.sample_weight() to a parameter and weight the samples in the function."
            if weighted
            else "Or say lp.Term(..., mask=False)."
        )
    )


def _as_fine_as(sample_weight: Tensor, mask: Tensor) -> Tensor:
    """Weights of the shape of the mask, in a tensor of their own: on torch, Keras multiplies the mask into the one it gets."""
    weight = ops.cast(ops.convert_to_tensor(sample_weight), keras.config.floatx())
    while 0 < len(weight.shape) < len(mask.shape):
        weight = ops.expand_dims(weight, -1)
    return weight * ops.ones_like(mask, dtype=weight.dtype) if len(weight.shape) == len(mask.shape) else weight


def reduced(loss: Any, term: Term, y_true: Any, y_pred: Any, sample_weight: Tensor | None, seen: Seen) -> Tensor:
    """A loss as a scalar of type `floatx`: the share of this replica, where `tf.distribute` has several.

    Args:
        loss: Of a `Bound`.
        term: Whose it is.
        y_true: What belongs to the data, as the loss takes it.
        y_pred: What the model made, as the loss takes it; its mask acts.
        sample_weight: Shape (batch,) or finer, or None.
        seen: What terms returned for arguments of these ranks. Values are looked at the first time; then a loss is called as
            it is, which costs eager steps nothing.
    """
    mask = None if isinstance(y_pred, dict) else keras_private.mask_of(y_pred)
    if sample_weight is not None and mask is not None:
        sample_weight = _as_fine_as(sample_weight, mask)
    weight_rank = None if sample_weight is None else len(sample_weight.shape)
    key = (term.name, weight_rank, mask is None, _shapes(y_true), _shapes(y_pred))
    outcome = seen.get(key)
    if outcome is None or outcome.fold is not None:
        outcomes: list[Outcome] = []
        value = watched(loss, term, weight_rank, outcomes)(y_true, y_pred, sample_weight)
        outcome = seen[key] = outcomes[-1]
    else:
        value = loss_value(loss, y_true, y_pred, sample_weight, mask)
    value = ops.cast(value, keras.config.floatx())
    # Keras leaves scalars alone, and each replica would then count in full.
    return keras_private.share_of_replica(value) if outcome.scalar else value
