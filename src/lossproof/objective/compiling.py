"""The part of a Trainer that is compiled, without a loss, and run."""

from __future__ import annotations

from typing import Any

import keras

from lossproof import keras_private
from lossproof.objective.nearest import listed
from lossproof.objective.objective import Objective


class CompiledByObjective(keras.Model):
    """A model that `compile` gives an optimizer and metrics, and no loss: the objective is the loss."""

    model: Any
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
        if self.built or self.model.variables:  # a subclassed model that is loaded has variables before it is called
            self.optimizer.build(self.trainable_variables)

    def build_from_config(self, config: dict[str, Any]) -> None:
        """Nothing, once the model is loaded: it was built as it was saved."""
        if not self.model.variables:
            super().build_from_config(config)

    def fit(self, *args: Any, **kwargs: Any) -> Any:
        """As `keras.Model.fit`."""
        with keras_private.values_kept(self):
            return super().fit(*args, **kwargs)

    def evaluate(self, *args: Any, **kwargs: Any) -> Any:
        """As `keras.Model.evaluate`."""
        with keras_private.values_kept(self):
            return super().evaluate(*args, **kwargs)
