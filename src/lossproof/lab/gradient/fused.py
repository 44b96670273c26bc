"""What it does to the gradient that TensorFlow's losses look at how the predictions were made.

They find the logits behind a softmax or sigmoid and use a fused operation on them. Its gradient is right under
assumptions that the user's targets may break. Here the same objective is differentiated once more with the logits
hidden; where that changes the gradient in the weights, a numeric slope along the difference decides.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import numpy as np

from lossproof import keras_private
from lossproof.lab.backends.base import Mode, Tensor
from lossproof.lab.blind import quiet
from lossproof.lab.execution.following import mode_of
from lossproof.lab.failure import needed
from lossproof.lab.gradient.intent import Stops, custom_gradients
from lossproof.lab.gradient.numeric import slope
from lossproof.lab.gradient.slopes import Comparison
from lossproof.lab.gradient.weight_connection import moved_model
from lossproof.lab.lab import Lab
from lossproof.lab.step import rerun_step, run_step
from lossproof.rules.rule import NotApplicable

AGREEMENT = 1e-3
"""Two float32 gradients of the same thing, summed in another order, agree better than this; only where they do not is
the (dearer) numeric slope asked. It decides nothing by itself."""


def slopes_in_weights(lab: Lab) -> Comparison | None:
    """Compare the objective's gradient in the weights with the one with hidden logits, and with numeric slopes.

    None where all agree, or where this backend's losses cannot look through the predictions at all.

    Raises:
        NotApplicable: The gradient is the user's own, or there is nothing to compare.
    """
    _ = lab.evaluation  # where the objective cannot be evaluated, this says so
    if not lab.backend.looks_through_predictions:
        return None
    with needed("the gradient cannot be computed"):
        return _compared(lab)


def _compared(lab: Lab) -> Comparison | None:
    run = _gradients(lab, nullcontext())
    hidden = _gradients(lab, keras_private.logits_hidden())
    gaps = [a - b for a, b in zip(run, hidden, strict=True)]
    gap, *sizes = (float(np.sqrt(sum(np.sum(g**2) for g in gradients))) for gradients in (gaps, run, hidden))
    if not np.isfinite(gap) or gap <= AGREEMENT * max(sizes):
        return None
    return _decided(lab, run, hidden, gaps)


def _gradients(lab: Lab, around: AbstractContextManager[None]) -> list[np.ndarray]:
    """The gradient for each trainable weight, as training gets it: in a graph, where operations can be looked at."""
    start = lab.model.start
    with around, quiet(lab):
        if lab.overrides_train_step:
            outcome = rerun_step(lab)
            if len(outcome.losses) != 1 or [len(one) for one in outcome.gradients] != [len(start)]:
                raise NotApplicable("this train_step does not apply the gradient of one loss to all weights")
            found = outcome.gradients[0]
        else:
            mode: Mode = "eager" if mode_of(lab) == "eager" else "graph"
            differentiate = lab.backend.stages(
                lambda *weights: lab.backend.gradient(
                    lambda *moved: lab.model.objective(lab.batch, list(moved)), list(weights)
                )[1],
                mode,
            )
            found = [None if one is None else lab.number(one) for one in differentiate(*start)]
    return [np.zeros(tuple(w.shape)) if g is None else lab.number(g) for g, w in zip(found, start, strict=True)]


def _decided(lab: Lab, run: list[np.ndarray], hidden: list[np.ndarray], gaps: list[np.ndarray]) -> Comparison | None:
    """The numeric slope along the difference of both gradients.

    In the last weights first: no kink of a layer lies between them and the loss.
    """
    biggest = max(float(np.linalg.norm(gap)) for gap in gaps)
    best: Comparison | None = None
    for i in reversed(range(len(gaps))):
        size = float(np.linalg.norm(gaps[i]))
        if size < 0.1 * biggest:
            continue
        start = lab.number(lab.model.start[i])
        direction = gaps[i] / size * max(1.0, float(np.sqrt(np.mean(start**2)) * np.sqrt(gaps[i].size)))
        dtype = str(lab.model.trainable[i].dtype)
        stops = Stops()
        with custom_gradients() as custom, lab.backend.interpreted():
            along = _along(lab, i, start, direction, stops)
            numeric = slope(along, dtype, along(0.0))
        if custom:
            raise NotApplicable(f"the gradient is defined by the user: {', '.join(sorted(set(custom)))}")
        found = Comparison(
            autodiff=float(np.sum(run[i] * direction)),
            numeric=numeric,
            dtype=dtype,
            other=float(np.sum(hidden[i] * direction)),
            gradients=(run[i], hidden[i]) if run[i].ndim == 1 else None,
        )
        if found.contradicted or np.isfinite(numeric.error):
            return found
        best = best or found
    return best


def _along(lab: Lab, position: int, start: np.ndarray, direction: np.ndarray, stops: Stops) -> Callable[[float], float]:
    """The objective as a function of how far one weight is moved along a direction."""

    def along(t: float) -> float:
        weights: list[Tensor] = list(lab.model.start)
        weights[position] = lab.backend.tensor(start + t * direction, dtype=str(lab.model.trainable[position].dtype))
        with quiet(lab), stops.evaluation():
            if lab.overrides_train_step:
                return sum(run_step(moved_model(lab, [lab.number(w) for w in weights]), lab.batch).losses)
            return float(lab.number(lab.model.objective(lab.batch, weights)))

    return along
