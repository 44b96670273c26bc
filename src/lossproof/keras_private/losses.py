"""Loss objects: their functions, arguments, alignment and share in a distributed step."""

from __future__ import annotations

from typing import Any


def wrapped_function(loss: Any) -> Any:
    """The function that `compile` has wrapped in a loss object, None for a loss that came as an object (losses.py)."""
    from keras.src.losses import LossFunctionWrapper

    return loss.fn if type(loss) is LossFunctionWrapper else None


def wrap_function(function: Any) -> Any:
    """A function as `compile` wraps it in a loss object (keras/src/losses/losses.py)."""
    from keras.src.losses import LossFunctionWrapper

    return LossFunctionWrapper(function, name=getattr(function, "__name__", type(function).__name__))


def loss_of_function(function: Any, name: str, reduction: str, constants: dict[str, Any]) -> Any:
    """A loss object of a function of `(y_true, y_pred)`, with the rank alignment of `compile` (losses/losses.py)."""
    from keras.src.losses import LossFunctionWrapper

    return LossFunctionWrapper(function, reduction=reduction, name=name, **constants)


def bound_arguments(loss: Any) -> dict[str, Any]:
    """The arguments that a loss object passes on to its function, the object's own dict (losses/losses.py)."""
    kept = getattr(loss, "_fn_kwargs", None)
    return kept if isinstance(kept, dict) else {}


def bind_arguments(loss: Any, arguments: dict[str, Any]) -> None:
    """Give a loss object the arguments that `bound_arguments` read (losses/losses.py)."""
    loss._fn_kwargs = arguments


def of_one_rank(y_true: Any, y_pred: Any) -> tuple[Any, Any]:
    """Targets and predictions with a last axis of length 1 added or dropped, as for a function (keras/src/losses/loss.py)."""
    one, other = _module().squeeze_or_expand_to_same_rank(y_true, y_pred)
    return one, other


def share_of_replica(value: Any) -> Any:
    """A value divided by the replicas of `tf.distribute`, which then sum it (keras/src/losses/loss.py)."""
    return _module().scale_loss_for_distribution(value)


def undivided(value: Any) -> Any:
    """The reverse of `share_of_replica`, for logs (keras/src/losses/loss.py)."""
    return _module().unscale_loss_for_distribution(value)


def reduced_values(values: Any, mask: Any, reduction: str, dtype: Any) -> Any:
    """Unweighted values of a loss to one, as `Loss.__call__` reduces them (keras/src/losses/loss.py)."""
    return _module().reduce_weighted_values(values, mask=mask, reduction=reduction, dtype=dtype)


def _module() -> Any:
    from keras.src.losses import loss

    return loss
