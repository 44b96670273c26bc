"""The part of a Trainer that is compiled: without a loss, since the objective is the loss."""

from __future__ import annotations

from typing import Any

import keras

from lossproof.objective.nearest import listed
from lossproof.objective.objective import Objective


class CompiledByObjective(keras.Model):
    """A model that `compile` gives an optimizer and metrics, and no loss."""

    objective: Objective

    def compile(self, optimizer: Any = "rmsprop", loss: Any = None, loss_weights: Any = None, **kwargs: Any) -> None:
        """As `keras.Model.compile`, without `loss` and `loss_weights`: the objective is the loss.

        Raises:
            ValueError: one of them was given.
        """
        for name, value in (("loss", loss), ("loss_weights", loss_weights)):
            if value is not None:
                instead = "a loss is a term: lp.Term('mse')" if name == "loss" else "lp.Term(..., weight=0.5) has them"
                raise ValueError(
                    f"compile({name}=...) was given to an lp.Trainer, whose loss is its objective: "
                    f"{listed(self.objective.names)}. Leave it out; {instead}."
                )
        super().compile(optimizer, **kwargs)

    def get_compile_config(self) -> dict[str, Any]:
        """The arguments of the last `compile`, as Keras saves them."""
        return {
            key: value for key, value in super().get_compile_config().items() if key not in ("loss", "loss_weights")
        }

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Compile as a saved trainer was."""
        if not config:
            return
        self.compile(**keras.saving.deserialize_keras_object(config))
        if self.built:
            self.optimizer.build(self.trainable_variables)
