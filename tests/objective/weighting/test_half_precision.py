"""Strategies with per-term gradients under mixed precision and loss scaling."""

from __future__ import annotations

from collections.abc import Iterator

import keras
import numpy as np
import pytest
from keras import ops

from lossproof.objective import weighting
from lossproof.objective.objective import Objective
from lossproof.objective.term import Term
from lossproof.objective.trainer import Trainer

from . import by_hand, gradients


@pytest.fixture(params=["mixed_float16", "mixed_bfloat16"])
def policy(request: pytest.FixtureRequest) -> Iterator[str]:
    keras.config.set_dtype_policy(request.param)
    yield request.param
    keras.config.set_dtype_policy("float32")


def trainer_of(strategy: weighting.Weighting, optimizer: keras.optimizers.Optimizer) -> Trainer:
    terms = [Term("mse", output=name, target=name, name=f"of_{name}") for name in ("a", "d")]
    trainer = Trainer(by_hand.network(), Objective(terms, weighting=strategy))
    trainer.compile(optimizer)
    return trainer


def fit(trainer: Trainer, epochs: int) -> None:
    trainer.fit(by_hand.X, by_hand.Y, batch_size=by_hand.BATCH, shuffle=False, epochs=epochs, verbose=0)


@pytest.mark.parametrize("strategy", [weighting.PCGrad, weighting.GradNorm])
def test_it_trains_as_in_float32_to_the_precision_of_the_half(policy: str, strategy: type[weighting.Weighting]) -> None:
    trainer = trainer_of(strategy(), keras.optimizers.SGD(by_hand.RATE))
    assert isinstance(trainer.optimizer, keras.optimizers.LossScaleOptimizer) == (policy == "mixed_float16")
    fit(trainer, 3)
    halves = by_hand.weights_of(trainer.model)
    keras.config.set_dtype_policy("float32")
    full = trainer_of(strategy(), keras.optimizers.SGD(by_hand.RATE))
    fit(full, 3)
    assert np.abs(halves - by_hand.weights_of(full.model)).max() < (0.005 if policy == "mixed_float16" else 0.04)


def test_a_step_that_overflows_changes_nothing_but_the_scale() -> None:
    keras.config.set_dtype_policy("mixed_float16")
    try:
        optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(by_hand.RATE), initial_scale=2.0**60)
        strategy = weighting.GradNorm()
        trainer = trainer_of(strategy, optimizer)
        fit(trainer, 1)
    finally:
        keras.config.set_dtype_policy("float32")
    start = np.concatenate([one.reshape(-1) for one in by_hand.START])
    np.testing.assert_array_equal(by_hand.weights_of(trainer.model), start)
    np.testing.assert_array_equal(ops.convert_to_numpy(strategy.loss_weights), [1.0, 1.0])
    assert float(ops.convert_to_numpy(optimizer.dynamic_scale)) == 2.0**57


@pytest.mark.parametrize("factor", [None, 1024.0])
def test_a_constant_scale_cancels(factor: float | None) -> None:
    trainer = trainer_of(weighting.PCGrad(), keras.optimizers.SGD(by_hand.RATE, loss_scale_factor=factor))
    fit(trainer, 2)
    loop = by_hand.Loop(lambda rows, _: gradients.surgery(rows, [[1], [0]]))
    np.testing.assert_allclose(by_hand.weights_of(trainer.model), loop.run(2), atol=1e-5)
