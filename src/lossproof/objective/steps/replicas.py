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

    return 1 if tf.distribute.in_cross_replica_context() else int(tf.distribute.get_strategy().num_replicas_in_sync)


def processes() -> int:
    """How many torch processes train together: the size of the default process group, 1 without one."""
    if keras.backend.backend() != "torch":
        return 1
    from torch import distributed

    there = distributed.is_available() and distributed.is_initialized()
    return int(distributed.get_world_size()) if there else 1


def start_alike(trainer: Any) -> None:
    """Before the first step of several torch processes: give all of them the variables of the first, as DDP does."""
    if processes() == 1 or getattr(trainer, "started_alike", False):
        return
    import torch
    from torch import distributed

    with torch.no_grad():
        for variable in [*trainer.variables, *trainer.optimizer.variables]:
            distributed.broadcast(variable.value.data, src=0)
    trainer.started_alike = True


def sum_over_replicas(values: Tensor) -> Tensor:
    """The tensor's value on the global batch: the sum over the replicas of `tf.distribute`, the mean over torch processes.

    No gradient flows through it.
    """
    return on_global_batch([values])[0]


def on_global_batch(values: Sequence[Tensor]) -> list[Tensor]:
    """`sum_over_replicas` of several tensors in one exchange."""
    if replicas() > 1:
        import tensorflow as tf

        context = tf.distribute.get_replica_context()
        return list(context.all_reduce(tf.distribute.ReduceOp.SUM, list(values)))
    if processes() > 1 and values:
        import torch
        from torch import distributed

        flat = torch.cat([value.detach().reshape(-1).to(torch.float32) for value in values])
        distributed.all_reduce(flat)
        flat /= processes()
        parts = flat.split([value.numel() for value in values])
        return [part.reshape(value.shape).to(value.dtype) for part, value in zip(parts, values, strict=True)]
    return list(values)
