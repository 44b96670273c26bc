"""Every way of feeding and compiling a Trainer gives what the plain one gives."""

from __future__ import annotations

import functools

import keras
import numpy as np
import pytest
from keras import ops

import lossproof as lp

from .models import data, nll_term, numpy_weights, same, size, two_heads


def make(optimizer=None, dropout=0.0, **compiled):
    trainer = lp.Trainer(
        two_heads(dropout),
        lp.Objective(
            [
                nll_term(),
                lp.Term(size, activation=lp.layer("hidden"), weight=lp.schedules.Linear(0.0, 1.0, steps=8)),
            ]
        ),
    )
    trainer.compile(optimizer or keras.optimizers.SGD(0.05), **compiled)
    return trainer


def trained(x, y=None, epochs=2, steps=None, trainer=None, **fit):
    trainer = trainer or make()
    fit = {"batch_size": 8, **fit} if y is not None else fit
    history = trainer.fit(x, y, epochs=epochs, steps_per_epoch=steps, shuffle=False, verbose=0, **fit).history
    return trainer, history


class Batches(keras.utils.PyDataset):
    def __init__(self, x, y):
        super().__init__()
        self.x, self.y = x, y

    def __len__(self):
        return len(self.x) // 8

    def __getitem__(self, index):
        rows = slice(8 * index, 8 * index + 8)
        return self.x[rows], self.y[rows]


def generated(x, y):
    while True:
        for first in range(0, len(x), 8):
            yield x[first : first + 8], y[first : first + 8]


def dataset(x, y):
    import tensorflow as tf

    return tf.data.Dataset.from_tensor_slices((x, y)).batch(8)


def loader(x, y):
    import torch

    pairs = torch.utils.data.TensorDataset(torch.from_numpy(x), torch.from_numpy(y))
    return torch.utils.data.DataLoader(pairs, batch_size=8)


@pytest.mark.parametrize("kind", ["PyDataset", "generator", "tf.data", "DataLoader"])
def test_sources_of_batches(kind):
    x, y = data(32)
    expected, logs = trained(x, y)
    feed = {"PyDataset": Batches, "generator": generated, "tf.data": dataset, "DataLoader": loader}[kind](x, y)
    found, others = trained(feed, steps=4 if kind == "generator" else None)
    same(numpy_weights(expected), numpy_weights(found), tolerance=1e-6)
    for name, values in logs.items():
        np.testing.assert_allclose(values, others[name], rtol=1e-5)


def compiled_ways():
    ways = {"eager": {"run_eagerly": True}, "jit": {"jit_compile": True}, "several steps": {"steps_per_execution": 4}}
    if keras.backend.backend() == "torch":
        del ways["several steps"]  # which Keras does not offer there
    return ways


@pytest.fixture
def quick_jit(monkeypatch):
    """On torch, the step is traced and run as traced, without the minutes in which inductor compiles it."""
    if keras.backend.backend() == "torch":
        import torch

        monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="eager"))


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning")  # dynamo reads it
@pytest.mark.parametrize("way", ["eager", pytest.param("jit", marks=pytest.mark.slow), "several steps"])
def test_ways_of_compiling(way, quick_jit):
    if way not in compiled_ways():
        pytest.skip("not offered by Keras on this backend")
    x, y = data(32)
    expected, logs = trained(x, y)
    found, others = trained(x, y, trainer=make(**compiled_ways()[way]))
    same(numpy_weights(expected), numpy_weights(found), tolerance=1e-5)
    for name, values in logs.items():
        np.testing.assert_allclose(values, others[name], rtol=1e-4, err_msg=name)


def test_batch_by_batch():
    x, y = data(32)
    expected, _ = trained(x, y)
    trainer = make()
    for first in [*range(0, 32, 8)] * 2:
        trainer.train_on_batch(x[first : first + 8], y[first : first + 8])
    same(numpy_weights(expected), numpy_weights(trainer), tolerance=1e-6)


def test_validation_does_not_disturb_training():
    x, y = data(32)
    expected, _ = trained(x, y)
    found, history = trained(x, y, validation_data=(x[:5], y[:5]))
    same(numpy_weights(expected), numpy_weights(found), tolerance=1e-6)
    assert history["val_loss"][-1] == pytest.approx(found.evaluate(x[:5], y[:5], verbose=0, return_dict=True)["loss"])


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision(policy):
    x, y = data(32)
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        wrapped = make().optimizer
        # The default scale overflows at first, and the steps that it then skips are not those of the other run.
        trainer = make(keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.05), initial_scale=64.0))
    finally:
        keras.config.set_dtype_policy(before)
    scaled = isinstance(wrapped, keras.optimizers.LossScaleOptimizer)
    assert scaled == (policy == "mixed_float16")
    start = numpy_weights(trainer.model)
    _, logs = trained(x, y, trainer=trainer)
    full, expected = trained(x, y)
    for name, values in expected.items():
        np.testing.assert_allclose(values, logs[name], rtol=0.05, atol=0.02, err_msg=name)
    for one, other, first in zip(numpy_weights(full.model), numpy_weights(trainer.model), start, strict=True):
        np.testing.assert_allclose(one, other, atol=0.1 * np.abs(one - first).max() + 1e-3)


def test_gradient_accumulation_moves_the_schedule_with_the_optimizer():
    x, y = data(32)
    trainer = make(keras.optimizers.SGD(0.05, gradient_accumulation_steps=4))
    _, history = trained(x, y, epochs=3, trainer=trainer)
    np.testing.assert_allclose(history["size_weight"], [0, 1 / 8, 2 / 8])
    assert int(ops.convert_to_numpy(trainer.optimizer.iterations)) == 3


def test_fit_again_and_compile_again_go_on():
    x, y = data(32)
    trainer, _ = trained(x, y, epochs=1)
    _, history = trained(x, y, epochs=1, trainer=trainer)
    assert history["size_weight"][-1] == pytest.approx(7 / 8)
    trainer.compile("sgd")
    _, history = trained(x, y, epochs=1, trainer=trainer)
    assert history["size_weight"][-1] == 1.0


def test_dropout_is_drawn_anew_in_each_step():
    x = np.ones((8, 4), "float32")
    trainer = make(keras.optimizers.SGD(0.0), dropout=0.5)
    losses = set()
    for _ in range(4):
        trainer.reset_metrics()
        losses.add(round(float(trainer.train_on_batch(x, x[:, :1], return_dict=True)["gaussian_nll"]), 6))
    assert len(losses) == 4
