"""Gradients that pile up: an own step on PyTorch that never clears those of the steps before it."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np

from lossproof.capture.place import user_place
from lossproof.findings.finding import Place
from lossproof.lab.lab import Lab
from lossproof.lab.replace import replaced
from lossproof.lab.step import run_step
from lossproof.rules.rule import NotApplicable

MOST_STEPS = 32
"""So many steps are run for one update: a step may gather the gradients of several batches on purpose."""
LEAST = float(np.sqrt(np.finfo("float32").eps))
"""Half of the digits of float32: what is repeated is repeated to the last ones, but for sums in another order."""


@dataclass(frozen=True)
class Piled:
    """What the optimizer is handed in three updates from the same weights, on the same batch, with the same noise."""

    norms: tuple[float, float, float]
    cleared: float
    """The norm in each of them, with the stored gradients cleared before it."""
    steps: int
    """How many steps make an update."""
    where: Place | None
    """Where the gradient is taken."""


def piled_gradients(lab: Lab) -> Piled | None:
    """The proof that each update gets the gradients of all steps before it as well; None where it does not.

    Every step is run from the same weights, on the same batch and with the same random numbers, and nothing is updated. So
    every update should be handed the same gradient.

    Raises:
        NotApplicable: This backend stores no gradients, or the updates of the step cannot be observed.
    """
    if lab.backend.name != "torch":
        raise NotApplicable("gradients are stored on PyTorch alone")
    if not lab.overrides_train_step:
        raise NotApplicable("Keras's own train_step clears the gradients")
    places: list[Place | None] = []
    variables = lab.model.model.variables
    with lab.capture.changes.moved_inside():  # such as a counter of batches
        with lab.backend.stored_gradients(variables):
            first, second, third = (_update(lab, places) for _ in range(3))
        cleared = []
        for _ in range(2):
            with lab.backend.stored_gradients(variables):
                cleared.append(_update(lab, places))
    handed = [first[0], second[0], third[0]]
    if len({one.shape for one in (*handed, *(one for one, _ in cleared))}) != 1 or not np.isfinite(third[0]).all():
        return None
    grown, grown_again = handed[1] - handed[0], handed[2] - handed[1]
    scale = _norm(handed[0])
    # By the same amount each time, so without end: a moving average of gradients grows by less and less.
    steadily = _norm(grown) > LEAST * scale and _norm(grown_again - grown) <= LEAST * _norm(grown)
    if not steadily or any(_norm(one - handed[0]) > LEAST * scale for one, _ in cleared):
        return None
    norms = _norm(handed[0]), _norm(handed[1]), _norm(handed[2])
    return Piled(norms, _norm(cleared[0][0]), first[1], next((one for one in places if one is not None), None))


def _update(lab: Lab, places: list[Place | None]) -> tuple[np.ndarray, int]:
    """All gradients of the next update, and after how many steps it came."""
    with ExitStack() as stack:
        for owner, name, make in lab.backend.differentiation(lambda _: places.append(user_place())):
            stack.enter_context(replaced(owner, name, make))
        for steps in range(1, MOST_STEPS + 1):
            outcome = run_step(lab.model, lab.batch, gradients_stay=True)
            found: list[Any] = [one for applied in outcome.gradients for one in applied if one is not None]
            if found:
                return np.concatenate([one.reshape(-1) for one in found]).astype("float64"), steps
    raise NotApplicable("the updates of this train_step could not be observed")


def _norm(vector: np.ndarray) -> float:
    return float(np.linalg.norm(vector))
