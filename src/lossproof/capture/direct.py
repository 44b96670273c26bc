"""A `Run` of one capture made from a model or a loss at hand, without a script."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from lossproof import keras_private
from lossproof.capture.batch import copy_batch
from lossproof.capture.copies import copies
from lossproof.capture.place import user_place
from lossproof.capture.record import Capture, Compiled, LossCall, Run


def captured_model(model: Any, data: dict[str, Any]) -> Run:
    """The objective of a compiled model on some data, as `fit` would meet it."""
    from lossproof.lab.received import received_batch

    where = user_place()
    config = model.get_compile_config() if not hasattr(model, "_compile_config") else dict(model._compile_config.config)
    capture = Capture(
        id=1,
        call="check",
        where=where,
        model=model,
        compiled=Compiled(1, config, where),
        data=data,
        batch=copy_batch(data, spread=True),
        signature=(),
        weights=None,
    )
    batch = received_batch(capture)
    keras_private.build(model, (batch.x, batch.y, batch.sample_weight))
    capture.weights = copies(model.variables)
    return Run(captures=[capture])


def captured_loss(fn: Any, y_true: Any, y_pred: Any, sample_weight: Any) -> Run:
    """A loss on targets and predictions.

    Raises:
        TypeError: `fn` is no loss.
        ValueError: The rows of targets and predictions differ in number.
    """
    loss = keras.losses.get(fn) if isinstance(fn, str) else fn
    if not isinstance(loss, keras.losses.Loss):
        if not callable(loss):
            raise TypeError(
                f"expected a function of (y_true, y_pred), a keras.losses.Loss or a built-in's name, "
                f"found {type(fn).__name__}"
            )
        loss = _wrapped(loss)
    rows = [np.shape(leaf)[0] if np.ndim(leaf) else None for leaf in keras.tree.flatten([y_true, y_pred])]
    if len(set(rows)) > 1:
        raise ValueError(f"y_true and y_pred must have the same number of rows, found {', '.join(map(str, rows))}")
    where = user_place()
    capture = Capture(
        id=1,
        call="check_loss",
        where=where,
        model=None,
        compiled=None,
        data={},
        batch=None,
        signature=(),
    )
    return Run(captures=[capture], loose_losses=[LossCall(loss, y_true, y_pred, sample_weight, where)])


def _wrapped(function: Any) -> keras.losses.Loss:
    # The class that `compile` wraps a function in is reachable through any built-in loss.
    wrapper = keras.losses.MeanSquaredError.__mro__[1]
    return wrapper(function, name=getattr(function, "__name__", type(function).__name__))
