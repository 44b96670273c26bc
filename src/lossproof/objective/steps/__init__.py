"""Train steps of strategies that need the gradient of each term: one file per backend, the only ones that know it."""

from __future__ import annotations

import importlib
from typing import Any

import keras


def train_step(trainer: Any, *args: Any) -> Any:
    """One step of the backend in use, with the arguments of Keras's own: `data`, on JAX `state, data`.

    The K terms' gradients come from one forward pass. The added losses (regularizers, `add_loss`) have a gradient of their
    own from the same pass, which is added to what the strategy makes of the terms': a strategy weighs terms only. Under
    loss scaling the strategy sees unscaled gradients, and the optimizer scaled ones, as it expects.
    """
    return importlib.import_module(f"lossproof.objective.steps.{keras.backend.backend()}").train_step(trainer, *args)
