"""One term's arguments to one number, as Keras does it for a loss: casts, rank alignment, mask, sample weights, reduction."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from lossproof import keras_private
from lossproof.objective.term import Term

Tensor = Any


class TermLoss(keras.losses.Loss):
    """A term of any arguments as a loss of Keras, which casts, masks, weights and reduces it.

    `y_true` is a dict of what belongs to the data and `y_pred` a dict of what the model made, by parameter; where that is
    one tensor, the tensor itself, so that Keras finds its mask as it does for a loss of two arguments.
    """

    def __init__(self, fn: Callable[..., Any], name: str, reduction: str) -> None:
        super().__init__(name=name, reduction=reduction)
        self.fn = fn
        self.true_name: str | None = None
        self.pred_name: str | None = None
        self.others: dict[str, Any] = {}
        self.mask: Tensor | None = None

    def call(self, y_true: Any, y_pred: Any) -> Tensor:
        """The function's values, with the mask that the arguments have in common."""
        data = {self.true_name: y_true} if self.true_name is not None else y_true
        made = {self.pred_name: y_pred} if self.pred_name is not None else y_pred
        values = self.fn(**data, **made, **self.others)
        if self.mask is not None:
            values = ops.convert_to_tensor(values)
            keras_private.give_keras_mask(values, self.mask)
        return values


def loss_of(term: Term, two_arguments: bool, constants: dict[str, Any]) -> Any:
    """The loss object of a term: the user's own, or one around the function.

    Args:
        term: The term.
        two_arguments: Whether its function is one of `(y_true, y_pred)` and constants, as `compile(loss=...)` takes it.
        constants: What else the function is called with, if so.
    """
    read = term.function
    if read.is_loss:
        loss: Any = _copied(read.function)
        loss.reduction, loss.name = term.reduction, term.name
        return loss
    if two_arguments:
        return keras_private.loss_of_function(read.function, term.name, term.reduction, constants)
    return TermLoss(read.function, term.name, term.reduction)


def checked(loss: Any, term: Term, rows: int | None, weight_rank: int | None) -> Any:
    """A copy of a loss that looks at the values which it is about to reduce, and raises `ValueError` for wrong ones.

    Args:
        loss: As `loss_of` makes it.
        term: Whose it is.
        rows: The batch size, if it is known.
        weight_rank: The number of axes of the sample weights that are going to act; None if there are none.

    Values finer than the weights (or the mask) are averaged over their further axes first ("sum": summed), so that
    weights of shape (batch,) act on samples. Keras would raise, or weight another axis if it has the same length.
    """
    looking = _copied(loss)
    original = loss.call
    if isinstance(loss, TermLoss):  # its call reads attributes of the copy
        original = lambda *args: TermLoss.call(looking, *args)  # noqa: E731

    def call(y_true: Any, y_pred: Any) -> Tensor:
        values = original(y_true, y_pred)
        in_mask = looking.in_mask
        mask = in_mask if in_mask is not None else keras_private.keras_mask(values)
        check_values(values, term, rows, weight_rank, mask)
        ranks = [rank for rank in (weight_rank, None if mask is None else len(mask.shape)) if rank is not None]
        if ranks and len(getattr(values, "shape", ())) > max(ranks) > 0:
            fold = ops.sum if looking.reduction == "sum" else ops.mean
            coarser = fold(values, axis=tuple(range(max(ranks), len(values.shape))))
            if keras_private.keras_mask(values) is not None:
                keras_private.give_keras_mask(coarser, keras_private.keras_mask(values))
            values = coarser
        return values

    looking.call = call
    looking.in_mask = None
    return looking


def _copied(loss: Any) -> Any:
    # Not copy.copy, for which Keras saves and loads its objects.
    other = object.__new__(type(loss))
    vars(other).update(vars(loss))
    return other


def check_values(values: Any, term: Term, rows: int | None, weight_rank: int | None, mask: Tensor | None) -> None:
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
    if rows is not None and shape[0] is not None and shape[0] != rows:
        raise ValueError(
            f"Term {term.name!r}: {function} returned shape {shape} for a batch of {rows}. Expected one value per "
            f"sample or finer, ({rows}, ...): reduce over the last axes, not over the batch (axis 0), and keep the batch "
            "axis first. A value that belongs to no single sample is returned as a scalar."
        )
    if mask is not None and len(shape) < len(mask.shape):
        raise ValueError(
            f"Term {term.name!r}: {function} returned shape {shape}, and the mask has shape {tuple(mask.shape)}, so "
            "it cannot act. Return one value per masked position, or say lp.Term(..., mask=False) if the function leaves "
            "masked positions out itself."
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


def reduced(loss: Any, y_true: Any, y_pred: Any, sample_weight: Tensor | None) -> Tensor:
    """A loss as a scalar of type `floatx`: the share of this replica, where `tf.distribute` has several.

    Args:
        loss: As `checked` makes it.
        y_true: What belongs to the data, as the loss takes it.
        y_pred: What the model made, as the loss takes it; its mask acts.
        sample_weight: Shape (batch,) or finer, or None.
    """
    loss.in_mask = None if isinstance(y_pred, dict) else keras_private.keras_mask(y_pred)
    if sample_weight is not None and loss.in_mask is not None:
        sample_weight = ops.convert_to_tensor(sample_weight)
        while 0 < len(sample_weight.shape) < len(loss.in_mask.shape):
            sample_weight = ops.expand_dims(sample_weight, -1)
    scalar: list[bool] = []
    call = loss.call

    def noting(*args: Any) -> Tensor:
        values = call(*args)
        scalar.append(not tuple(getattr(values, "shape", ())))
        return values

    loss.call = noting
    value = ops.cast(loss(y_true, y_pred, sample_weight), keras.config.floatx())
    # Keras leaves scalars alone, and each replica would then count in full.
    return keras_private.share_of_replica(value) if any(scalar) else value
