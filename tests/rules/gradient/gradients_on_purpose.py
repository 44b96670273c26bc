"""Losses whose gradient is, on purpose, not the derivative of their value: every spelling of a running backend.

Each stops, replaces or turns a part of the gradient. `ON_PURPOSE` names them.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import Any

import keras
from keras import ops
from keras.ops import stop_gradient as stopped_by_keras

BACKEND = os.environ["KERAS_BACKEND"]
Loss = Callable[[Any, Any], Any]
ON_PURPOSE: dict[str, Loss] = {}


def on_purpose(loss: Loss) -> Loss:
    ON_PURPOSE[getattr(loss, "__name__", None) or loss.python_function.__name__] = loss
    return loss


def weighted_by(stop: Callable[[Any], Any], y_true: Any, y_pred: Any) -> Any:
    """Each row's error, weighted by its own size as autodiff must not see it."""
    error = ops.mean(ops.square(y_true - y_pred), axis=-1)
    return stop(ops.exp(-error)) * error


@on_purpose
def keras_stop(y_true: Any, y_pred: Any) -> Any:
    return weighted_by(ops.stop_gradient, y_true, y_pred)


@on_purpose
def keras_stop_imported_by_name(y_true: Any, y_pred: Any) -> Any:
    return weighted_by(stopped_by_keras, y_true, y_pred)


@on_purpose
def straight_through(y_true: Any, y_pred: Any) -> Any:
    rounded = y_pred + ops.stop_gradient(ops.round(y_pred) - y_pred)
    return ops.mean(ops.square(y_true - rounded), axis=-1)


@on_purpose
def surrogate_of_value_zero(y_true: Any, y_pred: Any) -> Any:
    return ops.mean((y_pred - ops.stop_gradient(y_pred)) * y_true, axis=-1)


@on_purpose
def policy_gradient(y_true: Any, y_pred: Any) -> Any:
    log_probability = -ops.square(y_true - y_pred)
    advantage = ops.stop_gradient(ops.sum(y_true * y_pred, axis=-1, keepdims=True))
    return ops.mean(ops.exp(log_probability - ops.stop_gradient(log_probability)) * advantage, axis=-1)


class TargetNetwork(keras.losses.Loss):
    """A stop in a method, behind a partial."""

    def call(self, y_true: Any, y_pred: Any) -> Any:
        bootstrap = functools.partial(ops.multiply, 0.9)
        target = y_true + ops.stop_gradient(bootstrap(ops.max(y_pred, axis=-1, keepdims=True)))
        return ops.mean(ops.square(target - y_pred), axis=-1)


ON_PURPOSE["stop_in_a_class"] = TargetNetwork()


@ops.custom_gradient
def reversed_by_keras(x: Any) -> Any:
    def grad(*args: Any, upstream: Any = None) -> Any:
        return -(args[0] if upstream is None else upstream)

    return x * 1.0, grad


@on_purpose
def keras_custom_gradient(y_true: Any, y_pred: Any) -> Any:
    return ops.mean(ops.square(y_true - reversed_by_keras(y_pred)), axis=-1)


if BACKEND == "tensorflow":
    import tensorflow as tf
    from tensorflow import stop_gradient

    HELD = tf.stop_gradient

    @on_purpose
    def tf_stop(y_true: Any, y_pred: Any) -> Any:
        return weighted_by(tf.stop_gradient, y_true, y_pred)

    @on_purpose
    def tf_stop_imported_by_name(y_true: Any, y_pred: Any) -> Any:
        return weighted_by(stop_gradient, y_true, y_pred)

    @on_purpose
    def tf_stop_under_another_name(y_true: Any, y_pred: Any) -> Any:
        return weighted_by(HELD, y_true, y_pred)

    def _with_default(y_true: Any, y_pred: Any, stop: Any = tf.stop_gradient) -> Any:
        return weighted_by(stop, y_true, y_pred)

    ON_PURPOSE["tf_stop_as_default"] = _with_default
    ON_PURPOSE["tf_stop_in_partial"] = functools.partial(weighted_by, tf.stop_gradient)

    @on_purpose
    @tf.function
    def tf_stop_in_a_graph(y_true: Any, y_pred: Any) -> Any:
        return weighted_by(tf.stop_gradient, y_true, y_pred)

    @tf.function
    def _traced(y_true: Any, y_pred: Any) -> Any:
        return weighted_by(ops.stop_gradient, y_true, y_pred)

    @on_purpose
    def keras_stop_in_an_inner_graph(y_true: Any, y_pred: Any) -> Any:
        return _traced(y_true, y_pred)

    @tf.custom_gradient
    def _reversed(x: Any) -> Any:
        return x * 1.0, lambda upstream: -upstream

    @on_purpose
    def tf_custom_gradient(y_true: Any, y_pred: Any) -> Any:
        return ops.mean(ops.square(y_true - _reversed(y_pred)), axis=-1)

    @on_purpose
    @tf.function
    def tf_custom_gradient_in_a_graph(y_true: Any, y_pred: Any) -> Any:
        return ops.mean(ops.square(y_true - _reversed(y_pred)), axis=-1)

    @on_purpose
    def tf_passed_through(y_true: Any, y_pred: Any) -> Any:
        rounded = tf.grad_pass_through(tf.round)(y_pred)
        return ops.mean(ops.square(y_true - rounded), axis=-1)

    @on_purpose
    def tf_own_pass_through(y_true: Any, y_pred: Any) -> Any:
        halves = tf.grad_pass_through(lambda value: tf.round(2.0 * value) / 2.0 + value**2)(y_pred)
        return ops.mean(ops.square(y_true - halves), axis=-1)


if BACKEND == "jax":
    import jax
    import jax.numpy as jnp
    from jax.lax import stop_gradient as stopped_by_jax

    @on_purpose
    def jax_stop(y_true: Any, y_pred: Any) -> Any:
        return weighted_by(jax.lax.stop_gradient, y_true, y_pred)

    @on_purpose
    def jax_stop_imported_by_name(y_true: Any, y_pred: Any) -> Any:
        return weighted_by(stopped_by_jax, y_true, y_pred)

    ON_PURPOSE["jax_stop_in_partial"] = functools.partial(weighted_by, jax.lax.stop_gradient)

    @on_purpose
    @jax.jit
    def jax_stop_in_jit(y_true: Any, y_pred: Any) -> Any:
        return weighted_by(jax.lax.stop_gradient, y_true, y_pred)

    @jax.jit
    def _jitted(y_true: Any, y_pred: Any) -> Any:
        return weighted_by(ops.stop_gradient, y_true, y_pred)

    @on_purpose
    def keras_stop_in_an_inner_jit(y_true: Any, y_pred: Any) -> Any:
        return _jitted(y_true, y_pred)

    @on_purpose
    def jax_stop_in_vmap(y_true: Any, y_pred: Any) -> Any:
        def row(true: Any, pred: Any) -> Any:
            error = jnp.mean((true - pred) ** 2)
            return jax.lax.stop_gradient(jnp.exp(-error)) * error

        return jax.vmap(row)(y_true, y_pred)

    @on_purpose
    def jax_stop_in_scan(y_true: Any, y_pred: Any) -> Any:
        def step(carry: Any, pair: Any) -> Any:
            true, pred = pair
            error = jnp.mean((true - pred) ** 2)
            return carry, jax.lax.stop_gradient(jnp.exp(-error)) * error

        return jax.lax.scan(step, 0.0, (y_true, y_pred))[1]

    @jax.custom_vjp
    def _vjp(x: Any) -> Any:
        return x * 1.0

    _vjp.defvjp(lambda x: (x * 1.0, None), lambda _, upstream: (-upstream,))

    @on_purpose
    def jax_custom_vjp(y_true: Any, y_pred: Any) -> Any:
        return jnp.mean((y_true - _vjp(y_pred)) ** 2, axis=-1)

    @jax.custom_jvp
    def _jvp(x: Any) -> Any:
        return x * 1.0

    @_jvp.defjvp
    def _jvp_rule(primals: Any, tangents: Any) -> Any:
        return primals[0] * 1.0, -tangents[0]

    @on_purpose
    def jax_custom_jvp(y_true: Any, y_pred: Any) -> Any:
        return jnp.mean((y_true - _jvp(y_pred)) ** 2, axis=-1)

    @jax.custom_gradient
    def _gradient(x: Any) -> Any:
        return x * 1.0, lambda upstream: -upstream

    @on_purpose
    def jax_custom_gradient(y_true: Any, y_pred: Any) -> Any:
        return jnp.mean((y_true - _gradient(y_pred)) ** 2, axis=-1)

    @on_purpose
    @jax.jit
    def jax_custom_vjp_in_jit(y_true: Any, y_pred: Any) -> Any:
        return jnp.mean((y_true - _vjp(y_pred)) ** 2, axis=-1)


if BACKEND == "torch":
    import torch
    from torch import no_grad

    @on_purpose
    def detach(y_true: Any, y_pred: Any) -> Any:
        return weighted_by(torch.Tensor.detach, y_true, y_pred)

    @on_purpose
    def detach_as_method(y_true: Any, y_pred: Any) -> Any:
        return weighted_by(lambda value: value.detach(), y_true, y_pred)

    @on_purpose
    def torch_detach(y_true: Any, y_pred: Any) -> Any:
        return weighted_by(torch.detach, y_true, y_pred)

    @on_purpose
    def attribute_data(y_true: Any, y_pred: Any) -> Any:
        return weighted_by(lambda value: value.data, y_true, y_pred)

    @on_purpose
    def detach_to_numpy(y_true: Any, y_pred: Any) -> Any:
        import numpy as np

        return weighted_by(lambda value: torch.from_numpy(np.array(value.detach().cpu().numpy())), y_true, y_pred)

    @on_purpose
    def in_no_grad(y_true: Any, y_pred: Any) -> Any:
        with torch.no_grad():
            weight = torch.exp(-torch.mean((y_true - y_pred) ** 2, dim=-1))
        return weight * torch.mean((y_true - y_pred) ** 2, dim=-1)

    @on_purpose
    def in_inference_mode(y_true: Any, y_pred: Any) -> Any:
        with torch.inference_mode():
            weight = torch.exp(-torch.mean((y_true - y_pred) ** 2, dim=-1))
        return weight.clone() * torch.mean((y_true - y_pred) ** 2, dim=-1)

    @on_purpose
    def in_grad_disabled(y_true: Any, y_pred: Any) -> Any:
        with torch.set_grad_enabled(False):
            weight = torch.exp(-torch.mean((y_true - y_pred) ** 2, dim=-1))
        return weight * torch.mean((y_true - y_pred) ** 2, dim=-1)

    @torch.no_grad()
    def _weight(y_true: Any, y_pred: Any) -> Any:
        return torch.exp(-torch.mean((y_true - y_pred) ** 2, dim=-1))

    @on_purpose
    def decorated_no_grad(y_true: Any, y_pred: Any) -> Any:
        return _weight(y_true, y_pred) * torch.mean((y_true - y_pred) ** 2, dim=-1)

    @no_grad
    def _bare(y_true: Any, y_pred: Any) -> Any:
        return torch.exp(-torch.mean((y_true - y_pred) ** 2, dim=-1))

    @on_purpose
    def decorated_no_grad_without_call(y_true: Any, y_pred: Any) -> Any:
        return _bare(y_true, y_pred) * torch.mean((y_true - y_pred) ** 2, dim=-1)

    class _Reversed(torch.autograd.Function):
        @staticmethod
        def forward(context: Any, x: Any) -> Any:
            return x * 1.0

        @staticmethod
        def backward(context: Any, upstream: Any) -> Any:
            return -upstream

    @on_purpose
    def autograd_function(y_true: Any, y_pred: Any) -> Any:
        return torch.mean((y_true - _Reversed.apply(y_pred)) ** 2, dim=-1)

    @on_purpose
    def hook(y_true: Any, y_pred: Any) -> Any:
        passed = y_pred * 1.0
        if passed.requires_grad:
            passed.register_hook(lambda upstream: -upstream)
        return torch.mean((y_true - passed) ** 2, dim=-1)

    @on_purpose
    def detached_in_place(y_true: Any, y_pred: Any) -> Any:
        error = torch.mean((y_true - y_pred) ** 2, dim=-1)
        weight = torch.exp(-error)
        return weight.detach_() * torch.mean((y_true - y_pred) ** 2, dim=-1)
