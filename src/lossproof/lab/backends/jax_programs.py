"""JAX functions run in one piece. Eagerly, XLA compiles each operation for each new shape, which takes most of a check.

The values must be those of eager execution, where a NaN is met that a rewritten program hides (`x * 0` as `0`, the
product of a mask and a NaN as a select). So XLA is told to leave algebra alone, and not to spend time on fast code that
runs once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import jax

AS_WRITTEN = {
    "xla_disable_hlo_passes": "algsimp",
    "xla_backend_optimization_level": 0,
    "xla_llvm_disable_expensive_passes": True,
}


KEPT = 500
"""Programs; a check of one objective compiles about a hundred, and each takes memory mappings, of which there are few."""


class Programs:
    """Compiles each program once: the same operations on the same shapes are one, whoever wrote them down."""

    def __init__(self) -> None:
        self._compiled: dict[str, Any] = {}

    def prepared(self, function: Callable[..., Any], *args: Any) -> Callable[..., Any]:
        """The function as one program; the function itself where it cannot be traced as a whole.

        Args:
            function: Of arrays, to nested arrays. What it closes over is handed to the program as data.
            args: Nested arrays, of the shapes with which it will be called.
        """
        leaves = jax.tree.leaves(args)
        if any(isinstance(leaf, jax.core.Tracer) for leaf in leaves) or jax.config.jax_disable_jit:
            return function
        try:
            closed, shapes = jax.make_jaxpr(function, return_shape=True)(*args)
        except Exception:  # the user's code looks at values, or fails on its own; eagerly it will be seen which
            return function
        count = len(closed.consts)

        def program(*inputs: Any) -> Any:
            return jax.core.eval_jaxpr(closed.jaxpr, inputs[:count], *inputs[count:])

        inputs = [*closed.consts, *leaves]
        form = jax.tree.structure(shapes)
        lowered = jax.jit(program, keep_unused=True).lower(*inputs)
        places = [str(getattr(one, "sharding", None)) for one in inputs]
        key = hashlib.sha256("\n".join([lowered.as_text(), *places]).encode()).hexdigest()
        if key not in self._compiled:
            while len(self._compiled) >= KEPT:
                del self._compiled[next(iter(self._compiled))]
            self._compiled[key] = lowered.compile(compiler_options=AS_WRITTEN)
        compiled = self._compiled[key]
        return lambda *given: jax.tree.unflatten(form, compiled(*closed.consts, *jax.tree.leaves(given)))
