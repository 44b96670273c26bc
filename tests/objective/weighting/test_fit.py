"""Strategies under `fit`, against the same algorithms in NumPy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from lossproof.objective import weighting
from lossproof.objective.objective import Objective
from lossproof.objective.term import Term
from lossproof.objective.trainer import Trainer

from . import by_hand, gradients
from .loops import LOOPS

TERMS = [("first", "a"), ("second", "d")]
EPOCHS = 4


def trainer_of(strategy: Any, optimizer: Any = None, **compiled: Any) -> Any:
    terms = [Term("mse", output=output, target=output, name=name) for name, output in TERMS]
    trainer = Trainer(by_hand.network(), Objective(terms, weighting=strategy))
    trainer.compile(keras.optimizers.SGD(by_hand.RATE) if optimizer is None else optimizer, **compiled)
    return trainer


def fit(trainer: Any, epochs: int = EPOCHS, **arguments: Any) -> Any:
    return trainer.fit(
        by_hand.X, by_hand.Y, batch_size=by_hand.BATCH, shuffle=False, epochs=epochs, verbose=0, **arguments
    )


def test_the_gradients_by_hand_are_right() -> None:
    assert by_hand.gradient_check() < 1e-8


@pytest.mark.parametrize("name", LOOPS)
def test_the_weights_are_those_of_the_loop_by_hand(name: str) -> None:
    make, loop = LOOPS[name]
    trainer = trainer_of(make())
    fit(trainer)
    np.testing.assert_allclose(by_hand.weights_of(trainer.model), loop().run(EPOCHS), atol=1e-5)


def test_the_learned_log_variances_are_those_of_the_loop_by_hand() -> None:
    from .loops import Variances

    strategy = weighting.Uncertainty(initial={"first": 0.5, "second": 2.0})
    fit(trainer_of(strategy))
    variances = Variances()
    by_hand.Loop(variances.combine).run(EPOCHS)
    np.testing.assert_allclose(ops.convert_to_numpy(strategy.log_variances), variances.logs, atol=1e-5)


def test_random_weights_train_by_the_weights_that_they_log() -> None:
    """One step at a time: the logged weights, put into the loop by hand, give the same network."""
    trainer = trainer_of(weighting.RandomLossWeighting(seed=5))
    drawn: list[np.ndarray] = []
    for _, x, y_a, y_d in by_hand.batches(2):
        logs = trainer.train_on_batch(
            x.astype("float32"), {"a": y_a.astype("float32"), "d": y_d.astype("float32")}, return_dict=True
        )
        drawn.append(np.array([float(logs["first_weight"]), float(logs["second_weight"])]))
    assert len({tuple(one) for one in drawn}) == len(drawn)
    remaining = iter(drawn)
    expected = by_hand.Loop(lambda rows, _: next(remaining) @ rows).run(2)
    np.testing.assert_allclose(by_hand.weights_of(trainer.model), expected, atol=1e-5)


@pytest.mark.parametrize("name", ["PCGrad", "GradNorm", "DynamicWeightAverage"])
def test_the_logs_sum_to_the_loss(name: str) -> None:
    trainer = trainer_of(LOOPS[name][0]())
    for _, x, y_a, y_d in by_hand.batches(2):
        trainer.reset_metrics()
        data = x.astype("float32"), {"a": y_a.astype("float32"), "d": y_d.astype("float32")}
        before = by_hand.weights_of(trainer.model)
        logs = {key: float(one) for key, one in trainer.train_on_batch(*data, return_dict=True).items()}
        values, _, _ = by_hand.measure(before, x, y_a, y_d)
        np.testing.assert_allclose([logs["first"], logs["second"]], values, rtol=1e-5)
        weights = [logs.get(f"{term}_weight", 1.0) for term in ("first", "second")]
        kernel = before[: by_hand.START[0].size]
        assert logs["loss"] == pytest.approx(weights @ values + by_hand.LAMBDA * (kernel**2).sum(), rel=1e-5)


@pytest.mark.parametrize("name", ["PCGrad", "MGDA", "UPGrad", "CAGrad"])
def test_the_coefficients_of_the_gradients_are_logged(name: str) -> None:
    trainer = trainer_of(LOOPS[name][0]())
    w = by_hand.weights_of(trainer.model)
    _, x, y_a, y_d = next(iter(by_hand.batches(1)))
    logs = trainer.train_on_batch(
        x.astype("float32"), {"a": y_a.astype("float32"), "d": y_d.astype("float32")}, return_dict=True
    )
    coefficients = np.array([float(logs[f"{term}_gradient_weight"]) for term in ("first", "second")])
    _, rows, added = by_hand.measure(w, x, y_a, y_d)
    np.testing.assert_allclose(
        w - by_hand.RATE * (coefficients @ rows + added), by_hand.weights_of(trainer.model), atol=1e-5
    )


MODES: list[tuple[dict[str, Any], tuple[str, ...]]] = [
    ({"run_eagerly": True}, ("tensorflow", "jax")),
    ({"jit_compile": True}, ("tensorflow",)),
    ({"steps_per_execution": 3}, ("tensorflow", "jax")),
]


@pytest.mark.parametrize("name", ["UPGrad", "GradNorm"])
@pytest.mark.parametrize(
    ("mode", "backends"), MODES, ids=lambda one: next(iter(one), "") if isinstance(one, dict) else ""
)
def test_every_mode_of_execution_gives_the_same(
    name: str, mode: dict[str, Any], backends: tuple[str, ...], backend: str
) -> None:
    if backend not in backends:
        pytest.skip("not a mode of this backend, or its only one")
    make, loop = LOOPS[name]
    trainer = trainer_of(make(), **mode)
    fit(trainer)
    np.testing.assert_allclose(by_hand.weights_of(trainer.model), loop().run(EPOCHS), atol=1e-5)


def test_gradient_accumulation_averages_the_combined_gradients() -> None:
    trainer = trainer_of(weighting.PCGrad(), keras.optimizers.SGD(by_hand.RATE, gradient_accumulation_steps=3))
    fit(trainer)
    loop = by_hand.Loop(lambda rows, _: gradients.surgery(rows, [[1], [0]]), accumulate=3)
    np.testing.assert_allclose(by_hand.weights_of(trainer.model), loop.run(EPOCHS), atol=1e-5)


def test_the_moving_average_of_the_weights_takes_part() -> None:
    optimizer = keras.optimizers.SGD(by_hand.RATE, use_ema=True, ema_momentum=0.5)
    trainer = trainer_of(weighting.PCGrad(), optimizer)
    fit(trainer, epochs=1)
    w = np.concatenate([one.reshape(-1) for one in by_hand.START]).astype("float64")
    average = np.zeros_like(w)
    for step, (_, *batch) in enumerate(by_hand.batches(1)):
        _, rows, added = by_hand.measure(w, *batch)
        w = w - by_hand.RATE * (gradients.surgery(rows, [[1], [0]]) + added)
        average = w if step == 0 else 0.5 * average + 0.5 * w
    np.testing.assert_allclose(by_hand.weights_of(trainer.model), average, atol=1e-5)  # fit ends with the average


def test_sample_weights_reach_the_gradients() -> None:
    weights = np.linspace(0.2, 2.0, by_hand.ROWS).astype("float32")
    trainer = trainer_of(weighting.UPGrad())
    fit(trainer, epochs=1, sample_weight=weights)
    w = np.concatenate([one.reshape(-1) for one in by_hand.START]).astype("float64")
    for step, (_, x, y_a, y_d) in enumerate(by_hand.batches(1)):
        own = weights[step * by_hand.BATCH : (step + 1) * by_hand.BATCH].astype("float64")
        rows = np.zeros((2, w.size))
        for one, share in enumerate(own):
            _, single, added = by_hand.measure(w, *(part[one : one + 1] for part in (x, y_a, y_d)))
            rows += share * single / len(own)
        w = w - by_hand.RATE * (gradients.projected_mean(rows) + added)
    np.testing.assert_allclose(by_hand.weights_of(trainer.model), w, atol=1e-5)


def test_validation_and_metrics_are_there() -> None:
    trainer = trainer_of(weighting.MGDA(), metrics={"a": ["mae"]})
    validation = by_hand.X[:5], {name: one[:5] for name, one in by_hand.Y.items()}
    history = fit(trainer, epochs=2, validation_data=validation).history
    assert {"loss", "first", "second", "val_loss", "val_first", "val_second"} <= set(history)
    assert any("mae" in key or "mean_absolute" in key for key in history)
    values, _, _ = by_hand.measure(
        by_hand.weights_of(trainer.model), *(one.astype("float64") for one in (validation[0], *validation[1].values()))
    )
    np.testing.assert_allclose([history["val_first"][-1], history["val_second"][-1]], values, rtol=1e-5)


STATEFUL = ["Uncertainty", "DynamicWeightAverage", "GradNorm", "RandomLossWeighting", "PCGrad"]


@pytest.mark.parametrize("name", STATEFUL)
def test_training_resumes_from_a_file_as_if_it_had_not_stopped(name: str, tmp_path: Path) -> None:
    make = (lambda: weighting.RandomLossWeighting(seed=3)) if name == "RandomLossWeighting" else LOOPS[name][0]
    whole = trainer_of(make(), keras.optimizers.Adam(0.01))
    fit(whole, epochs=5)
    half = trainer_of(make(), keras.optimizers.Adam(0.01))
    fit(half, epochs=3)
    half.save(tmp_path / "half.keras")
    resumed = keras.saving.load_model(tmp_path / "half.keras")
    for one, other in zip(half.weighting.variables, resumed.weighting.variables, strict=True):
        np.testing.assert_array_equal(ops.convert_to_numpy(one), ops.convert_to_numpy(other))
    fit(resumed, epochs=5, initial_epoch=3)
    np.testing.assert_array_equal(by_hand.weights_of(resumed.model), by_hand.weights_of(whole.model))
    for one, other in zip(whole.weighting.variables, resumed.weighting.variables, strict=True):
        np.testing.assert_array_equal(ops.convert_to_numpy(one), ops.convert_to_numpy(other))


def test_orders_drawn_are_resumed(tmp_path: Path) -> None:
    strategy = weighting.PCGrad(seed=1)
    strategy.prepare(["a", "b", "c"])
    state = ops.convert_to_numpy(strategy.generator.state).copy()
    rows = [[ops.convert_to_tensor(row.astype("float32"))] for row in gradients.FAMILIES["conflicting 3"]]
    strategy.combine(rows, [1.0] * 3)
    assert (ops.convert_to_numpy(strategy.generator.state) != state).any()
    assert any(one is strategy.generator.state for one in strategy.variables)


def test_unknown_names_are_refused_before_any_weight_changes() -> None:
    trainer = trainer_of(weighting.UPGrad(shared="trnk"))
    with pytest.raises(ValueError, match=r"names no layer with trainable weights.* Did you mean 'trunk'\?"):
        fit(trainer, epochs=1)
    np.testing.assert_array_equal(
        by_hand.weights_of(trainer.model), np.concatenate([one.reshape(-1) for one in by_hand.START])
    )


def test_a_term_that_is_not_there_is_refused_when_the_trainer_is_built() -> None:
    with pytest.raises(ValueError, match=r"'frist', which is no term of the objective.* Did you mean 'first'\?"):
        trainer_of(weighting.Uncertainty(initial={"frist": 1.0}))


def test_embeddings_have_dense_gradients() -> None:
    ids = keras.Input((3,), dtype="int32", name="ids")
    h = keras.layers.Flatten()(keras.layers.Embedding(7, 4, name="table")(ids))
    model = keras.Model(ids, {"a": keras.layers.Dense(1, name="a")(h), "d": keras.layers.Dense(1, name="d")(h)})
    terms = [Term("mse", output=output, target=output, name=name) for name, output in TERMS]
    trainer = Trainer(model, Objective(terms, weighting=weighting.PCGrad()))
    trainer.compile(keras.optimizers.SGD(0.1))
    table = model.get_layer("table").get_weights()[0]
    x = np.array([[0, 1, 2], [2, 3, 4]], dtype="int32")
    trainer.fit(x, {"a": np.ones((2, 1), "float32"), "d": -np.ones((2, 1), "float32")}, epochs=2, verbose=0)
    moved = np.abs(model.get_layer("table").get_weights()[0] - table).max(axis=1) > 0
    np.testing.assert_array_equal(moved, [True] * 5 + [False] * 2)
