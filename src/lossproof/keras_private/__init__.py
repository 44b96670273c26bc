"""Every private name of Keras that lossproof leans on, read from Keras 3.15.1.

One module for each part of Keras. `tests/test_keras_private.py` fails when one of the names moves.
"""

from __future__ import annotations

from lossproof.keras_private.backends import (
    backend_core,
    logits_hidden,
    stack,
)
from lossproof.keras_private.compiling import (
    compile_arguments,
    compile_config,
    compile_loss,
    compile_metrics,
    compiled_total,
    flat_losses,
    metric_function,
    metrics_list,
    monitored,
    recompiled,
    update_fresh_metrics,
    without_compile_config,
)
from lossproof.keras_private.feeding import (
    adapter_maker,
    class_weights_to_sample_weights,
    epoch_data,
)
from lossproof.keras_private.files import (
    loaders,
    savers,
)
from lossproof.keras_private.graph import (
    calls_of,
    input_structure,
    is_functional,
    layer_of,
    layers_of,
    maker_of,
    operations_of,
    output_structure,
    runs_its_graph,
    set_by_keras,
)
from lossproof.keras_private.losses import (
    bind_arguments,
    bound_arguments,
    loss_of_function,
    of_one_rank,
    reduced_values,
    share_of_replica,
    undivided,
    wrap_function,
    wrapped_function,
)
from lossproof.keras_private.masks import (
    mask_of,
    set_mask,
)
from lossproof.keras_private.randomness import (
    integer_seeds,
)
from lossproof.keras_private.steps import (
    build,
    forward_losses,
    in_stateless_scope,
    loss_tracker,
    optimized_variables,
    reported_logs,
    steps_applied,
    steps_hold_the_state,
    takes_training,
    use_forward_losses,
    values_kept,
)

__all__ = [
    "adapter_maker",
    "backend_core",
    "bind_arguments",
    "bound_arguments",
    "build",
    "calls_of",
    "class_weights_to_sample_weights",
    "compile_arguments",
    "compile_config",
    "compile_loss",
    "compile_metrics",
    "compiled_total",
    "epoch_data",
    "flat_losses",
    "forward_losses",
    "in_stateless_scope",
    "input_structure",
    "integer_seeds",
    "is_functional",
    "layer_of",
    "layers_of",
    "loaders",
    "logits_hidden",
    "loss_of_function",
    "loss_tracker",
    "maker_of",
    "mask_of",
    "metric_function",
    "metrics_list",
    "monitored",
    "of_one_rank",
    "operations_of",
    "optimized_variables",
    "output_structure",
    "recompiled",
    "reduced_values",
    "reported_logs",
    "runs_its_graph",
    "savers",
    "set_by_keras",
    "set_mask",
    "share_of_replica",
    "stack",
    "steps_applied",
    "steps_hold_the_state",
    "takes_training",
    "undivided",
    "update_fresh_metrics",
    "use_forward_losses",
    "values_kept",
    "without_compile_config",
    "wrap_function",
    "wrapped_function",
]
