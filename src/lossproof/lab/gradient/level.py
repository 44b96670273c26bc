"""A loss that is level wherever its predictions are, so that no weight gets a gradient."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from lossproof.lab.blind import FEWEST
from lossproof.lab.gradient.weight_connection import captured_point
from lossproof.lab.lab import Lab
from lossproof.lab.noise import differs
from lossproof.lab.predictions import float_leaves, look, moves
from lossproof.lab.restated import bare
from lossproof.lab.subject import Subject

if TYPE_CHECKING:
    from lossproof.lab.gradient.saturation import Saturated


def without_gradient(lab: Lab) -> bool:
    """Whether no weight gets a gradient from the whole objective, and it has no other parts than the loss."""
    point = lab.once(captured_point)
    return point is not None and bool(point.gradients) and point.dark and not lab.forward_losses


def level(lab: Lab, subject: Subject) -> Saturated | None:
    """The proof that nothing is learned, though other predictions have a lower loss or none has another.

    A margin that is met has no lower value elsewhere, and a loss that is always 0 stands for none. Sample weights and
    masks, which may be 0 for a whole batch, are left out.
    """
    from lossproof.lab.gradient.saturation import Saturated

    if lab.capture.model is None or not without_gradient(lab):
        return None
    plain = bare(lab, subject)
    leaves = [lab.number(leaf) for leaf in float_leaves(lab, plain)]
    base = lab.attempt(lambda: look(lab, plain, leaves)) if leaves else None
    if base is None or not base.dark or not np.isfinite(base.value):
        return None
    points = [(lab.attempt(partial(look, lab, plain, moved)), how) for how, moved in moves(lab, plain, leaves)]
    seen = [(point.value, how) for point, how in points if point is not None and np.isfinite(point.value)]
    if len(seen) < FEWEST:
        return None
    terms = sum(leaf.size for leaf in leaves)
    low, high = min(float(leaf.min()) for leaf in leaves), max(float(leaf.max()) for leaf in leaves)
    least, how = min(seen)
    if least < base.value and differs(least, base.value, terms=terms):
        return Saturated("everywhere", terms, terms, base.value, least, least, low, high, how=how)
    if base.value and not any(differs(value, base.value, terms=terms) for value, _ in seen):
        return Saturated("constant", terms, terms, base.value, base.value, base.value, low, high, how=seen[-1][1])
    return None
