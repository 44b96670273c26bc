"""Each example of examples/objectives trains as a step written by hand does: equal weights after 20 steps, to 1e-5."""

from __future__ import annotations

import runpy
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

import lossproof as lp

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "objectives"
STEPS = 20
BATCH = 16
ROWS = STEPS * BATCH


def example(name: str) -> SimpleNamespace:
    """The names that an example defines; its `main` is not run."""
    return SimpleNamespace(**runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name=f"examples.{name}"))


class ByHand(keras.Model):
    """What one writes without lossproof: a model with a `compute_loss` of its own."""

    def __init__(self, inner: keras.Model, compute: Callable[..., Any]) -> None:
        super().__init__()
        self.inner = inner
        self.compute = compute
        self.steps = self.add_weight(shape=(), initializer="zeros", trainable=False, name="steps")
        self.extra = [
            self.add_weight(shape=(), initializer="zeros", name=f"extra_{i}")
            for i in range(getattr(compute, "weights", 0))
        ]

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        return self.inner(inputs, training=training)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):  # type: ignore[no-untyped-def]
        loss = self.compute(self, y, y_pred)
        self.steps.assign(self.steps + 1.0)
        return loss


def crossentropy(labels: Any, logits: Any) -> Any:
    """Mean of -log softmax at the labels, from its definition."""
    one_hot = ops.one_hot(ops.reshape(labels, (-1,)), logits.shape[-1])
    return -ops.mean(ops.sum(one_hot * ops.log_softmax(logits, axis=-1), axis=-1))


def tapped(model: keras.Model, *names: str) -> keras.Model:
    """The model, giving what these layers give as well."""
    return keras.Model(model.inputs, [model.output, *(model.get_layer(name).output for name in names)])


def activation_penalty() -> tuple[Any, ...]:
    this = example("activation_penalty")
    x, y = this.make_data()

    def compute(model: Any, y: Any, y_pred: Any) -> Any:
        digit, code = y_pred
        return crossentropy(y, digit) + 0.3 * ops.mean(ops.abs(code))

    return this.build_model, this.make_objective, x, y, compute, lambda model: tapped(model, "code")


def sequence_vae(annealing: str) -> tuple[Any, ...]:
    this = example("sequence_vae")
    x = this.make_data()
    steps, period = float(this.STEPS), float(this.STEPS // 4)

    def compute(model: Any, y: Any, y_pred: Any) -> Any:
        melody, mean, log_var = y_pred
        step = model.steps + 0.0
        # Linear: t / T. Cyclical: in each period, from 0 to 1 during its first half, then 1 (Fu et al. 2019).
        weight = step / steps if annealing == "linear" else ops.minimum(2.0 * ops.mod(step, period) / period, 1.0)
        told = crossentropy(y, ops.reshape(melody, (-1, this.NOTES))) * this.LENGTH
        kl = ops.mean(ops.sum(0.5 * (ops.exp(log_var) + mean**2 - 1.0 - log_var), axis=-1))
        return told + weight * kl

    return (
        this.build_model,
        lambda: this.make_objective(annealing),
        x,
        x,
        compute,
        lambda model: tapped(model, "z_mean", "z_log_var"),
    )


def detector() -> tuple[Any, ...]:
    this = example("detector")
    x, y = this.make_data()

    def compute(model: Any, y: Any, y_pred: Any) -> Any:
        there = y[..., 4]
        shape = ops.sigmoid(y_pred[..., :4])
        box = ops.sum((shape[..., :2] - y[..., :2]) ** 2, axis=-1)
        box += ops.sum((ops.sqrt(shape[..., 2:]) - ops.sqrt(y[..., 2:4])) ** 2, axis=-1)
        logit = y_pred[..., 4]
        surprise = ops.softplus(-logit) * there + ops.softplus(logit) * (1.0 - there)
        cells = there * (5.0 * box + surprise) + 0.5 * (1.0 - there) * surprise
        return ops.sum(cells) / BATCH

    return this.build_model, this.make_objective, x, y, compute


def heteroscedastic() -> tuple[Any, ...]:
    this = example("heteroscedastic")
    x, y = this.make_data()

    def compute(model: Any, y: Any, y_pred: Any) -> Any:
        log_var = y_pred["log_var"]
        return 0.5 * ops.mean((y["rating"] - y_pred["rating"]) ** 2 / ops.exp(log_var) + log_var)

    return this.build_model, this.make_objective, x, {"rating": y}, compute


def class_weighted() -> tuple[Any, ...]:
    this = example("class_weighted")
    x, y = this.make_data()
    weights = [sum(this.COUNTS) / (3 * count) for count in this.COUNTS]

    def compute(model: Any, y: Any, y_pred: Any) -> Any:
        return -ops.mean(ops.sum(y * ops.array(weights) * ops.log(y_pred + 0.0), axis=-1))

    return this.build_model, this.make_objective, x, y, compute


def distillation() -> tuple[Any, ...]:
    this = example("distillation")
    x, y = this.make_data()
    teacher = np.random.default_rng(0).normal(size=(len(x), 10)).astype("float32")

    def compute(model: Any, y: Any, y_pred: Any) -> Any:
        t = this.TEMPERATURE
        taught = ops.softmax(y["teacher"] / t)
        divergence = ops.sum(taught * (ops.log(taught) - ops.log_softmax(y_pred / t)), axis=-1)
        return 0.3 * crossentropy(y["digit"], y_pred) + 0.7 * t**2 * ops.mean(divergence)

    return this.build_model, this.make_objective, x, {"digit": y, "teacher": teacher}, compute


def triplet() -> tuple[Any, ...]:
    this = example("triplet")
    x, y = this.make_data()

    def compute(model: Any, y: Any, y_pred: Any) -> Any:
        distance = ops.sqrt(ops.maximum(ops.sum((y_pred[:, None] - y_pred[None]) ** 2, axis=-1), 1e-6))
        label = ops.reshape(y, (-1, 1))
        same = ops.cast(label == ops.transpose(label), "float32")
        farthest = ops.max(distance * same, axis=1)
        nearest = ops.min(distance + 1e6 * same, axis=1)
        return ops.mean(ops.softplus(0.5 + farthest - nearest))

    return this.build_model, this.make_objective, x, y, compute


def physics_informed() -> tuple[Any, ...]:
    this = example("physics_informed")
    x, y, measured = this.make_data(ROWS)

    def compute(model: Any, y: Any, y_pred: Any) -> Any:
        seen = ops.mean(ops.reshape(y["measured"], (-1, 1)) * (y_pred["u"] - y["u"]) ** 2)
        broken = y_pred["du_dt"] + ops.exp(model.inner.log_k) * (y_pred["u"] - this.ROOM)
        return 16.0 * seen + ops.mean(broken**2)

    return this.build_model, this.make_objective, x, {"u": y, "measured": measured}, compute


def multi_task() -> tuple[Any, ...]:
    this = example("multi_task")
    x, y = this.make_data()

    def compute(model: Any, y: Any, y_pred: Any) -> Any:
        label, ink = model.extra
        told = crossentropy(y["digit"], y_pred["digit"])
        weighed = ops.mean((y["ink"] - y_pred["ink"]) ** 2)
        return ops.exp(-label) * told + ops.exp(-ink) * weighed + label + ink

    compute.weights = 2  # type: ignore[attr-defined]
    return this.build_model, this.make_objective, x, y, compute


MADE: dict[str, Callable[[], tuple[Any, ...]]] = {
    "activation_penalty": activation_penalty,
    "sequence_vae, linear": lambda: sequence_vae("linear"),
    "sequence_vae, cyclical": lambda: sequence_vae("cyclical"),
    "detector": detector,
    "heteroscedastic": heteroscedastic,
    "class_weighted": class_weighted,
    "distillation": distillation,
    "triplet": triplet,
    "physics_informed": physics_informed,
    "multi_task": multi_task,
}


def first_rows(data: Any) -> Any:
    return keras.tree.map_structure(lambda array: array[:ROWS], data)


@pytest.mark.parametrize("name", MADE)
def test_the_example_trains_as_a_hand_written_step(name: str) -> None:
    build, make_objective, x, y, compute, *rest = MADE[name]()
    offering = rest[0] if rest else lambda model: model
    x, y = first_rows(x), first_rows(y)
    keras.utils.set_random_seed(0)
    ours, theirs = build(), build()
    theirs.set_weights(ours.get_weights())
    start = ours.get_weights()

    trainer = lp.Trainer(ours, make_objective())
    trainer.compile(keras.optimizers.SGD(0.02))
    trainer.fit(x, y, batch_size=BATCH, shuffle=False, verbose=0)
    by_hand = ByHand(offering(theirs), compute)
    by_hand.compile(keras.optimizers.SGD(0.02))
    by_hand.fit(x, y, batch_size=BATCH, shuffle=False, verbose=0)

    moved = 0.0
    for first, mine, hand in zip(start, ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(mine, hand, rtol=1e-5, atol=1e-5)
        moved = max(moved, float(np.max(np.abs(mine - first))))
    assert moved > 1e-3, "nothing was trained, so nothing was compared"


def test_two_trainers_play_as_two_hand_written_steps() -> None:
    this = example("gan")
    points, rng = this.make_data(), np.random.default_rng(11)
    keras.utils.set_random_seed(0)
    generator, discriminator = this.build_models()
    made, judging = this.build_models()
    _, copied = this.build_models()
    for ours, theirs in ((generator, made), (discriminator, judging)):
        theirs.set_weights(ours.get_weights())
    judge, forger = this.make_trainers(generator, discriminator)

    # By hand: the generator learns through a frozen copy of the discriminator, renewed each turn.
    copied.trainable = False
    noise = keras.Input((this.NOISE,))
    through = ByHand(
        keras.Model(noise, copied(made(noise))), lambda model, y, y_pred: ops.mean(ops.log(1.0 + ops.exp(-y_pred)))
    )
    alone = ByHand(
        judging,
        lambda model, y, y_pred: ops.mean(y * ops.softplus(-y_pred) + (1.0 - y) * ops.softplus(y_pred)),
    )
    for trainer in (judge, forger, alone, through):
        trainer.compile(keras.optimizers.SGD(0.05))
    answers = np.repeat([1.0, 0.0], BATCH)[:, None].astype("float32")
    for _ in range(STEPS):
        seeds = rng.normal(size=(2, BATCH, this.NOISE)).astype("float32")
        real = points[rng.integers(0, len(points), BATCH)]
        for maker, discriminating, making in ((generator, judge, forger), (made, alone, through)):
            forged = ops.convert_to_numpy(maker(seeds[0]))
            discriminating.train_on_batch(np.concatenate([real, forged]), answers)
            if making is through:
                copied.set_weights(judging.get_weights())
                making.train_on_batch(seeds[1], np.zeros((BATCH, 1), "float32"))
            else:
                making.train_on_batch(seeds[1])
    for ours, theirs in ((generator, made), (discriminator, judging)):
        for mine, hand in zip(ours.get_weights(), theirs.get_weights(), strict=True):
            np.testing.assert_allclose(mine, hand, rtol=1e-5, atol=1e-5)
