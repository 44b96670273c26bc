"""Weights from how fast each term fell over the last two epochs."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from lossproof.objective.weighting.base import Tensor, Weighting, finite


class EpochStart(keras.metrics.Metric):
    """Knows whether a training step has run since Keras last reset the metrics, which `fit` does when an epoch begins.

    It reports nothing. This is how a strategy learns of the epoch inside the compiled step, on each backend, without a
    callback: the flag is a metric's variable, so `fit` clears it and JAX carries it through the step.
    """

    def __init__(self) -> None:
        super().__init__(name="epoch_start", dtype="float32")
        self.stepped = self.add_variable((), "zeros", name="stepped")

    def update_state(self) -> None:
        """Say that a training step has run."""
        self.stepped.assign(ops.ones(()))

    def result(self) -> dict[str, Tensor]:
        """Nothing to report."""
        return {}


@keras.saving.register_keras_serializable(package="lossproof")
class DynamicWeightAverage(Weighting):
    """Gives more weight to the terms that fell least over the last two epochs.

        total = sum over k of  w_k * L_k
        w_k   = K * exp(r_k / T) / (sum over i of exp(r_i / T))
        r_k   = mean of L_k over the last epoch / its mean over the epoch before

    - L_k: the value of term k at this step;
    - r_k: its relative descending rate; during the first two epochs each is 1, so each weight is 1;
    - T: `temperature`; the larger, the more even the weights;
    - K: the number of terms, to which the weights sum.

    An epoch is what `fit` takes for one: it begins where Keras resets the metrics (`fit` does so at the start of each
    epoch). A loop of `train_on_batch` has to call `reset_metrics()` itself there, as it has to for its metrics; else the
    weights stay 1. `evaluate` called by a callback in the middle of an epoch resets the metrics too, and so ends it. With
    `window`, an epoch is that many training steps instead, whatever `fit` does.

    Source: Liu, Johns & Davison, "End-to-End Multi-Task Learning with Attention", CVPR 2019, section 3.3, equation 7,
    where T = 2. As there, the mean is taken over the epoch's batches, whatever their size. A mean of 0 has no rate: it
    counts as 1.

    Args:
        temperature: T, positive.
        window: the number of training steps of an epoch; None takes `fit`'s.
        name: the layer's name.

    Raises:
        TypeError: `temperature` is not a number.
        ValueError: `temperature` or `window` is not positive.
    """

    def __init__(self, temperature: float = 2.0, window: int | None = None, name: str | None = None) -> None:
        super().__init__(name=name)
        self.temperature = finite(self, "temperature", temperature, above=0.0)
        if window is not None and (isinstance(window, bool) or not isinstance(window, int) or window < 1):
            raise ValueError(f"{type(self).__name__}(window=...) takes a number of steps, 1 or more, not {window!r}.")
        self.window = window

    def create(self) -> None:
        zeros = [0.0] * len(self.names)
        self.sums = self.state("sums", zeros)
        self.steps = self.state("steps", 0.0)
        self.last_means = self.state("last_means", zeros)
        self.means_before = self.state("means_before", zeros)
        self.epochs = self.state("epochs", 0.0)
        self.epoch_start = EpochStart()

    def weigh(self, values: Tensor, training: bool) -> Tensor:
        if not training:
            return self._weights(*self._state())
        sums, steps, last, before, epochs = self._state()
        if self.window is None:
            over = (ops.convert_to_tensor(self.epoch_start.stepped) == 0) & (steps > 0)
        else:
            over = steps >= self.window
        # The step that begins an epoch first closes the one before.
        before = ops.where(over, last, before)
        last = ops.where(over, sums / ops.maximum(steps, 1.0), last)
        epochs = ops.where(over, epochs + 1, epochs)
        weights = self._weights(sums, steps, last, before, epochs)
        self.means_before.assign(before)
        self.last_means.assign(last)
        self.epochs.assign(epochs)
        self.sums.assign(ops.where(over, values, sums + values))
        self.steps.assign(ops.where(over, ops.ones_like(steps), steps + 1))
        self.epoch_start.update_state()
        return weights

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "temperature": self.temperature, "window": self.window}

    def _state(self) -> list[Tensor]:
        names = ("sums", "steps", "last_means", "means_before", "epochs")
        return [ops.convert_to_tensor(getattr(self, name)) for name in names]

    def _weights(self, sums: Tensor, steps: Tensor, last: Tensor, before: Tensor, epochs: Tensor) -> Tensor:
        defined = (epochs >= 2) & (before != 0)
        rates = ops.where(defined, last / ops.where(defined, before, ops.ones_like(before)), ops.ones_like(before))
        return len(self.names) * ops.softmax(rates / self.temperature)
