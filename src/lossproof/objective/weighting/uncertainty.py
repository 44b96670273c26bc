"""Homoscedastic uncertainty: each term's weight is a learned precision."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

import keras
from keras import ops

from lossproof.objective.weighting.base import Tensor, Weighting, finite, known

Kind = Literal["regression", "classification"]
FACTORS: dict[str, float] = {"regression": 0.5, "classification": 1.0}


@keras.saving.register_keras_serializable(package="lossproof")
class Uncertainty(Weighting):
    """Weighs each term by a learned variance, which the optimizer trains with the model.

        total = sum over k of  c_k * exp(-s_k) * L_k  +  s_k / 2

    - L_k: the value of term k;
    - s_k = log(sigma_k ** 2): the term's log-variance, a trainable weight of the strategy, `log_variances`, starting at
      log(`initial`);
    - c_k: 1/2 for a term of `kinds` "regression" (a squared error, the negative log-likelihood of a Gaussian), 1 for
      "classification" (a cross-entropy, whose softmax is scaled by 1 / sigma ** 2).

    The logged weight of a term is c_k * exp(-s_k); the sum of the s_k / 2 is in the loss beside the weighted terms.

    Source: Kendall, Gal & Cipolla, "Multi-Task Learning Using Uncertainty to Weigh Losses for Scene Geometry and
    Semantics", CVPR 2018: equation 7 for two regressions, equation 10 for a regression with a classification (log sigma =
    s / 2), and section 3.2 for learning s in place of sigma. The paper's form for a classification is itself an
    approximation, exact as sigma goes to 1. Weight decay of an optimizer pulls s_k towards 0 (sigma = 1), which the paper
    does not have: exclude it by `optimizer.exclude_from_weight_decay(var_names=["log_variances"])`.

    The loss can fall below zero: log-likelihoods are not bounded.

    Args:
        initial: sigma ** 2 at the start, in units of the term's value: a positive number, or one by term name (others
            start at 1).
        kinds: "regression" or "classification", for all terms or by term name (others are regressions).
        name: the layer's name.

    Raises:
        TypeError: `initial` is not a number.
        ValueError: `initial` is not positive and finite, a kind is neither of the two, or (when the Trainer is built) a
            name is no term's.
    """

    def __init__(
        self,
        initial: float | Mapping[str, float] = 1.0,
        kinds: Kind | Mapping[str, Kind] = "regression",
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        for variance in initial.values() if isinstance(initial, Mapping) else (initial,):
            finite(self, "initial", variance, above=0.0)
        for kind in kinds.values() if isinstance(kinds, Mapping) else (kinds,):
            if kind not in FACTORS:
                raise ValueError(
                    f"Uncertainty(kinds=...) takes 'regression' or 'classification', and was given {kind!r}."
                )
        self.initial = dict(initial) if isinstance(initial, Mapping) else initial
        self.kinds = dict(kinds) if isinstance(kinds, Mapping) else kinds

    def check_names(self, names: tuple[str, ...]) -> None:
        if isinstance(self.initial, Mapping):
            known(self, "initial", self.initial, names)
        if isinstance(self.kinds, Mapping):
            known(self, "kinds", self.kinds, names)

    def create(self) -> None:
        variances = [self._of(self.initial, name, 1.0) for name in self.names]
        self.factors = [FACTORS[self._of(self.kinds, name, "regression")] for name in self.names]
        self.log_variances = self.state("log_variances", [math.log(one) for one in variances], trainable=True)

    def weigh(self, values: Tensor, training: bool) -> Tensor:
        return ops.convert_to_tensor(self.factors, "float32") * ops.exp(-ops.convert_to_tensor(self.log_variances))

    def rest(self) -> Tensor:
        return ops.sum(ops.convert_to_tensor(self.log_variances)) / 2

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "initial": self.initial, "kinds": self.kinds}

    @staticmethod
    def _of(given: Any, name: str, default: Any) -> Any:
        return given.get(name, default) if isinstance(given, Mapping) else given
