"""Gradients of the captured objective, by autodiff, with respect to its weights and to its predictions."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from lossproof.lab.lab import Lab
from lossproof.lab.subject import Subject


def weight_gradients(lab: Lab) -> list[np.ndarray | None]:
    """The gradient of the total for each trainable variable; None where autodiff finds no connection."""

    def experiment() -> list[np.ndarray | None]:
        _, gradients = lab.backend.gradient(
            lambda *weights: lab.model.objective(lab.batch, list(weights)), lab.model.start
        )
        return [None if gradient is None else lab.number(gradient) for gradient in gradients]

    result: list[np.ndarray | None] = lab.once("weight_gradients", experiment=experiment)
    return result


def prediction_gradients(lab: Lab, subject: Subject, reduced: bool = True) -> list[np.ndarray | None]:
    """The gradient of a subject's total (or of the sum of its unreduced values) for each prediction tensor.

    The predictions are leaves here: what a backend knows of the layer that made them (TensorFlow's recovered logits)
    plays no part.
    """
    leaves = keras.tree.flatten(subject.y_pred)

    def value(*tensors: Any) -> Any:
        moved = subject.changed(y_pred=keras.tree.pack_sequence_as(subject.y_pred, list(tensors)))
        return moved.total() if reduced else moved.unreduced()

    with lab.backend.repeatable():
        _, gradients = lab.backend.gradient(value, leaves)
    return [None if gradient is None else lab.number(gradient) for gradient in gradients]
