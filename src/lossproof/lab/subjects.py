"""What can be evaluated of a captured objective: its losses and metrics, an overridden `compute_loss` or `train_step`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from lossproof import keras_private
from lossproof.capture.record import LossCall
from lossproof.capture.userfiles import is_user_function
from lossproof.lab.backends.base import Tensor
from lossproof.lab.listen import Heard, listening
from lossproof.lab.model import Forward
from lossproof.lab.received import Batch, to_tensors
from lossproof.lab.subject import (
    LossSubject,
    MetricSubject,
    ObjectiveSubject,
    StatefulMetricSubject,
    StepSubject,
    Subject,
)

if TYPE_CHECKING:
    from lossproof.lab.lab import Lab


def losses_of(lab: Lab) -> tuple[LossSubject, ...]:
    """See `Lab.losses`."""
    if lab.capture.model is None:
        return (_loose_subject(lab.capture.loss_call),) if lab.capture.loss_call is not None else ()
    compiled = keras_private.flat_losses(lab.capture.model)
    outputs = getattr(lab.capture.model, "output_names", None)
    one_loss = len(compiled) == 1
    subjects = []
    for heard in lab.evaluation.losses:
        # The same loss object may stand for several outputs: each call takes the next of its entries.
        entry = next((one for one in compiled if one[1] is heard.target), None)
        if entry is not None:
            compiled.remove(entry)
        _, _, weight, name = entry if entry is not None else (None, None, None, None)
        if one_loss and name not in (outputs or ()):  # Keras calls a model's only loss by its own name
            name = None
        subjects.append(loss_subject(heard, name, weight))
    return tuple(subjects)


def of_the_user(subjects: Sequence[Subject]) -> list[Subject]:
    """Those that a user knows: all but the methods of `lp.Trainer`, where its losses stand beside them."""
    losses = any(isinstance(one, LossSubject) for one in subjects)
    return [one for one in subjects if not losses or isinstance(one, LossSubject) or is_user_function(one.function)]


def metrics_of(lab: Lab) -> tuple[Subject, ...]:
    """See `Lab.metrics`."""
    compiled = keras_private.compile_metrics(lab.capture.model)
    if compiled is None:
        return ()
    data = (lab.batch.x, lab.batch.y, lab.forward.y_pred, lab.batch.sample_weight)
    own = [one for one in compiled.metrics if is_user_function(type(one).update_state)]
    with listening(metrics=own) as hearing, lab.undisturbed(), lab.model.scope(collect=False):
        lab.attempt(lambda: lab.capture.model.compute_metrics(*data))
    return tuple(metric_subject(heard) for heard in hearing.metrics)


def objective_of(lab: Lab) -> ObjectiveSubject | None:
    """See `Lab.objective`."""
    if lab.capture.model is None or not lab.overrides_compute_loss or lab.overrides_train_step:
        return None
    forward = lab.forward

    def compute(x: Any, y: Any, y_pred: Any, sample_weight: Any) -> Tensor:
        with lab.model.scope():
            batch = Batch(x, y, sample_weight)
            return lab.model.compute_loss(batch, Forward(y_pred, forward.losses))

    return ObjectiveSubject(
        kind="compute_loss",
        name=f"{type(lab.capture.model).__name__}.compute_loss",
        function=lab.capture.model.compute_loss,
        y_true=lab.batch.y,
        y_pred=forward.y_pred,
        sample_weight=lab.batch.sample_weight,
        x=lab.batch.x,
        compute=compute,
    )


def step_of(lab: Lab) -> StepSubject | None:
    """See `Lab.step`."""
    if lab.capture.model is None or not lab.overrides_train_step:
        return None
    return StepSubject(
        kind="train_step",
        name=f"{type(lab.capture.model).__name__}.train_step",
        function=lab.capture.model.train_step,
        y_true=lab.batch.y,
        y_pred=None,
        sample_weight=lab.batch.sample_weight,
        x=lab.batch.x,
        model=lab.model,
    )


def loss_subject(heard: Heard, output: str | None, weight: Any, x: Any = None) -> LossSubject:
    """A loss that was heard, as a subject of experiments."""
    loss = heard.target
    function = getattr(loss, "fn", None) or loss.call
    return LossSubject(
        kind="loss",
        name=str(getattr(function, "__name__", loss.name) if hasattr(loss, "fn") else type(loss).__name__),
        function=function,
        y_true=heard.y_true,
        y_pred=heard.y_pred,
        sample_weight=heard.sample_weight,
        x=x,
        output=output,
        weight=None if weight is None else float(np.array(keras.ops.convert_to_numpy(weight))),
        loss=loss,
    )


def metric_subject(heard: Heard) -> MetricSubject | StatefulMetricSubject:
    """A metric that was heard, as a subject of experiments."""
    metric = heard.target
    function = keras_private.metric_function(metric)
    fields = {
        "kind": "metric",
        "name": metric.name,
        "function": function if function is not None else metric.update_state,
        "y_true": heard.y_true,
        "y_pred": heard.y_pred,
        "sample_weight": heard.sample_weight,
        "metric": metric,
    }
    return MetricSubject(**fields) if function is not None else StatefulMetricSubject(**fields)


def _loose_subject(call: LossCall) -> LossSubject:
    """A loss that was called outside of a watched fit, with what it received."""
    data = (to_tensors(part) for part in (call.y_true, call.y_pred, call.sample_weight))
    return loss_subject(Heard(call.loss, *data), None, None)
