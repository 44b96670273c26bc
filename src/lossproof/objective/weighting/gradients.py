"""Strategies that make one gradient of the terms' gradients, as a weighted sum whose weights follow from their Gramian."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any, ClassVar

from keras import ops

from lossproof.objective.weighting.base import Tensor, Weighting


class GramianWeighting(Weighting):
    """A strategy whose combined gradient is `sum over k of a_k * g_k`.

    - g_k: the gradient of term k with respect to the weights of the model, as one vector;
    - a_k: `coefficients(gramian, values)`, which depends on the gradients through G alone, G_ij = g_i . g_j. So the K x P
      gradients are read twice (G, and the sum), and all the rest happens in K x K.

    There is no scalar objective with this gradient. The loss that is reported is the plain sum of the values; the
    coefficients are logged as "<term>_gradient_weight".

    Args:
        shared: names of the layers whose weights the terms share. The strategy is then applied to their gradients only, and
            every other weight gets the plain sum of its gradients, as where a term's own head is trained by that term
            alone. None applies it to the gradients of all weights; a weight that a term does not reach has a zero gradient
            there.
        name: the layer's name.
    """

    needs_gradients: ClassVar[bool] = True
    moving: ClassVar[bool] = False

    def __init__(self, shared: str | Sequence[str] | None = None, name: str | None = None) -> None:
        super().__init__(name=name)
        self.shared = shared if shared is None or isinstance(shared, str) else list(shared)
        for one in self._shared_names():
            if not isinstance(one, str) or not one:
                raise TypeError(
                    f"{type(self).__name__}(shared=...) takes the name of a layer, or several, and was given {one!r}."
                )

    def prepare(self, names: Sequence[str]) -> None:
        first = not self.names
        super().prepare(names)
        if first:
            self.last_coefficients = self.state("last_coefficients", [1.0] * len(self.names))

    def coefficients(self, gramian: Tensor, values: Tensor) -> Tensor:
        """The coefficients a (K,) for the Gramian (K, K) and the values (K,), all float32."""
        raise NotImplementedError

    def gradient_weights(self) -> dict[str, Tensor]:
        """The coefficients of the last training step, by term."""
        return self._by_name(self.last_coefficients)

    def combine(
        self, gradients: Sequence[Sequence[Tensor | None]], values: Sequence[Tensor], variables: Sequence[Any] = ()
    ) -> list[Tensor | None]:
        """See `Weighting.combine`."""
        by_variable = list(zip(*gradients, strict=True))
        chosen = self.chosen(variables, len(by_variable))
        stacked = ops.stack([ops.cast(value, "float32") for value in values])
        matrix = gramian([column for column, one in zip(by_variable, chosen, strict=True) if one], len(gradients))
        coefficients = ops.cast(self.coefficients(matrix, stacked), "float32")
        self.last_coefficients.assign(coefficients)
        split = ops.unstack(coefficients, len(gradients))
        return [weighted_sum(column, split if one else None) for column, one in zip(by_variable, chosen, strict=True)]

    def chosen(self, variables: Sequence[Any], count: int) -> list[bool]:
        """Which of the variables the strategy is applied to.

        Raises:
            ValueError: `shared` names a layer that none of the variables belongs to.
        """
        wanted = self._shared_names()
        if not wanted:
            return [True] * count
        owners = [str(variable.path).split("/")[:-1] for variable in variables]
        there = sorted({name for parts in owners for name in parts})
        for name in wanted:
            if name not in there:
                near = difflib.get_close_matches(name, there, n=1)
                raise ValueError(
                    f"{type(self).__name__}(shared={self.shared!r}) names no layer with trainable weights. There are "
                    f"{', '.join(map(repr, there))}." + (f" Did you mean {near[0]!r}?" if near else "")
                )
        return [any(name in parts for name in wanted) for parts in owners]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "shared": self.shared}

    def _shared_names(self) -> list[str]:
        if self.shared is None:
            return []
        return [self.shared] if isinstance(self.shared, str) else list(self.shared)


def gramian(columns: Sequence[Sequence[Tensor | None]], terms: int) -> Tensor:
    """G_ij = g_i . g_j, float32 (K, K), of gradients given by variable: `columns[p][k]`, None for zero."""
    total = ops.zeros((terms, terms), dtype="float32")
    for column in columns:
        reached = [k for k, gradient in enumerate(column) if gradient is not None]
        if not reached:
            continue
        flat = ops.stack([ops.reshape(ops.cast(column[k], "float32"), (-1,)) for k in reached])
        product = ops.matmul(flat, ops.transpose(flat))
        if len(reached) < terms:
            # Rows of the terms that do not reach the variable stay 0.
            spread = [[1.0 if k == i else 0.0 for k in reached] for i in range(terms)]
            place = ops.convert_to_tensor(spread, dtype="float32")
            product = ops.matmul(ops.matmul(place, product), ops.transpose(place))
        total = total + product
    return total


def weighted_sum(column: Sequence[Tensor | None], weights: Sequence[Tensor] | None) -> Tensor | None:
    """The sum of the gradients of one variable, each times its term's weight (1 without weights)."""
    parts = [
        gradient if weights is None else ops.cast(weights[k], gradient.dtype) * gradient
        for k, gradient in enumerate(column)
        if gradient is not None
    ]
    return sum(parts[1:], parts[0]) if parts else None
