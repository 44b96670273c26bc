"""The work of a forward pass, against the products that the layers' formulas call for."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

from lossproof.lab.work import counted

ROWS = 4


def work_of(*own: keras.layers.Layer, shape: tuple[int, ...]) -> float:
    model = keras.Sequential([keras.Input(shape), *own])
    with counted() as work:
        model(np.ones((ROWS, *shape), "float32"))
    return work.multiplications


def test_dense() -> None:
    products = ROWS * 8 * 16 + ROWS * 16 * 2
    assert products < work_of(layers.Dense(16), layers.Dense(2), shape=(8,)) <= 1.3 * products


def test_convolution() -> None:
    products = ROWS * 10 * 10 * (3 * 3 * 4 * 32)
    assert products < work_of(layers.Conv2D(32, 3, padding="same"), shape=(10, 10, 4)) <= 1.1 * products


def test_recurrence(backend: str) -> None:
    products = ROWS * 20 * 4 * (8 * 16 + 16 * 16)
    assert products < work_of(layers.LSTM(16), shape=(20, 8)) <= 1.1 * products, backend


def test_a_table_is_not_multiplied() -> None:
    assert work_of(layers.Embedding(10_000, 8), shape=(6,)) == pytest.approx(ROWS * 6 * 8)


def test_nested_models_count_once() -> None:
    inner = keras.Sequential([keras.Input((8,)), layers.Dense(16, use_bias=False)])
    flat = work_of(layers.Dense(16, use_bias=False), shape=(8,))
    assert work_of(inner, shape=(8,)) == flat == ROWS * 8 * 16 + ROWS * 16
