"""What a strategy for all terms is: how K term values, and perhaps their gradients, become one step."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import keras
from keras import ops

from lossproof.objective.steps.replicas import replicas, sum_over_replicas

Tensor = Any


class Weighting(keras.layers.Layer):
    """How the values of an objective's terms become one loss.

    It is a layer so that Keras tracks and saves its variables: whatever changes during training lives in them, so that it
    is live in compiled steps on each backend and is resumed by `load_model`.

    The Trainer calls, in this order:

    1. `prepare(names)` once, at construction: the variables are made here.
    2. `total(values, training=...)` in `compute_loss`. `values` are the K reduced values of the terms in the order of
       `names`, each already multiplied by the term's own weight (a number or a schedule). The result is

           total = sum over k of w_k * value_k + rest

       with the weights `w_k` that `term_weights()` gives afterwards. `rest` is what a strategy adds that is no term
       (Uncertainty's log-variances), 0 for most. The added losses (regularizers, `add_loss`) are not a strategy's
       business: the Trainer adds them to the total.
    3. Only where `needs_gradients`: `combine(gradients, values, variables)` with the K gradients of one forward pass. It
       replaces the gradient of the total with respect to the variables of the model; the gradient of the added losses is
       added to it by the step. Such a strategy has no scalar objective, so the loss that is reported stays the total (for
       all but GradNorm, the plain sum of the values), and the coefficients by which the gradients were summed are
       `gradient_weights()`.
    4. `term_weights()` and `gradient_weights()` for the logs "<term>_weight" and "<term>_gradient_weight". They read
       variables that `total` and `combine` set, so they have to be read in the scope in which those ran (on JAX inside
       the step, where the state of the layer is mapped).

    In evaluation (`training=False`) no state moves: `total` weighs by what training left behind.

    Under `tf.distribute` the values are those of one replica, scaled as Keras scales its own losses (their sum over the
    replicas is the value on the global batch); strategies look at the sums. In torch processes the values are averaged.
    """

    needs_gradients: ClassVar[bool] = False
    """Whether the Trainer has to compute the terms' gradients one by one and call `combine`."""

    moving: ClassVar[bool] = True
    """Whether the weights of the total change, and are therefore logged; where not, they are all 1."""

    def __init__(self, name: str | None = None) -> None:
        # float32 whatever the policy of the model: weights and their statistics are few, and lose too much in float16.
        super().__init__(name=name, dtype="float32")
        self.names: tuple[str, ...] = ()

    # What the Trainer calls ------------------------------------------------------------------------------------------

    def prepare(self, names: Sequence[str]) -> None:
        """Make the variables for the terms `names`. Once; again only with the same names.

        Raises:
            ValueError: fewer than two terms, names that are not distinct, or names in the strategy's own arguments that
                no term has.
        """
        wanted = tuple(names)
        if self.names:
            if wanted != self.names:
                raise ValueError(
                    f"This {type(self).__name__} already weighs the terms {_listed(self.names)}; it cannot weigh "
                    f"{_listed(wanted)} as well. Give each objective a strategy of its own."
                )
            return
        if len(set(wanted)) != len(wanted):
            raise ValueError(f"{type(self).__name__} needs terms of distinct names, and was given {_listed(wanted)}.")
        if len(wanted) < 2:
            raise ValueError(
                f"{type(self).__name__} weighs several terms against each other, and this objective has "
                f"{'only ' + _listed(wanted) if wanted else 'none'}. Leave out weighting=, or add a term."
            )
        self.check_names(wanted)
        self.names = wanted
        self.last_weights = self.state("last_weights", [1.0] * len(wanted))
        self.create()
        self.built = True

    def total(self, values: Sequence[Tensor], training: bool = True) -> Tensor:
        """The scalar loss of the values, float32, differentiable in them and in the trainable weights of the strategy.

        Args:
            values: K scalars in the order of `names`.
            training: whether this is a training step; only then may state move.
        """
        stacked = ops.stack([ops.cast(value, "float32") for value in values])
        seen = sum_over_replicas(ops.stop_gradient(stacked))
        weights = self.weigh(seen, training)
        if training:
            self.last_weights.assign(ops.stop_gradient(weights))
        rest = self.rest()
        total = ops.sum(weights * stacked)
        return total if rest is None else total + rest / replicas()

    def term_weights(self) -> dict[str, Tensor]:
        """The weights of the last training step's total, by term; empty where they never move (all are 1)."""
        return self._by_name(self.last_weights) if self.moving else {}

    def combine(
        self, gradients: Sequence[Sequence[Tensor | None]], values: Sequence[Tensor], variables: Sequence[Any] = ()
    ) -> list[Tensor | None]:
        """One gradient from the K of the terms, where `needs_gradients`.

        Args:
            gradients: K lists of P tensors, `gradients[k][p]` of the shape of variable p; None where term k does not reach
                it. They are the gradients of `values`, on the global batch.
            values: the K scalars.
            variables: the P Keras variables, for strategies that treat some of them apart.

        Returns:
            P tensors; None where no term reaches the variable.
        """
        raise NotImplementedError(f"{type(self).__name__} does not combine gradients.")

    def gradient_weights(self) -> dict[str, Tensor]:
        """The coefficients by which the last `combine` summed the gradients, by term; empty where there is no such."""
        return {}

    # What a strategy fills in ----------------------------------------------------------------------------------------

    def create(self) -> None:
        """Make the strategy's own variables; `self.names` is set."""

    def check_names(self, names: tuple[str, ...]) -> None:
        """Raise ValueError for a name in the strategy's arguments that is not in `names`."""

    def weigh(self, values: Tensor, training: bool) -> Tensor:
        """The weights (K,) for the values (K,), which carry no gradient; moves the state if `training`."""
        return ops.ones_like(values)

    def rest(self) -> Tensor | None:
        """What the total holds beside the weighted values, as a scalar; None for nothing."""
        return None

    # Helpers ---------------------------------------------------------------------------------------------------------

    def state(self, name: str, initial: Any, trainable: bool = False) -> Any:
        """A float32 variable of the strategy, with the value `initial`."""
        array = ops.convert_to_numpy(ops.cast(initial, "float32"))
        return self.add_weight(
            name=name,
            shape=array.shape,
            dtype="float32",
            initializer=lambda shape, dtype=None: ops.reshape(ops.cast(array, dtype or "float32"), shape),
            trainable=trainable,
        )

    def _by_name(self, weights: Any) -> dict[str, Tensor]:
        values = ops.convert_to_tensor(weights)
        return {name: values[k] for k, name in enumerate(self.names)}

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        return {"name": self.name}

    def call(self, values: Sequence[Tensor], training: bool = False) -> Tensor:
        """The same as `total`, for those who use it as a layer."""
        return self.total(values, training=training)


def finite(owner: object, argument: str, value: Any, above: float = -math.inf) -> float:
    """`value` as a float, or the error that says which argument of which strategy is no number or too small."""
    what = f"{type(owner).__name__}({argument}=...)"
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{what} takes a number, and was given {value!r}.")
    if not math.isfinite(value):
        raise ValueError(f"{what} takes a finite number, and was given {value!r}.")
    if not value > above:
        raise ValueError(f"{what} takes a number above {above:g}, and was given {value!r}.")
    return float(value)


def known(owner: object, argument: str, given: Mapping[str, Any], names: Sequence[str]) -> None:
    """Raise for names of `given` that are no terms, and suggest the nearest."""
    for name in given:
        if name not in names:
            near = difflib.get_close_matches(name, names, n=1)
            raise ValueError(
                f"{type(owner).__name__}({argument}=...) names {name!r}, which is no term of the objective. "
                f"Its terms are {_listed(names)}." + (f" Did you mean {near[0]!r}?" if near else "")
            )


def _listed(names: Sequence[str]) -> str:
    return ", ".join(repr(name) for name in names)
