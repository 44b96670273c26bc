"""What one replica must know of the others: sums over replicas of `tf.distribute`, means over torch processes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

Tensor = Any


def replicas() -> int:
    """By how many parts of the global batch a loss is computed side by side and then summed; 1 unless in `tf.distribute`.

    Torch processes each compute the mean over their own part, and the means are averaged: nothing is scaled there. JAX
    sees the global batch.
    """
    if keras.backend.backend() != "tensorflow":
        return 1
    import tensorflow as tf

    return (
        int(tf.distribute.get_strategy().num_replicas_in_sync)
        if tf.distribute.in_cross_replica_context() is False
        else 1
    )


def sum_over_replicas(values: Tensor) -> Tensor:
    """The tensor's value on the global batch: the sum over the replicas of `tf.distribute`, the mean over torch processes.

    No gradient flows through it.
    """
    return on_global_batch([values])[0]


def on_global_batch(values: Sequence[Tensor]) -> list[Tensor]:
    """`sum_over_replicas` of several tensors in one exchange."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        if replicas() > 1:
            context = tf.distribute.get_replica_context()
            return list(context.all_reduce(tf.distribute.ReduceOp.SUM, list(values)))
    elif backend == "torch":
        from torch import distributed

        if distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1:
            means = []
            for value in values:
                mean = value.detach().clone()
                distributed.all_reduce(mean)
                means.append(mean / distributed.get_world_size())
            return means
    return list(values)
