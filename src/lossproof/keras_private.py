"""Every private name of Keras that lossproof leans on, read from Keras 3.15.1.

`tests/test_keras_private.py` fails when one of them moves.
"""

from __future__ import annotations

import dis
import functools
import inspect
import types
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras


@functools.cache
def set_by_keras() -> frozenset[str]:
    """The attributes that Keras's own base classes of models and layers assign, as their methods' bytecode says."""
    from keras.src.models.functional import Functional

    names: set[str] = set()

    def read(code: types.CodeType) -> None:
        names.update(one.argval for one in dis.get_instructions(code) if one.opname == "STORE_ATTR")
        for constant in code.co_consts:
            if isinstance(constant, types.CodeType):
                read(constant)

    for cls in {*keras.Sequential.__mro__, *Functional.__mro__}:
        for member in vars(cls).values():
            for one in (member, getattr(member, "fget", None), getattr(member, "fset", None)):
                if isinstance(one, types.FunctionType):
                    read(inspect.unwrap(one).__code__)
    return frozenset(names)


def is_functional(model: Any) -> bool:
    """Whether a model was made of symbolic tensors (keras/src/models/functional.py)."""
    from keras.src.models.functional import Functional

    return isinstance(model, Functional)


def takes_training(model: Any) -> bool:
    """Whether the trainer passes `training=` to the model (keras/src/layers/layer.py)."""
    return bool(model._call_has_training_arg)


@contextmanager
def forward_losses(model: Any, losses: list[Any]) -> Iterator[None]:
    """Inside, `model.losses` gives these of a stateless forward pass (keras/src/backend/jax/trainer.py)."""
    if not losses:
        yield
        return
    model._losses_override.clear()
    model._losses_override = losses
    try:
        yield
    finally:
        model._losses_override.clear()


def compile_loss(model: Any) -> Any:
    """The `CompileLoss` that `compile(loss=...)` made, or None (keras/src/trainers/trainer.py)."""
    return getattr(model, "_compile_loss", None)


def flat_losses(model: Any) -> list[tuple[tuple[Any, ...], Any, Any, str]]:
    """(path, loss, loss weight, name) of each compiled loss, once built (keras/src/trainers/compile_utils.py)."""
    return [tuple(one) for one in getattr(compile_loss(model), "_flat_losses", None) or ()]


def compile_metrics(model: Any) -> Any:
    """The `CompileMetrics` that `compile(metrics=...)` made, or None."""
    return getattr(model, "_compile_metrics", None)


def metric_function(metric: Any) -> Any:
    """The function behind a `MeanMetricWrapper` (keras/src/metrics/reduction_metrics.py)."""
    return getattr(metric, "_fn", None)


def wrapped_function(loss: Any) -> Any:
    """The function that `compile` has wrapped in a loss object, None for a loss that came as an object (losses.py)."""
    from keras.src.losses import LossFunctionWrapper

    return loss.fn if type(loss) is LossFunctionWrapper else None


def bound_arguments(loss: Any) -> dict[str, Any]:
    """The arguments that a loss object passes on to its function, the object's own dict (losses/losses.py)."""
    kept = getattr(loss, "_fn_kwargs", None)
    return kept if isinstance(kept, dict) else {}


def bind_arguments(loss: Any, arguments: dict[str, Any]) -> None:
    """Give a loss object the arguments that `bound_arguments` read (losses/losses.py)."""
    loss._fn_kwargs = arguments


def build(model: Any, data: tuple[Any, Any, Any]) -> None:
    """Build the model, its losses and metrics for a batch, as `fit` does before its first step."""
    model._symbolic_build(data_batch=data)


def use_forward_losses(model: Any, losses: list[Any]) -> None:
    """Hand the losses of a stateless forward pass to `model.losses`, as JAX's trainer does (backend/jax/trainer.py)."""
    model._losses_override = losses


def mask_of(tensor: Any) -> Any:
    """The mask that Keras keeps on a tensor or, of a tracer of JAX, beside it; None where there is none."""
    from keras.src.backend.common.masking import get_keras_mask

    return get_keras_mask(tensor)


def set_mask(tensor: Any, mask: Any) -> None:
    """Give a tensor the mask of another."""
    from keras.src.backend.common.masking import set_keras_mask

    if mask is not None:
        set_keras_mask(tensor, mask)


def epoch_data(data: dict[str, Any]) -> Iterator[Any]:
    """The batches that a step receives for the arguments of a `fit` (keras/src/trainers/epoch_iterator.py).

    Read in this process and thread, whatever workers the user's dataset asks for.
    """
    from keras.src.trainers.epoch_iterator import EpochIterator

    keys = ("x", "y", "sample_weight", "batch_size", "class_weight")
    with _without_workers(data.get("x")):
        adapter = EpochIterator(**{key: data.get(key) for key in keys}, shuffle=False).data_adapter
        backend = keras.backend.backend()
        if backend == "tensorflow":
            yield from adapter.get_tf_dataset()
        elif backend == "jax":
            yield from adapter.get_jax_iterator()
        else:
            yield from adapter.get_torch_dataloader()


@contextmanager
def _without_workers(x: Any) -> Iterator[None]:
    # The public settings of a `keras.utils.PyDataset` and of a `torch.utils.data.DataLoader`.
    settings = {"workers": 0, "use_multiprocessing": False}
    if not isinstance(x, keras.utils.PyDataset):
        settings = {"num_workers": 0, "timeout": 0} if hasattr(x, "num_workers") else {}
    before = {name: getattr(x, name) for name in settings if hasattr(x, name)}
    try:
        for name in before:
            setattr(x, name, settings[name])
        yield
    finally:
        for name, value in before.items():
            setattr(x, name, value)


def adapter_maker() -> tuple[Any, str]:
    """The function that makes the data adapter of a `fit`, as (owner, name) (keras/src/trainers/epoch_iterator.py)."""
    from keras.src.trainers import data_adapters

    return data_adapters, "get_data_adapter"


def class_weights_to_sample_weights(y: Any, class_weight: dict[int, float]) -> Any:
    """What `train_on_batch` makes of `class_weight` (keras/src/trainers/data_adapters/data_adapter_utils.py)."""
    from keras.src.trainers.data_adapters.data_adapter_utils import class_weight_to_sample_weights

    return class_weight_to_sample_weights(y, class_weight)


def compiled_total(model: Any, arguments: dict[str, Any], batch: Any, y_pred: Any) -> Any:
    """The compiled loss built anew from the arguments of `compile` (keras/src/trainers/compile_utils.py)."""
    from keras.src.trainers.compile_utils import CompileLoss

    names = getattr(model, "output_names", None)
    fresh = CompileLoss(arguments.get("loss"), arguments.get("loss_weights"), output_names=names)
    return fresh(batch.y, y_pred, batch.sample_weight)


def compile_arguments(model: Any) -> dict[str, Any]:
    """The loss, its weights and the metrics that are in force, as the user wrote them (trainers/compile_utils.py)."""
    loss, metrics = compile_loss(model), compile_metrics(model)
    return {
        "loss": getattr(loss, "_user_loss", None),
        "loss_weights": getattr(loss, "_user_loss_weights", None),
        "metrics": getattr(metrics, "_user_metrics", None),
        "weighted_metrics": getattr(metrics, "_user_weighted_metrics", None),
    }


@contextmanager
def recompiled(model: Any, loss: Any, loss_weights: Any) -> Iterator[None]:
    """Inside, the model holds a fresh `CompileLoss` of these arguments, as `compile` makes it (trainers/trainer.py)."""
    from keras.src.trainers.compile_utils import CompileLoss

    before = compile_loss(model)
    fresh = CompileLoss(loss, loss_weights, output_names=getattr(model, "output_names", None))
    vars(model)["_compile_loss"] = fresh  # past the tracking of attributes, which would keep it
    try:
        yield
    finally:
        vars(model)["_compile_loss"] = before


def update_fresh_metrics(model: Any, metrics: Any, weighted_metrics: Any, batch: Any, y_pred: Any) -> None:
    """Show a batch to a fresh `CompileMetrics` of these arguments (trainers/compile_utils.py)."""
    from keras.src.trainers.compile_utils import CompileMetrics

    fresh = CompileMetrics(metrics, weighted_metrics, output_names=getattr(model, "output_names", None))
    fresh.update_state(batch.y, y_pred, sample_weight=batch.sample_weight)


def in_stateless_scope() -> bool:
    """Whether assignments fall into a `keras.StatelessScope` now (keras/src/backend/common/stateless_scope.py)."""
    from keras.src.backend import in_stateless_scope as asked

    return bool(asked())


def layer_of(tensor: Any) -> str | None:
    """The name of the operation that makes a `KerasTensor` (keras/src/ops/node.py)."""
    history = getattr(tensor, "_keras_history", None)
    return getattr(getattr(history, "operation", None), "name", None)


def layers_of(model: Any) -> list[Any]:
    """Every layer of a model, however deep (keras/src/layers/layer.py)."""
    return list(model._flatten_layers())


def optimized_variables(optimizer: Any) -> list[Any]:
    """The variables that an optimizer was built for (keras/src/optimizers/base_optimizer.py)."""
    inner = getattr(optimizer, "inner_optimizer", None)  # of a LossScaleOptimizer
    return list(getattr(inner if inner is not None else optimizer, "_trainable_variables", None) or ())


def steps_hold_the_state(model: Any) -> bool:
    """Whether a training on JAX is between its steps, which carry their own state (backend/jax/trainer.py).

    What is assigned to a variable of the model then is overwritten by the state of the last step.
    """
    return keras.backend.backend() == "jax" and getattr(model, "_jax_state_synced", True) is False


def compile_config(model: Any) -> dict[str, Any]:
    """The arguments of the last `compile`, as objects (keras/src/trainers/trainer.py); empty for a model of 3.x that
    does not keep them."""
    kept = getattr(model, "_compile_config", None)
    return dict(kept.config) if kept is not None else {}


def wrap_function(function: Any) -> Any:
    """A function as `compile` wraps it in a loss object (keras/src/losses/losses.py)."""
    from keras.src.losses import LossFunctionWrapper

    return LossFunctionWrapper(function, name=getattr(function, "__name__", type(function).__name__))


def backend_core() -> Any:
    """The module of the running backend's tensor operations, such as `stop_gradient` (backend/<name>/core.py)."""
    import importlib

    return importlib.import_module(f"keras.src.backend.{keras.backend.backend()}.core")


@contextmanager
def logits_hidden() -> Iterator[None]:
    """Inside, losses on TensorFlow take predictions as they are, however they were made (backend/tensorflow/nn.py).

    Otherwise a cross-entropy looks for the logits behind a softmax or sigmoid, and uses a fused operation on them.
    """
    from keras.src.backend.tensorflow import nn

    original = nn._get_logits
    nn._get_logits = lambda output, from_logits, *_: (output, from_logits)
    try:
        yield
    finally:
        nn._get_logits = original


def savers() -> list[tuple[Any, str]]:
    """The functions that write a whole model to a file: (model, filepath, ...) (saving/saving_api.py calls them)."""
    from keras.src.legacy.saving import legacy_h5_format
    from keras.src.saving import saving_lib

    return [(saving_lib, "save_model"), (legacy_h5_format, "save_model_to_hdf5")]


def loaders() -> list[tuple[Any, str]]:
    """The functions that read one: (filepath, custom_objects, compile, ...) (saving/saving_api.py calls them)."""
    from keras.src.legacy.saving import legacy_h5_format
    from keras.src.saving import saving_lib

    return [(saving_lib, "load_model"), (legacy_h5_format, "load_model_from_hdf5")]


@contextmanager
def without_compile_config() -> Iterator[None]:
    """Inside, models are saved without what they were compiled with (trainers/trainer.py)."""
    from keras.src.trainers.trainer import Trainer

    original = Trainer.get_compile_config
    Trainer.get_compile_config = lambda _: None
    try:
        yield
    finally:
        Trainer.get_compile_config = original


def reported_logs(model: Any, logs: Any) -> Any:
    """What `fit` and `evaluate` report of a step that returned `logs` (keras/src/trainers/trainer.py)."""
    return model._get_metrics_result_or_logs(logs)


def loss_tracker(model: Any) -> Any:
    """Keras's own `Mean` of the loss, or None (keras/src/trainers/trainer.py)."""
    return getattr(model, "_loss_tracker", None)


def keras_mask(tensor: Any) -> Any:
    """The mask that Keras keeps for a tensor of any backend, or None (keras/src/backend/common/masking.py)."""
    from keras.src.backend import get_keras_mask

    return get_keras_mask(tensor)


def give_keras_mask(tensor: Any, mask: Any) -> None:
    """Keep a mask for a tensor, where Keras looks for it (keras/src/backend/common/masking.py)."""
    from keras.src.backend import set_keras_mask

    set_keras_mask(tensor, mask)


def loss_of_function(function: Any, name: str, reduction: str, constants: dict[str, Any]) -> Any:
    """A loss object of a function of `(y_true, y_pred)`, with the rank alignment of `compile` (losses/losses.py)."""
    from keras.src.losses import LossFunctionWrapper

    return LossFunctionWrapper(function, reduction=reduction, name=name, **constants)


def metrics_list() -> Any:
    """The class of a metric that stands for several, in which callbacks look up what they monitor (compile_utils.py)."""
    from keras.src.trainers.compile_utils import MetricsList

    return MetricsList


def monitored(name: str, falls: bool) -> Any:
    """What a callback finds of a log in a `MetricsList`: its name, and which way is better (callbacks/monitor_callback.py)."""
    return types.SimpleNamespace(name=name, _direction="down" if falls else "up")


def of_one_rank(y_true: Any, y_pred: Any) -> tuple[Any, Any]:
    """Targets and predictions with a last axis of length 1 added or dropped, as for a function (keras/src/losses/loss.py)."""
    from keras.src.losses.loss import squeeze_or_expand_to_same_rank

    one, other = squeeze_or_expand_to_same_rank(y_true, y_pred)
    return one, other


def share_of_replica(value: Any) -> Any:
    """A value divided by the replicas of `tf.distribute`, which then sum it (keras/src/losses/loss.py)."""
    from keras.src.losses.loss import scale_loss_for_distribution

    return scale_loss_for_distribution(value)


def undivided(value: Any) -> Any:
    """The reverse of `share_of_replica`, for logs (keras/src/losses/loss.py)."""
    from keras.src.losses.loss import unscale_loss_for_distribution

    return unscale_loss_for_distribution(value)


def runs_its_graph(model: Any) -> bool:
    """Whether a model's `call` is that of Functional or Sequential, and there is a graph that it runs (models/)."""
    from keras.src.models.functional import Functional

    if isinstance(model, keras.Sequential):
        return model._functional is not None and type(model).call is keras.Sequential.call
    return isinstance(model, Functional) and type(model).call is Functional.call


def _function(model: Any) -> Any:
    return model._functional if isinstance(model, keras.Sequential) else model


def operations_of(model: Any) -> list[Any]:
    """The layers and operations in the graph of a Functional or Sequential model (keras/src/ops/function.py)."""
    return list(_function(model)._operations)


def calls_of(model: Any, operation: Any) -> list[list[Any]]:
    """What each call of an operation gives in the graph of a model, in the order of the calls (keras/src/ops/node.py)."""
    inside = {id(node) for nodes in _function(model)._nodes_by_depth.values() for node in nodes}
    return [list(node.outputs) for node in operation._inbound_nodes if id(node) in inside]


def output_structure(model: Any) -> Any:
    """The symbolic outputs of a Functional or Sequential model, nested as it gives them (models/functional.py)."""
    return _function(model)._outputs_struct


def input_structure(model: Any) -> Any:
    """The symbolic inputs of a Functional or Sequential model, nested as it takes them (models/functional.py)."""
    return _function(model)._inputs_struct


def maker_of(tensor: Any) -> Any:
    """The operation that makes a `KerasTensor` (keras/src/ops/node.py)."""
    return getattr(getattr(tensor, "_keras_history", None), "operation", None)


@contextmanager
def values_kept(model: Any) -> Iterator[None]:
    """Inside, a training that fails in its first step leaves the variables their values (backend/jax/trainer.py).

    Keras on JAX takes the values out of the variables while it trains, and loses them if the first step cannot be traced.
    """
    if keras.backend.backend() != "jax":
        yield
        return
    optimizer = getattr(model, "optimizer", None)
    before = [
        (one, one._value) for one in [*model.variables, *model.metrics_variables, *getattr(optimizer, "variables", ())]
    ]
    try:
        yield
    except BaseException:
        for variable, value in before:
            if variable._value is None and value is not None and not value.is_deleted():
                variable._value = value
        raise
