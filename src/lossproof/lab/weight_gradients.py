"""The gradient of the captured objective, by autodiff, with respect to its weights."""

from __future__ import annotations

import numpy as np

from lossproof.lab.lab import Lab


def weight_gradients(lab: Lab) -> list[np.ndarray | None]:
    """The gradient of the total for each trainable variable; None where autodiff finds no connection."""
    if not lab.overrides_train_step and lab.evaluation.gradients is not None:
        return [None if known is None else lab.number(known) for known in lab.evaluation.gradients]
    _, gradients = lab.backend.gradient(lambda *weights: lab.model.objective(lab.batch, list(weights)), lab.model.start)
    return [None if gradient is None else lab.number(gradient) for gradient in gradients]
