"""LP701: the objective depends on the number of replicas."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from lossproof.findings.finding import Counterfactual, Finding, Fix, Place, Row, Severity
from lossproof.rules.rule import NotApplicable, Rule

if TYPE_CHECKING:
    from lossproof.lab.distribution.replicas import ReplicaScaling
    from lossproof.lab.lab import Lab


class ReplicaDependent(Rule):
    """A mean that each replica takes for itself, and nobody divides."""

    code = "LP701"
    name = "replica-scaling"
    severity = "error / warning"
    summary = "depends on the number of replicas"
    explanation = """
Under `tf.distribute` each replica computes the loss of its part of the batch, and the gradients of the replicas are
summed. So each loss has to be divided by the number of replicas. Keras does that in its own reduction, and only there:
a loss function that returns one number for the whole batch passes it by, and so does a mean taken in a `compute_loss` or
`train_step` of your own. With two replicas the reported loss and every update are doubled. Nothing raises; the
same script on one device is right.

Under `keras.distribution` on JAX it is the other way round: one program computes the loss of the whole batch, wherever its
rows lie, and nothing is summed over devices. There a loss that is divided by the number of devices, as `tf.distribute` needs
it, is too small by as much.

**Proof.** The captured batch is evaluated on the replicas of the script's own strategy, and on one device: what the
replicas minimise together is as many times too much, when they share the batch and when each has all of it. Where the strategy
has one replica, two are simulated, and it is a warning. On JAX the script is run once more in a process with another number
of host devices, and the objective is computed there of the same weights and the same batch. `--replicas 2` asks for two
replicas where the script distributes nothing.

**What to do.** Return one value per sample and leave the reduction to Keras. In a step of your own under `tf.distribute` divide
by `tf.distribute.get_strategy().num_replicas_in_sync`, or use `tf.nn.compute_average_loss`. On JAX divide by nothing.
"""
    source = (
        "keras/src/losses/loss.py, reduce_values: scalars return before scale_loss_for_distribution",
        "https://www.tensorflow.org/tutorials/distribute/custom_training",
        "https://github.com/tensorflow/tensorflow/issues/35093",
    )
    backends = ("tensorflow", "jax")
    guilty = """
import contextlib

import keras
import numpy as np
from keras import layers, ops

scope, parts = contextlib.nullcontext(), 1
if keras.backend.backend() == "tensorflow":
    import tensorflow as tf

    scope = tf.distribute.MirroredStrategy().scope()
elif keras.backend.backend() == "jax":
    keras.distribution.set_distribution(keras.distribution.DataParallel())
    parts = len(keras.distribution.list_devices())

x = np.random.default_rng(0).normal(size=(64, 4)).astype("float32")
y = x[:, :1]


def mean_error(y_true, y_pred):  # expect: LP701
    return ops.mean(ops.square(y_true - y_pred)) / parts


with scope:
    model = keras.Sequential([keras.Input((4,)), layers.Dense(1)])
    model.compile(optimizer="sgd", loss=mean_error)
model.fit(x, y, verbose=0)
"""
    innocent = guilty.replace("  # expect: LP701", "").replace(
        "ops.mean(ops.square(y_true - y_pred)) / parts", "ops.mean(ops.square(y_true - y_pred), axis=-1)"
    )

    def check(self, lab: Lab) -> Iterator[Finding]:
        from lossproof.lab.distribution.replicas import replica_scaling

        if lab.capture.model is None or not lab.capture.training:
            raise NotApplicable("nothing is trained by this call")
        found = lab.once(replica_scaling)
        if found is not None:
            yield self._finding(lab, found)

    def _finding(self, lab: Lab, found: ReplicaScaling) -> Finding:
        own = found.subject is None or found.subject.kind != "loss"
        name = found.subject.name if found.subject is not None else f"{type(lab.capture.model).__name__}.train_step"
        rows = (Row("each replica with the whole batch", found.same, found.single),) if found.same is not None else ()
        return Finding(
            code=self.code,
            name=self.name,
            severity=Severity.ERROR if found.real else Severity.WARNING,
            title=self._title(found, name),
            where=self._place(lab, found),
            measured=f"1 batch on {found.replicas} replicas",
            explanation=self._explained(found, name, own)
            + ("" if found.real else f" Here there is one replica; {found.replicas} were simulated."),
            evidence={
                "replicas": found.replicas,
                "simulated": not found.real,
                "shared": found.split,
                "same_batch": found.same,
                "one_device": found.single,
                "scalar": found.scalar,
            },
            counterfactual=Counterfactual(
                change="one device",
                before=found.split,
                after=found.single,
                label="the batch, shared by the replicas",
                columns=(f"{found.replicas} replicas", "1 device"),
                rows=rows,
            ),
            fix=Fix(self._fix(found, own)),
        )

    @staticmethod
    def _title(found: ReplicaScaling, name: str) -> str:
        if found.same is None:
            return f"with {found.replicas} devices {name} is {found.split:.4g}, with one it is {found.single:.4g}"
        return f"with {found.replicas} replicas {name} is {found.replicas} times as large as with one"

    @staticmethod
    def _explained(found: ReplicaScaling, name: str, own: bool) -> str:
        if found.same is None:
            return (
                f"{name} depends on how many devices there are. Under keras.distribution one program computes it for the whole "
                "batch, and nothing is summed over the devices, so their number must play no part. Nothing raises."
            )
        why = (
            "It is one number for the whole batch, and Keras divides by the number of replicas only where it reduces "
            "one value per sample."
            if found.scalar and not own
            else "Nothing in it divides by the number of replicas."
        )
        return (
            f"Each replica computes {name} for its part of the batch, and their gradients are summed. {why} So every "
            f"update is {found.replicas} times as large as on one device. Nothing raises."
        )

    @staticmethod
    def _fix(found: ReplicaScaling, own: bool) -> str:
        if found.same is None:
            return "Divide by the rows of the batch alone (a mean does), not by the number of devices."
        if own:
            return "Divide the loss by tf.distribute.get_strategy().num_replicas_in_sync."
        return "Return one value per sample (reduce over axis=-1 only), and leave the rest to Keras."

    @staticmethod
    def _place(lab: Lab, found: ReplicaScaling) -> Place | None:
        if found.subject is not None:
            return lab.place(found.subject)
        return lab.place_of_method("train_step" if lab.overrides_train_step else "compute_loss")
