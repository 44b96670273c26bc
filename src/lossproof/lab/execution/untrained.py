"""Trainable variables that the objective reads and no optimizer is given: those of a loss, which belongs to no model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from lossproof.capture.copies import copy_of
from lossproof.capture.objective import roots
from lossproof.capture.record import Declared
from lossproof.capture.values import reachable
from lossproof.findings.finding import Place
from lossproof.lab.failure import needed
from lossproof.lab.lab import Lab
from lossproof.lab.noise import differs
from lossproof.rules.rule import NotApplicable

HALVINGS = 24
"""How often a step against the gradient is made shorter, in search of the one that lowers the objective most."""


@dataclass(frozen=True)
class Untrained:
    """Variables that stay as they were made, and what training them would do."""

    names: tuple[str, ...]
    values: tuple[np.ndarray, ...]
    norms: tuple[float, ...]
    """Of the gradient of the objective for each of them."""
    before: float
    after: float
    """The objective after one step of these variables alone."""
    where: Place | None


def untrained(lab: Lab) -> Untrained | None:
    """The trainable variables of the user's own that the objective depends on and nothing trains; None without any.

    A variable counts that the script made itself with `trainable=True` written out. It is not one of any model's that was
    caught, nobody has assigned it anything, and it has the value with which it was made.

    Raises:
        NotApplicable: There is none, or a step of the user's own may train it.
    """
    if lab.overrides_train_step:
        raise NotApplicable("the user's own train_step may train them")
    candidates = [one for one in lab.run.declared if _left_alone(lab, one)]
    held = _held_by_objective(lab) if candidates else {}
    candidates = [one for one in candidates if id(one.variable()) in held]
    if not candidates:
        raise NotApplicable("no trainable variable outside of the model")
    _ = lab.evaluation
    variables = [one.variable() for one in candidates]

    def objective(*values: Any) -> Any:
        mapping = list(zip(variables, values, strict=True))
        with lab.model.scope(), keras.StatelessScope([*lab.model.state, *mapping], collect_losses=True):
            return lab.model.compute_loss(lab.batch, lab.model.forward(lab.batch.x))

    with needed("the gradient cannot be computed"):
        value, found = lab.backend.gradient(objective, [lab.backend.tensor(one.start) for one in candidates])
    gradients = [np.zeros(1) if one is None else lab.number(one) for one in found]
    before = float(np.sum(lab.number(value)))
    chosen = [i for i, one in enumerate(gradients) if np.isfinite(one).all() and one.any()]
    if not chosen or not np.isfinite(before):
        return None
    after = before
    for n in range(HALVINGS):
        stepped = [
            lab.backend.tensor((one.start - 0.5**n * g * (i in chosen)).astype(one.start.dtype))
            for i, (one, g) in enumerate(zip(candidates, gradients, strict=True))
        ]
        total = float(np.sum(lab.number(lab.backend.at_once(objective, *stepped))))
        if total >= after and after < before:
            break  # shorter steps come back to where it started
        after = min(after, total) if np.isfinite(total) else after
    if not differs(before, after, terms=1024):
        return None
    return Untrained(
        tuple(held[id(variables[i])] for i in chosen),
        tuple(candidates[i].start for i in chosen),
        tuple(float(np.linalg.norm(gradients[i])) for i in chosen),
        before,
        after,
        candidates[chosen[0]].where,
    )


def _left_alone(lab: Lab, one: Declared) -> bool:
    variable = one.variable()
    if variable is None or not variable.trainable or lab.run.updates_of(variable):
        return False
    models = {id(m): m for m in [lab.capture.model, *(c.model for c in lab.run.captures)] if m is not None and m.built}
    if any(known is variable for model in models.values() for known in model.variables):
        return False
    return bool(np.array_equal(copy_of(variable), one.start))


def _held_by_objective(lab: Lab) -> dict[int, str]:
    """The name by which the losses, or the code of the model, can reach each variable."""
    slots = reachable(roots(lab.capture.model, lab.capture.compiled), lambda one: isinstance(one, keras.Variable))
    return {id(slot.read()): slot.name for slot in slots}
