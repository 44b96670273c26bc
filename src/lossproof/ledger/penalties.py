"""Who puts what into `model.losses`: regularizers of weights, regularizers of activities, `add_loss` of layers."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import keras

from lossproof.capture.userfiles import is_user_file
from lossproof.lab.replace import replaced
from lossproof.ledger.entry import PenaltyKind, unique
from lossproof.objective.trainer import Trainer


@dataclass(frozen=True)
class Adding:
    """One tensor that a layer added during a forward pass."""

    layer: Any
    tensor: Any
    kind: PenaltyKind


@dataclass(frozen=True)
class Penalty:
    """What is added to the losses, without its value: an entry of `model.losses`, or what a strategy adds."""

    name: str
    kind: PenaltyKind
    layer: str
    what: str

    @property
    def regularizes(self) -> bool:
        """Whether it is a regularizer's."""
        return self.kind in ("regularizer", "activity")


@contextmanager
def heard_adding() -> Iterator[list[Adding]]:
    """Inside, what layers add is noted; it is added as always."""
    found: list[Adding] = []

    def make(original: Callable[..., Any]) -> Callable[..., Any]:
        def add_loss(layer: Any, loss: Any) -> Any:
            here = inspect.currentframe()
            caller = here.f_back if here is not None else None
            own = caller is not None and is_user_file(caller.f_code.co_filename)
            activity = not own and getattr(layer, "activity_regularizer", None) is not None
            kind: PenaltyKind = "activity" if activity else "add_loss"
            found.extend(Adding(layer, tensor, kind) for tensor in keras.tree.flatten(loss))
            return original(layer, loss)

        return add_loss

    with replaced(keras.layers.Layer, "add_loss", make):
        yield found


def penalties_of(model: Any, losses: Sequence[Any], added: Sequence[Adding]) -> list[Penalty]:
    """What each of `losses` (`model.losses` after a forward pass) is, in the same order."""
    adding = {id(one.tensor): one for one in added}
    regularized = [variable for variable in model.trainable_weights if getattr(variable, "regularizer", None)]
    rest = sum(id(loss) not in adding for loss in losses)
    known = iter(regularized if rest == len(regularized) else [])
    found = []
    for loss in losses:
        one = adding.get(id(loss))
        if one is not None:
            what = (
                described(one.layer.activity_regularizer) + " of its output" if one.kind == "activity" else "add_loss"
            )
            title = f"{one.layer.name} {'activity' if one.kind == 'activity' else 'add_loss'}"
            found.append(Penalty(title, one.kind, one.layer.name, what))
            continue
        variable = next(known, None)
        if variable is None:
            found.append(Penalty("added loss", "add_loss", model.name, "an entry of model.losses"))
            continue
        layer, _, weight = str(variable.path).rpartition("/")
        found.append(
            Penalty(
                f"{layer or model.name} {weight}",
                "regularizer",
                layer or model.name,
                f"{described(variable.regularizer)} of {weight}",
            )
        )
    names = unique([one.name for one in found])
    return [Penalty(name, one.kind, one.layer, one.what) for name, one in zip(names, found, strict=True)]


def rest_of(model: Any) -> tuple[Penalty, Any] | None:
    """What the strategy of a `lossproof.Trainer` adds to the total beside its terms, with its value; None for nothing.

    To be called after `compute_loss`, where the variables have the values that it read.
    """
    weighting = model.weighting if isinstance(model, Trainer) else None
    rest = None if weighting is None else weighting.rest()
    if rest is None:
        return None
    name = type(weighting).__name__
    return Penalty("weighting_rest", "weighting", name, "what the strategy adds beside the terms"), rest


def described(regularizer: Any) -> str:
    """A regularizer in short: `L2(l2=0.01)`, the name of a function or class of the user's."""
    name = getattr(regularizer, "__name__", type(regularizer).__name__)
    try:
        settings = regularizer.get_config()
    except Exception:  # a function, or a class without a configuration
        return str(name)
    numbers = [f"{key}={float(value):.4g}" for key, value in settings.items() if isinstance(value, (int, float))]
    return f"{name}({', '.join(numbers)})"
