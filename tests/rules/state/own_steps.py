"""Model classes with a `train_step` of their own in the form of this backend, and what a rule says of a script."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import keras
import numpy as np
from keras import ops

from lossproof.capture.watch import Watch
from lossproof.findings.finding import Finding
from lossproof.pipeline import judge

BACKEND = os.environ["KERAS_BACKEND"]
ROWS = 32
"""One batch, so that NumPy sees what a rule sees."""
_random = np.random.default_rng(11)
X = _random.normal(size=(ROWS, 3)).astype("float32")
Y = (X @ _random.normal(size=(3, 1)) + 0.5).astype("float32")


def findings(code: str, script: Callable[[], Any], raises: bool = False) -> list[Finding]:
    """What one rule says of a script, which may end in an exception where `raises` says so."""
    with Watch(shorten=True) as watch, suppress(*([Exception] if raises else [])):
        script()
    assert watch.run.captures
    report = judge(watch.run, select=[code])
    assert not report.crashed, report.crashed
    assert not watch.defects, watch.defects
    return list(report.findings)


def linear(kind: type[keras.Model] = keras.Model) -> Any:
    """One dense layer, in a model of some class."""
    inputs = keras.Input((3,))
    return kind(inputs, keras.layers.Dense(1)(inputs))


def errors(weights: list[np.ndarray], x: np.ndarray = X, y: np.ndarray = Y) -> np.ndarray:
    """Target minus prediction of `linear`, in float64."""
    kernel, bias = (one.astype("float64") for one in weights)
    return y - (x @ kernel + bias)


def norm(gradients: Any) -> Any:
    """The Euclidean norm of a gradient over all weights."""
    return ops.sqrt(sum(ops.sum(ops.square(one)) for one in gradients))


if BACKEND == "tensorflow":
    import tensorflow as tf

    class Stepping(keras.Model):
        """Minimises `objective`; `noted` and `judged` update metrics, and return the logs of the two steps."""

        def objective(self, x: Any, y: Any, y_pred: Any) -> Any:
            return self.compute_loss(x, y, y_pred)

        def noted(self, y: Any, y_pred: Any, loss: Any, gradients: Any) -> dict[str, Any]:
            return {"loss": loss}

        def train_step(self, data: Any) -> Any:
            x, y = data
            with tf.GradientTape() as tape:
                y_pred = self(x, training=True)
                loss = self.objective(x, y, y_pred)
            gradients = tape.gradient(loss, self.trainable_variables)
            self.optimizer.apply(gradients, self.trainable_variables)
            return self.noted(y, y_pred, loss, gradients)

    class Judging(Stepping):
        """With a `test_step` of its own as well."""

        def judged(self, y: Any, y_pred: Any, loss: Any) -> dict[str, Any]:
            return {"loss": loss}

        def test_step(self, data: Any) -> Any:
            x, y = data
            y_pred = self(x, training=False)
            return self.judged(y, y_pred, self.objective(x, y, y_pred))

elif BACKEND == "torch":
    import torch

    class Stepping(keras.Model):
        """Minimises `objective`; `noted` and `judged` update metrics, and return the logs of the two steps."""

        def objective(self, x: Any, y: Any, y_pred: Any) -> Any:
            return self.compute_loss(x, y, y_pred)

        def noted(self, y: Any, y_pred: Any, loss: Any, gradients: Any) -> dict[str, Any]:
            return {"loss": loss}

        def train_step(self, data: Any) -> Any:
            x, y = data
            self.zero_grad()
            y_pred = self(x, training=True)
            loss = self.objective(x, y, y_pred)
            loss.backward()
            gradients = [one.value.grad for one in self.trainable_variables]
            with torch.no_grad():
                self.optimizer.apply(gradients, self.trainable_variables)
                return self.noted(y, y_pred, loss.detach(), gradients)

    class Judging(Stepping):
        """With a `test_step` of its own as well."""

        def judged(self, y: Any, y_pred: Any, loss: Any) -> dict[str, Any]:
            return {"loss": loss}

        def test_step(self, data: Any) -> Any:
            x, y = data
            y_pred = self(x, training=False)
            return self.judged(y, y_pred, self.objective(x, y, y_pred))

else:
    import jax

    def _with_metrics(model: Any, values: Any, update: Callable[[], Any]) -> tuple[Any, list[Any]]:
        mapping = list(zip(model.metrics_variables, values, strict=True))
        with keras.StatelessScope(mapping) as scope:
            logs = update()
        new = [scope.get_current_value(variable) for variable, _ in mapping]
        return logs, [value if one is None else one for one, value in zip(new, values, strict=True)]

    class Stepping(keras.Model):
        """Minimises `objective`; `noted` and `judged` update metrics, and return the logs of the two steps."""

        def objective(self, x: Any, y: Any, y_pred: Any) -> Any:
            return self.compute_loss(x, y, y_pred)

        def noted(self, y: Any, y_pred: Any, loss: Any, gradients: Any) -> dict[str, Any]:
            return {"loss": loss}

        def train_step(self, state: Any, data: Any) -> Any:
            trainable, others, of_optimizer, of_metrics = state
            x, y = data

            def loss_of(trainable: Any, others: Any) -> Any:
                y_pred, others = self.stateless_call(trainable, others, x, training=True)
                # A scaled loss reads the scale from the optimizer, and a penalty the weights.
                groups = (self.trainable_variables, self.non_trainable_variables, self.optimizer.variables)
                values = (trainable, others, of_optimizer)
                pairs = [pair for one, its in zip(groups, values, strict=True) for pair in zip(one, its, strict=True)]
                with keras.StatelessScope(pairs):
                    return self.objective(x, y, y_pred), (y_pred, others)

            (loss, (y_pred, others)), gradients = jax.value_and_grad(loss_of, has_aux=True)(trainable, others)
            trainable, of_optimizer = self.optimizer.stateless_apply(of_optimizer, gradients, trainable)
            logs, of_metrics = _with_metrics(self, of_metrics, lambda: self.noted(y, y_pred, loss, gradients))
            return logs, (trainable, others, of_optimizer, of_metrics)

    class Judging(Stepping):
        """With a `test_step` of its own as well."""

        def judged(self, y: Any, y_pred: Any, loss: Any) -> dict[str, Any]:
            return {"loss": loss}

        def test_step(self, state: Any, data: Any) -> Any:
            trainable, others, of_metrics = state
            x, y = data
            y_pred, others = self.stateless_call(trainable, others, x, training=False)
            loss = self.objective(x, y, y_pred)
            logs, of_metrics = _with_metrics(self, of_metrics, lambda: self.judged(y, y_pred, loss))
            return logs, (trainable, others, of_metrics)
