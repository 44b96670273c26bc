"""How often an objective counts `model.losses` (regularizers and `add_loss`), measured by scaling them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras

from lossproof.lab.lab import Lab
from lossproof.lab.model import Forward
from lossproof.rules.rule import NotApplicable


def totals_with_added_losses(lab: Lab, factors: tuple[float, ...]) -> list[float]:
    """The total with every entry of `layer.losses` multiplied by a factor, for each of `factors`."""
    return [_total(lab, factor) for factor in factors]


def _total(lab: Lab, factor: float) -> float:
    if lab.overrides_train_step:
        with _scaled(factor):
            losses = lab.run_step().losses
        if not losses:
            raise NotApplicable("the loss that this train_step differentiates could not be observed")
        return sum(losses)
    forward = lab.forward
    with lab.model.scope():
        # The forward pass again: layers add their losses during it.
        fresh = lab.model.forward(lab.batch.x)
        with _scaled(factor):
            scaled = Forward(fresh.y_pred, [loss * factor for loss in forward.losses])
            return float(lab.number(lab.model.compute_loss(lab.batch, scaled)))


@contextmanager
def _scaled(factor: float) -> Iterator[None]:
    layer = keras.layers.Layer
    original = layer.losses

    def losses(self: Any) -> list[Any]:
        own = original.fget(self)
        # On JAX the trainer hands the forward losses over; there they are scaled already.
        return own if getattr(self, "_losses_override", None) else [loss * factor for loss in own]

    layer.losses = property(losses)
    try:
        yield
    finally:
        layer.losses = original
