"""What training by an `lp.Trainer` costs, as ratios of two measurements of one run, taken in turns.

    KERAS_BACKEND=jax python benchmarks/objective.py [--repeats 7] [--steps 40] [--only vae,yolo,two_task,gradients,torchjd]

- Trainer over a model with a hand-written `compute_loss`, once with its terms logged by a `keras.metrics.Mean` each and
  `self.losses` added, as Keras's guide has it, once bare: the sum of the terms and nothing else; and over the trick of a
  model whose output is its loss (`compile(loss=lambda y_true, y_pred: y_pred)`): a sequence-free VAE, a YOLO-style detector
  and two tasks on one trunk. The hand-written model twice against itself tells the noise.
- A strategy with a gradient per term over K passes forward and back, one per term, each in a step of its own.
- On torch, such a strategy over TorchJD (`pip install "torchjd[quadprog-projector]"`) on the same model, losses and rows:
  once as a Keras user has it, a `train_step` of `fit` with TorchJD in it, Keras's optimizer and the terms logged; once
  our step over a bare loop, which has torch's optimizer and no logs.

A time is the processor time of one step under `fit`, all threads together, the median of the repeats. A ratio is the
median of the ratios of each turn, with their quartiles.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from lossproof.objective import weighting
from lossproof.objective.objective import Objective
from lossproof.objective.references import layer, output, target
from lossproof.objective.term import Term
from lossproof.objective.trainer import Trainer

BATCH = 128
Tensor = Any


# The models --------------------------------------------------------------------------------------------------------------


@keras.saving.register_keras_serializable("benchmark")
class Sample(layers.Layer):
    """A draw from the normal distribution of a mean and a log-variance."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.seed_generator = keras.random.SeedGenerator(0)

    def call(self, mean: Tensor, log_var: Tensor) -> Tensor:
        """The draw, of the shape of the mean."""
        return mean + ops.exp(log_var / 2) * keras.random.normal(ops.shape(mean), seed=self.seed_generator)


def vae() -> keras.Model:
    """A VAE of vectors of 256 numbers."""
    x = keras.Input((256,), name="x")
    h = layers.Dense(256, "relu")(layers.Dense(256, "relu")(x))
    mean, log_var = layers.Dense(32, name="mean")(h), layers.Dense(32, name="log_var")(h)
    z = Sample(name="sample")(mean, log_var)
    h = layers.Dense(256, "relu")(layers.Dense(256, "relu")(z))
    return keras.Model(x, {"image": layers.Dense(256, name="image")(h), "m": mean, "v": log_var})


def squared(y_true: Tensor, y_pred: Tensor) -> Tensor:
    """The squared error, one per sample."""
    return ops.mean(ops.square(y_pred - y_true), axis=-1)


def divergence(mean: Tensor, log_var: Tensor) -> Tensor:
    """The Kullback-Leibler divergence from the standard normal distribution, one per sample."""
    return -0.5 * ops.sum(1 + log_var - ops.square(mean) - ops.exp(log_var), axis=-1)


def yolo() -> keras.Model:
    """A detector on a grid of 6 x 6 cells: a box, an objectness and 4 classes each."""
    x = keras.Input((24, 24, 3), name="x")
    h = layers.Conv2D(16, 3, 2, "same", activation="relu")(x)
    h = layers.Conv2D(32, 3, 2, "same", activation="relu")(h)
    return keras.Model(x, {"grid": layers.Conv2D(9, 1, name="grid")(h)})


def boxes(y_true: Tensor, y_pred: Tensor) -> Tensor:
    """The squared error of the boxes in cells with an object."""
    return ops.sum(y_true[..., 4] * ops.sum(ops.square(y_pred[..., :4] - y_true[..., :4]), -1), axis=(1, 2))


def objectness(y_true: Tensor, y_pred: Tensor) -> Tensor:
    """The cross-entropy of there being an object."""
    logit = y_pred[..., 4]
    return ops.sum(ops.softplus(logit) - logit * y_true[..., 4], axis=(1, 2))


def classes(y_true: Tensor, y_pred: Tensor) -> Tensor:
    """The cross-entropy of the classes in cells with an object."""
    return -ops.sum(y_true[..., 4] * ops.sum(y_true[..., 5:] * ops.log_softmax(y_pred[..., 5:]), -1), axis=(1, 2))


def two_task() -> keras.Model:
    """Two regressions on one trunk."""
    x = keras.Input((64,), name="x")
    h = layers.Dense(512, "relu", name="trunk")(x)
    h = layers.Dense(512, "relu", name="trunk2")(h)
    return keras.Model(x, {"a": layers.Dense(1, name="a")(h), "b": layers.Dense(4, name="b")(h)})


def data(name: str, rows: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Inputs and targets by output."""
    rng = np.random.default_rng(0)

    def normal(*shape: int) -> np.ndarray:
        return rng.normal(size=(rows, *shape)).astype("float32")

    if name == "vae":
        x = normal(256)
        return x, {"image": x}
    if name == "yolo":
        there = (rng.uniform(size=(rows, 6, 6, 1)) < 0.2).astype("float32")
        kind = np.eye(4, dtype="float32")[rng.integers(4, size=(rows, 6, 6))]
        return normal(24, 24, 3), {"grid": np.concatenate([normal(6, 6, 4), there, kind], axis=-1)}
    return normal(64), {"a": normal(1), "b": normal(4)}


MODELS: dict[str, Callable[[], keras.Model]] = {"vae": vae, "yolo": yolo, "two_task": two_task}


def terms(name: str) -> list[Term]:
    """The terms of a model's objective."""
    if name == "vae":
        return [
            Term(squared, output="image", target="image"),
            Term(divergence, mean=layer("mean"), log_var=layer("log_var"), weight=0.01),
        ]
    if name == "yolo":
        return [Term(one, y_true=target("grid"), y_pred=output("grid")) for one in (boxes, objectness, classes)]
    return [Term(squared, output=one, target=one, name=f"of_{one}") for one in ("a", "b")]


def by_hand(name: str, y: Any, outputs: Any) -> list[Tensor]:
    """The same terms as a user writes them in `compute_loss`: reduced, weighted."""
    if name == "vae":
        parts = [squared(y["image"], outputs["image"]), 0.01 * divergence(outputs["m"], outputs["v"])]
    elif name == "yolo":
        parts = [one(y["grid"], outputs["grid"]) for one in (boxes, objectness, classes)]
    else:
        parts = [squared(y[one], outputs[one]) for one in ("a", "b")]
    return [ops.mean(one) for one in parts]


class HandWritten(keras.Model):
    """A model with its own `compute_loss`, which tracks its terms and adds `self.losses` as Keras's guide does; or not."""

    def __init__(self, name: str, bare: bool = False) -> None:
        super().__init__()
        self.inner, self.kind, self.bare = MODELS[name](), name, bare
        count = 0 if bare else len(terms(name))
        self.trackers = [keras.metrics.Mean(name=f"term{k}") for k in range(count)]

    def call(self, inputs: Tensor, training: bool | None = None) -> Any:
        """The outputs."""
        return self.inner(inputs, training=training)

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Tensor:
        """The sum of the terms."""
        parts = by_hand(self.kind, y, y_pred)
        if self.bare:
            return sum(parts)
        for tracker, part in zip(self.trackers, parts, strict=True):
            tracker.update_state(part)
        return sum([*parts, *self.losses])


class Total(layers.Layer):
    """The loss of a model as a layer."""

    def __init__(self, kind: str) -> None:
        super().__init__(name="loss")
        self.kind = kind

    def call(self, inputs: tuple[Any, Any]) -> Tensor:
        """One loss per sample."""
        return ops.broadcast_to(ops.reshape(sum(by_hand(self.kind, *inputs)), (1,)), (BATCH,))


def loss_as_output(name: str) -> keras.Model:
    """The trick: targets are inputs, the loss is the output."""
    model = MODELS[name]()
    _, y = data(name, 1)
    targets = {key: keras.Input(one.shape[1:], name=f"target_{key}") for key, one in y.items()}
    x = keras.Input(model.inputs[0].shape[1:], name="input")
    return keras.Model([x, *targets.values()], Total(name)((targets, model(x))))


# Measuring ---------------------------------------------------------------------------------------------------------------


Run = Callable[[], float]


def fitting(model: keras.Model, x: Any, y: Any, steps: int) -> Run:
    """Times a step of `fit`, after one that compiles it."""

    def run() -> float:
        began = time.process_time()
        model.fit(x, y, batch_size=BATCH, shuffle=False, verbose=0)
        return (time.process_time() - began) / steps

    run()
    return run


Times = dict[str, list[float]]


def taken(runs: dict[str, Run], repeats: int) -> Times:
    """The times of each, in turns, each turn in another order."""
    times: Times = {name: [] for name in runs}
    order, rng = list(runs), np.random.default_rng(0)
    for _ in range(repeats):
        rng.shuffle(order)
        for name in order:
            times[name].append(runs[name]())
    return times


def compiled(model: keras.Model, **arguments: Any) -> keras.Model:
    """The model with plain gradient descent."""
    model.compile(keras.optimizers.SGD(1e-3), **arguments)
    return model


def row(what: str, ours: list[float], theirs: list[float]) -> None:
    """Print a line of the table."""
    low, middle, high = np.quantile(np.array(ours) / np.array(theirs), [0.25, 0.5, 0.75])
    times = f"{np.median(ours) * 1e3:.2f} ms | {np.median(theirs) * 1e3:.2f} ms"
    print(f"| {what} | {keras.backend.backend()} | {times} | {middle:.2f} ({low:.2f} to {high:.2f}) |", flush=True)


def steps_of(name: str, repeats: int, steps: int) -> None:
    """Trainer against hand-written `compute_loss` and loss-as-output."""
    x, y = data(name, BATCH * steps)
    runs = {
        "trainer": fitting(compiled(Trainer(MODELS[name](), Objective(terms(name)))), x, y, steps),
        "by hand": fitting(compiled(HandWritten(name)), x, y, steps),
        "by hand, again": fitting(compiled(HandWritten(name)), x, y, steps),
        "bare": fitting(compiled(HandWritten(name, bare=True)), x, y, steps),
        "as output": fitting(
            compiled(loss_as_output(name), loss=lambda _, y_pred: y_pred), [x, *y.values()], np.zeros(len(x)), steps
        ),
    }
    times = taken(runs, repeats)
    row(f"{name}: hand-written compute_loss / itself", times["by hand, again"], times["by hand"])
    row(f"{name}: Trainer / hand-written compute_loss that logs its terms", times["trainer"], times["by hand"])
    row(f"{name}: Trainer / hand-written compute_loss, bare", times["trainer"], times["bare"])
    row(f"{name}: Trainer / loss as output", times["trainer"], times["as output"])


def gradients(repeats: int, steps: int) -> None:
    """A gradient per term from one forward pass against a pass per term."""
    for name in ("two_task", "yolo"):
        x, y = data(name, BATCH * steps)
        wanted = {
            "PCGrad": weighting.PCGrad,
            "UPGrad": weighting.UPGrad,
            "MGDA": weighting.MGDA,
            "CAGrad": weighting.CAGrad,
        }
        wanted |= {"GradNorm": weighting.GradNorm}
        runs = {
            key: fitting(compiled(Trainer(MODELS[name](), Objective(terms(name), weighting=make()))), x, y, steps)
            for key, make in wanted.items()
        }
        for number, one in enumerate(terms(name)):
            runs[str(number)] = fitting(compiled(Trainer(MODELS[name](), Objective([one]))), x, y, steps)
        times = taken(runs, repeats)
        alone = np.sum([times[str(number)] for number in range(len(terms(name)))], axis=0).tolist()
        for key in wanted:
            row(f"{name}: {key} / {len(terms(name))} passes forward and back", times[key], alone)


def with_torchjd(name: str, aggregator: Any) -> keras.Model:
    """A model whose own `train_step` takes the terms' gradients and brings them together by TorchJD."""
    import torch
    from torchjd.autojac import backward, jac_to_grad

    class Aggregated(HandWritten):
        def train_step(self, data: Any) -> dict[str, Any]:
            x, y = data
            self.zero_grad()
            parts = by_hand(self.kind, y, self(x, training=True))
            weights = [one.value for one in self.trainable_variables]
            backward(parts)
            jac_to_grad(weights, aggregator)
            with torch.no_grad():
                self.optimizer.apply([one.grad for one in weights], self.trainable_variables)
                for tracker, part in zip(self.trackers, parts, strict=True):
                    tracker.update_state(part)
                self._loss_tracker.update_state(sum(parts))
            return self.get_metrics_result()

    return Aggregated(name)


def against_torchjd(repeats: int, steps: int) -> None:
    """Our step on torch tensors against TorchJD: under `fit`, and in a bare loop."""
    import torch
    from torchjd.aggregation import MGDA, PCGrad, UPGrad
    from torchjd.autojac import backward, jac_to_grad

    for name in ("two_task", "yolo"):
        x, y = data(name, BATCH * steps)
        for key, aggregator in (("PCGrad", PCGrad()), ("UPGrad", UPGrad()), ("MGDA", MGDA())):
            trainer = Trainer(MODELS[name](), Objective(terms(name), weighting=getattr(weighting, key)()))
            runs = {
                "ours": fitting(compiled(trainer), x, y, steps),
                "theirs": fitting(compiled(with_torchjd(name, aggregator)), x, y, steps),
            }
            times = taken(runs, repeats)
            row(f"{name}: {key}, fit / fit with TorchJD in a train_step that logs", times["ours"], times["theirs"])

    for name in ("two_task", "yolo"):
        x, y = data(name, BATCH)
        x, y = torch.tensor(x), {key: torch.tensor(one) for key, one in y.items()}
        for key, aggregator in (("PCGrad", PCGrad()), ("UPGrad", UPGrad()), ("MGDA", MGDA())):
            trainer = compiled(Trainer(MODELS[name](), Objective(terms(name), weighting=getattr(weighting, key)())))
            model = MODELS[name]()
            weights = [one.value for one in model.trainable_variables]
            optimizer = torch.optim.SGD(weights, lr=1e-3)

            def ours(trainer: Any = trainer, x: Any = x, y: Any = y) -> float:
                began = time.process_time()
                for _ in range(steps):
                    trainer.train_step((x, y))
                return (time.process_time() - began) / steps

            def theirs(
                model: Any = model,
                batch: Any = (name, x, y),
                weights: Any = weights,
                aggregator: Any = aggregator,
                optimizer: Any = optimizer,
            ) -> float:
                name, x, y = batch
                began = time.process_time()
                for _ in range(steps):
                    backward(by_hand(name, y, model(x, training=True)))
                    jac_to_grad(weights, aggregator)
                    optimizer.step()
                    optimizer.zero_grad()
                return (time.process_time() - began) / steps

            trainer.train_on_batch(x, y)
            theirs()
            times = taken({"ours": ours, "theirs": theirs}, repeats)
            row(f"{name}: {key}, step / TorchJD", times["ours"], times["theirs"])


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--only", default="vae,yolo,two_task,gradients,torchjd")
    options = parser.parse_args()
    print("| what | backend | ours, a step | theirs | ratio |")
    print("|---|---|---|---|---|")
    for one in options.only.split(","):
        if one in MODELS:
            steps_of(one, options.repeats, options.steps)
        elif one == "gradients":
            gradients(options.repeats, options.steps)
        elif keras.backend.backend() == "torch":
            against_torchjd(options.repeats, options.steps)


if __name__ == "__main__":
    main()
