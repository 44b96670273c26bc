"""Every operator."""

from __future__ import annotations

from .gradient import GRADIENT
from .running import RUNNING
from .shape import SHAPE
from .wiring import WIRING

OPERATORS = (*SHAPE, *GRADIENT, *WIRING, *RUNNING)
BY_NAME = {one.name: one for one in OPERATORS}
