"""A sample of `make faults`: healthy objectives, the faults seeded into them, and how both are certified."""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import pytest

from .certify import behaviour, difference, up_to_fit
from .operators.everything import BY_NAME, OPERATORS
from .script import Operator, Script, Subject, mutants
from .subjects import subjects
from .worker import Result, work

SUBJECTS = {one.name: one for one in subjects()}
"""By name."""

SURE = {
    ("mse_column_class", "sum-of-everything"): None,
}

NAMED = [
    ("asymmetric", "targets-as-vector", 0),
    ("gaussian", "targets-as-row", 1),
    ("three_columns", "one-column", 0),
]

PLAIN = Subject(
    "plain",
    '''# targets: real x 2
import keras
import numpy as np
from keras import layers, ops

keras.utils.set_random_seed(1)
rng = np.random.default_rng(1)
x = rng.normal(size=(48, 3)).astype("float32")
y = x[:, :2].copy()


def squared(y_true, y_pred):
    return ops.mean(ops.square(y_true - y_pred), axis=-1)


model = keras.Sequential([keras.Input((3,)), layers.Dense(2)])
model.compile(optimizer=keras.optimizers.SGD(0.1), loss=squared)
model.fit(x, y, batch_size=12, verbose=0)
''',
)
