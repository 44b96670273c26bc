"""A `Run` of one capture made from a model or a loss at hand, without a script."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from lossproof import keras_private
from lossproof.capture.batch import copy_batch
from lossproof.capture.copies import copies
from lossproof.capture.loose import loss_capture
from lossproof.capture.place import user_place
from lossproof.capture.record import Capture, Compiled, LossCall, Run


def captured_model(model: Any, data: dict[str, Any]) -> Run:
    """The objective of a compiled model on some data, as `fit` would meet it."""
    from lossproof.lab.received import received_batch

    where = user_place()
    cut = copy_batch(data, spread=True)
    if cut is not None and data.get("batch_size"):  # asked for here, so as many; a script's large batch is sampled
        cut["batch_size"] = data["batch_size"]
    capture = Capture(
        id=1,
        call="check",
        where=where,
        model=model,
        compiled=Compiled(1, keras_private.compile_config(model), where),
        data=data,
        batch=cut,
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
        loss = keras_private.wrap_function(loss)
    rows = [np.shape(leaf)[0] if np.ndim(leaf) else None for leaf in keras.tree.flatten([y_true, y_pred])]
    if len(set(rows)) > 1:
        raise ValueError(f"y_true and y_pred must have the same number of rows, found {', '.join(map(str, rows))}")
    where = user_place()
    return Run(captures=[loss_capture(1, "check_loss", LossCall(loss, y_true, y_pred, sample_weight, where))])
