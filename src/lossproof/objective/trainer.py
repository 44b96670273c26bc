"""A Keras model that trains another one on an objective."""

from __future__ import annotations

import contextlib
import inspect
from typing import Any, Self

import keras
from keras import ops

from lossproof import keras_private
from lossproof.objective.binding import Bound, Candidates, bind
from lossproof.objective.compiling import CompiledByObjective
from lossproof.objective.evaluating import EvaluatedByObjective
from lossproof.objective.evaluation import Tensors, evaluate
from lossproof.objective.graph import has_graph
from lossproof.objective.helpers import TrainedVariables, helper_layers, term_variables
from lossproof.objective.metric_targets import by_output, weights_by_output
from lossproof.objective.naming import (
    Named,
    input_names,
    named,
    output_names,
    static_inputs,
    static_outputs,
    without_extras,
)
from lossproof.objective.objective import Objective
from lossproof.objective.reduction import Seen
from lossproof.objective.references import PACKAGE
from lossproof.objective.steps import train_step
from lossproof.objective.steps.contract import Parts
from lossproof.objective.steps.replicas import processes
from lossproof.objective.taps import NoTaps, Taps, tapping
from lossproof.objective.targets import named_targets, wanted_targets
from lossproof.objective.tracking import TermLog, count_rows
from lossproof.objective.weights import asks_for_the_step, moves, weight_now

Tensor = Any


@keras.saving.register_keras_serializable(PACKAGE)
class Trainer(CompiledByObjective, TrainedVariables):
    """Trains a model on an objective, under plain `compile` / `fit`.

    Args:
        model: The model, of any kind. It stays as it is and is called with `x` as in its own `fit`; save it for inference
            by `model.save(...)`, which needs no custom objects of ours.
        objective: An `lp.Objective`, or a list of terms.
        name: Name of the trainer as a Keras model.

    The outputs are those of the model, so `predict` and metrics by output name are as they were. Logged are "loss", each
    term by its name (its reduced value, unweighted), "regularization" if anything is added to the losses (regularizers,
    `add_loss`), and for each weight that changes "<term>_weight", the last one used, and "<term>_contribution", the
    weighted value. Over an epoch loss, terms and contributions are means weighted by batch size, as Keras's loss is, so

        loss = sum of weight * term over the constant weights + sum of contributions + regularization (+ weighting_rest).

    Raises:
        TypeError, ValueError: names that fit nothing or several things, as far as the model tells them; the rest is raised
            at the first batch, before any weight changes.
    """

    def __new__(cls, model: keras.Model, objective: Any, name: str | None = None) -> Self:
        """A Trainer with a step of its own, if strategy or torch processes need one; else Keras's does and is kept."""
        own = processes() > 1 or getattr(getattr(objective, "weighting", None), "needs_gradients", False)
        chosen = GradientTrainer if cls is Trainer and own else cls
        made: Self = super().__new__(chosen, model, objective, name=name)
        return made

    def __init__(self, model: keras.Model, objective: Any, name: str | None = None) -> None:
        _check_model(model)
        if not isinstance(objective, Objective):
            objective = Objective(objective)
        # Without autocast: the model casts its inputs itself, and under mixed precision not always to the lower type.
        super().__init__(name=name or f"{model.name}_trainer", dtype=model.dtype_policy, autocast=False)
        self.model = model
        self.objective = objective
        self.weighting = objective.weighting
        if self.weighting is not None:
            self.weighting.prepare(objective.names)
        self.batches = self.add_weight(
            name="batches",
            shape=(),
            dtype="int32",
            initializer="zeros",
            trainable=False,
            aggregation="only_first_replica",
        )
        self.term_variables = term_variables(objective)
        self.helpers = helper_layers(objective)
        strategic = self.weighting is not None and self.weighting.moving
        moving = [one.name for one in objective if strategic or moves(one.weight)]
        rising = [one.name for one in objective if isinstance(one.weight, float) and one.weight < 0]
        combined = self.weighting.gradient_weights() if self.weighting is not None else {}
        self.term_log = TermLog(objective.names, moving, rising, tuple(combined))
        self._counts = any(asks_for_the_step(one) for one in objective)
        self._wanted = wanted_targets(objective)
        self._call_takes = inspect.signature(model.call).parameters
        self._bound: dict[Any, tuple[Bound, ...]] = {}
        self._seen: Seen = {}
        self._taps: Taps | NoTaps | None = None
        known = Candidates(static_outputs(model), static_inputs(model), None, model)
        early = [bind(one, known) for one in objective]
        if has_graph(model):  # before a step is compiled, which cannot make models
            self._taps = tapping(early)
        if model.built:
            self.built = True

    # The forward pass ------------------------------------------------------------------------------------------------

    @property
    def output_names(self) -> list[str] | None:
        """The names of the model's outputs, for metrics by name."""
        return output_names(self.model)

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """The outputs of the model."""
        passed = {"training": training} if "training" in self._call_takes else {}
        inputs = without_extras(inputs, self.model)
        if isinstance(self.model, keras.Sequential) and not self.model.built:
            self.model.build(inputs.shape)
        return self._tapped().call(lambda: self.model(inputs, **passed))

    def _tapped(self) -> Taps | NoTaps:
        if self._taps is None:
            known = Candidates(static_outputs(self.model), static_inputs(self.model), None, self.model)
            self._taps = tapping([bind(one, known) for one in self.objective])
        return self._taps

    # The loss --------------------------------------------------------------------------------------------------------

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Tensor:
        """The scalar total of a batch; Keras calls it in each step."""
        parts = self.loss_parts(x, y, y_pred, sample_weight, training)
        weighting = self.weighting
        first, *others = parts.values
        total = sum(others, first) if weighting is None else weighting.total(parts.values, training=training)
        self.track(parts, x)
        return total if parts.added is None else total + parts.added

    def term_values(
        self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None, training: bool = True
    ) -> dict[str, Tensor]:
        """The terms' reduced values, unweighted, in their order: scalars in `floatx`.

        To be called where `y_pred` was made, in the same trace. Nothing is counted or logged.

        Args:
            x: Inputs, as the model was called with them.
            y: Targets, as `fit` passes them.
            y_pred: What the Trainer returned for `x`.
            sample_weight: As `fit` passes them.
            training: The mode in which the model was called.
        """
        outputs = named(y_pred, output_names(self.model))
        inputs = named(x, input_names(self.model))
        targets = named_targets(y, list(outputs), self._wanted)
        bound = self._bind(outputs, inputs, targets)
        taps = self._tapped().values(y_pred)
        if taps is None:  # other predictions than the Trainer's last: the taps are those of a pass on the same inputs
            taps = self._tapped().values(self.call(x, training=training))
        there = Tensors(outputs, inputs, targets, taps or {}, sample_weight, self.steps_made)
        return evaluate(bound, there, self._seen)

    def loss_parts(self, x: Any, y: Any, y_pred: Any, sample_weight: Any, training: bool) -> Parts:
        """The loss before it is summed; counts the step. Once per step, followed by `track`."""
        added = self._added()  # first: a term that calls the model clears what the forward pass has added
        values = self.term_values(x, y, y_pred, sample_weight, training)
        weights = [weight_now(one.weight, self.steps_made) for one in self.objective]
        if training and self._counts:
            self.batches.assign_add(1)
        pairs = zip(values.values(), weights, strict=True)
        weighted = tuple(v if isinstance(w, float) and w == 1.0 else v * w for v, w in pairs)
        return Parts(weighted, added, tuple(values.values()), tuple(weights))

    def track(self, parts: Parts, x: Any) -> None:
        """Take a step into the logs, once `weighting` has set its weights.

        Args:
            parts: What `loss_parts` returned.
            x: The inputs.
        """
        log, weighting, undivided = self.term_log, self.weighting, keras_private.undivided
        strategic = weighting.term_weights() if weighting is not None and weighting.moving else {}
        moving = [self.objective.names.index(name) for name in log.moving]
        factors = [strategic.get(name, 1.0) for name in log.moving]
        log.update_state(
            [undivided(value) for value in parts.terms],
            None if parts.added is None else undivided(parts.added),
            [undivided(parts.values[k]) * factor for k, factor in zip(moving, factors, strict=True)],
            weighting.rest() if weighting is not None and moving else None,
            count_rows(x),
        )
        coefficients = weighting.gradient_weights() if weighting is not None and log.combined else {}
        weights = [parts.weights[k] * factor for k, factor in zip(moving, factors, strict=True)]
        log.update_latest(weights, list(coefficients.values()))

    def _added(self) -> Tensor | None:
        """The sum of regularization and added losses; the share of this replica."""
        losses = [ops.sum(ops.cast(one, keras.config.floatx())) for one in self.losses]
        if not losses:
            return None
        return keras_private.share_of_replica(losses[0] if len(losses) == 1 else ops.sum(ops.stack(losses)))

    def _bind(self, outputs: Named, inputs: Named, targets: Named) -> tuple[Bound, ...]:
        key = (tuple(outputs), tuple(inputs), tuple(targets))
        if key not in self._bound:
            there = Candidates(outputs, inputs, targets, self.model)
            self._bound[key] = tuple(bind(one, there) for one in self.objective)
        return self._bound[key]

    def steps_made(self) -> Tensor:
        """The optimizer steps so far, a scalar int32 tensor; see `lp.step`. Counted if a term or a weight asks for them."""
        batches = ops.convert_to_tensor(self.batches)
        optimizer = getattr(self, "optimizer", None)
        inner = getattr(optimizer, "inner_optimizer", optimizer)
        every = getattr(inner, "gradient_accumulation_steps", None)
        return batches // every if every else batches

    # Logs -------------------------------------------------------------------------------------------------------------

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> dict[str, Any]:
        """Update the compiled metrics, each output with the target of its name, and return all logs."""
        if keras_private.compile_metrics(self) is None:
            return self.get_metrics_result()
        names = output_names(self.model)
        outputs = named(y_pred, names)
        targets = named_targets(y, list(outputs), self._wanted)
        y_by_output = by_output(y_pred, outputs, targets, names)
        weights = weights_by_output(y_pred, sample_weight, outputs, targets, names)
        logs: dict[str, Any] = super().compute_metrics(x, y_by_output, y_pred, weights)
        return logs

    def get_metrics_result(self) -> dict[str, Any]:
        """All logs: the loss, the terms, what moves, and the compiled metrics, which yield where names are the same."""
        first = [keras_private.loss_tracker(self), self.term_log]
        logs: dict[str, Any] = {}
        for metric in [*first, *(one for one in self.metrics if not any(one is own for own in first))]:
            if metric is None:
                continue
            result = metric.result()
            for name, value in (result if isinstance(result, dict) else {metric.name: result}).items():
                logs[_free(name, logs)] = value
        return logs

    # Saving --------------------------------------------------------------------------------------------

    def get_config(self) -> dict[str, Any]:
        """The model and the objective."""
        serialize = keras.saving.serialize_keras_object
        return {"name": self.name, "model": serialize(self.model), "objective": self.objective.get_config(self.model)}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Self:
        """The trainer that `get_config` described."""
        # An empty scope would hide the objects that `load_model` was given.
        with keras.saving.custom_object_scope(custom_objects) if custom_objects else contextlib.nullcontext():
            model = keras.saving.deserialize_keras_object(config["model"])
            return cls(model, Objective.from_config(config["objective"]), name=config["name"])


@keras.saving.register_keras_serializable(PACKAGE)
class GradientTrainer(EvaluatedByObjective, Trainer):
    """What `lp.Trainer` makes for a strategy that needs the gradient of each term, and in each of several torch processes."""

    def train_step(self, *args: Any, **kwargs: Any) -> Any:
        """One step, with the terms' gradients from one pass and combined by the strategy; averaged over torch processes."""
        if processes() == 1 and not (self.weighting is not None and self.weighting.needs_gradients):
            return super().train_step(*args, **kwargs)  # saved by one of several processes, and loaded in one
        return train_step(self, *args, **kwargs)


def _check_model(model: Any) -> None:
    if not isinstance(model, keras.Model):
        raise TypeError(
            f"lp.Trainer takes a keras.Model first, found {type(model).__name__}: lp.Trainer(model, objective)."
        )
    if isinstance(model, Trainer):
        raise TypeError(f"{model.name!r} is a Trainer already. Pass its model: lp.Trainer(trainer.model, objective).")


def _free(name: str, taken: dict[str, Any]) -> str:
    """The name, with a number where it is taken, as Keras numbers metrics of one name."""
    number, free = 0, name
    while free in taken:
        number += 1
        free = f"{name}_{number}"
    return free
