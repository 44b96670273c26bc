"""Where a user changes the gradient on purpose.

`stop_gradient` makes a value a constant for autodiff. A numeric derivative agrees with autodiff only if it holds the
same values fixed: they are kept at the first evaluation and replayed in the others. Gradients that the user defines
(`custom_gradient`, `autograd.Function`, `no_grad`) are noted, since they are not meant to be the derivative.
"""

from __future__ import annotations

import functools
import sys
import types
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

from lossproof.capture.userfiles import is_user_file
from lossproof.lab.backends import running_backend
from lossproof.lab.replace import replaced


@dataclass
class Stops:
    """The values at which the gradient is stopped, in the order of evaluation."""

    kept: list[Any] = field(default_factory=list)
    recorded: bool = False
    unheld: bool = False
    """Whether the gradient was stopped at a value that cannot be held: there was none yet, only a tracer (`jax.vmap`)."""
    _next: int = 0

    @contextmanager
    def evaluation(self) -> Iterator[None]:
        """One evaluation: the first records, the others replay."""
        self._next = 0
        with ExitStack() as stack:
            for owner, name in running_backend().gradient_stops():
                stack.enter_context(replaced(owner, name, functools.partial(self._stop, owner)))
            yield
        self.recorded = True

    def _stop(self, owner: Any, original: Callable[..., Any]) -> Callable[..., Any]:
        depth = 0
        # A method like `Tensor.detach` is called by the backend itself, too, and stops nothing of the user's there.
        everyone = isinstance(owner, types.ModuleType)

        def stop(value: Any, *args: Any, **kwargs: Any) -> Any:
            nonlocal depth
            if depth or not (everyone or is_user_file(sys._getframe(1).f_code.co_filename)):
                return original(value, *args, **kwargs)
            depth += 1
            try:
                stopped = original(value, *args, **kwargs)
            finally:
                depth -= 1
            return self._held(stopped)

        return stop

    def _held(self, stopped: Any) -> Any:
        if not running_backend().is_concrete(stopped):
            self.unheld = True
            return stopped
        if not self.recorded:
            self.kept.append(stopped)
            return stopped
        position, self._next = self._next, self._next + 1
        kept = self.kept[position] if position < len(self.kept) else stopped
        return kept if kept.shape == stopped.shape and kept.dtype == stopped.dtype else stopped


@contextmanager
def custom_gradients() -> Iterator[list[str]]:
    """Inside, the user-defined gradients that are evaluated are named in the list."""
    names: list[str] = []
    with ExitStack() as stack:
        for owner, name, make in running_backend().custom_gradients(names.append):
            stack.enter_context(replaced(owner, name, make))
        yield names
