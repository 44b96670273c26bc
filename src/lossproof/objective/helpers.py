"""Layers and variables that terms take as constants: a teacher, a discriminator, class centres.

On JAX a compiled step sees only the variables of the model that is trained; any other is frozen at its first value. So the
Trainer keeps them: live in each step, and saved with it.
"""

from __future__ import annotations

from typing import Any

import keras

from lossproof.objective.objective import Objective


def helper_layers(objective: Objective) -> list[Any]:
    """The layers among the constants of the terms, each once."""
    return _each_once(one for one in _constants(objective) if isinstance(one, keras.Layer))


def term_variables(objective: Objective) -> list[Any]:
    """The variables among the weights and constants of the terms, each once."""
    weights = [term.weight for term in objective]
    return _each_once(one for one in [*weights, *_constants(objective)] if isinstance(one, keras.Variable))


def _constants(objective: Objective) -> list[Any]:
    return [leaf for term in objective for value in term.bindings.values() for leaf in keras.tree.flatten(value)]


def _each_once(found: Any) -> list[Any]:
    return list({id(one): one for one in found}.values())


def untrained(helpers: list[Any], trained: list[Any]) -> frozenset[int]:
    """The `id`s of the helpers' variables that are not also those of the layers that are trained."""
    own = {id(variable) for layer in trained for variable in layer.variables}
    return frozenset(id(variable) for layer in helpers for variable in layer.variables if id(variable) not in own)


class TrainedVariables(keras.Model):
    """The part of a Trainer that leaves helpers untrained."""

    model: Any
    helpers: list[Any]

    @property
    def trainable_variables(self) -> list[Any]:
        """The variables of the model and the objective that are trained; not those of layers that terms take."""
        return self._without_helpers(super().trainable_variables)

    @property
    def non_trainable_variables(self) -> list[Any]:
        """All other variables."""
        return self._others(super().non_trainable_variables, super().trainable_variables)

    @property
    def trainable_weights(self) -> list[Any]:
        """As `trainable_variables`."""
        return self._without_helpers(super().trainable_weights)

    @property
    def non_trainable_weights(self) -> list[Any]:
        """As `non_trainable_variables`, without states of random generators."""
        return self._others(super().non_trainable_weights, super().trainable_weights)

    def _without_helpers(self, variables: list[Any]) -> list[Any]:
        if not self.helpers:
            return variables
        left_out = untrained(self.helpers, [self.model])
        return [one for one in variables if id(one) not in left_out]

    def _others(self, others: list[Any], trainable: list[Any]) -> list[Any]:
        kept = {id(one) for one in self._without_helpers(trainable)}
        return [*others, *(one for one in trainable if id(one) not in kept)]
