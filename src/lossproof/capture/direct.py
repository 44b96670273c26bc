"""A `Run` of one capture made from a model or a loss at hand, without a script."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import keras
import numpy as np

from lossproof import keras_private
from lossproof.capture.batch import copy_batch
from lossproof.capture.copies import copies
from lossproof.capture.loose import loss_capture
from lossproof.capture.objective import batch_forms, batch_sizes, roots
from lossproof.capture.place import user_place
from lossproof.capture.record import Capture, Compiled, LossCall, Run
from lossproof.rules.rule import NotApplicable


def captured_model(model: Any, data: dict[str, Any]) -> Run:
    """The objective of a compiled model on some data, as `fit` would meet it.

    Nothing is trained, but the first step is rehearsed: what it would raise is kept, for the rules to explain.
    """
    from lossproof.lab.execution.traceability import first_failure
    from lossproof.lab.lab import Lab
    from lossproof.lab.received import received_batch

    where = user_place()
    cut = copy_batch(data, spread=True)
    if cut is not None and data.get("batch_size"):  # asked for here, so as many; a script's large batch is sampled
        cut["batch_size"] = data["batch_size"]
    compiled = Compiled(1, keras_private.compile_config(model), where)
    capture = Capture(
        id=1,
        call="check",
        where=where,
        model=model,
        compiled=compiled,
        data=data,
        batch=cut,
        signature=(),
        weights=None,
        batch_sizes=batch_sizes("check", data),
        forms=batch_forms("check", data),
    )
    batch = received_batch(capture)
    capture.changes.begin(roots(model, compiled))
    run = Run(captures=[capture])
    with capture.changes.moved_inside():  # a counter of the user's, say, is put back
        try:
            keras_private.build(model, (batch.x, batch.y, batch.sample_weight))
        except Exception as error:  # of the user's objective, or of the model
            capture.error = error
            if not model.built:
                with suppress(Exception):
                    model(batch.x)
        if model.built:
            capture.weights = copies(model.variables)
            with suppress(NotApplicable):
                capture.error = first_failure(Lab(capture, run)) or capture.error
    return run


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
