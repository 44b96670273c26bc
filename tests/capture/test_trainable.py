"""What `trainable` said at a call is what the audit finds, and what the script said last is what stays."""

from __future__ import annotations

from pathlib import Path

import keras
import pytest
from keras import layers

from lossproof.capture.trainable import flags_of, trainable_as
from lossproof.pipeline import check_script

TWO_PHASES = """
import keras
import numpy as np
from keras import layers

x = np.random.default_rng(0).normal(size=(64, 4)).astype("float32")
y = x.sum(axis=1, keepdims=True)
teacher = keras.Sequential([keras.Input((4,)), layers.Dense(8, activation="relu"), layers.Dense(1)])
teacher.compile("sgd", "mse")
teacher.fit(x, y, verbose=0)
teacher.trainable = False
student = keras.Sequential([keras.Input((4,)), layers.Dense(1)])
student.compile("sgd", "mse")
student.fit(x, teacher.predict(x, verbose=0), verbose=0)
"""


def nested() -> keras.Model:
    base = keras.Sequential([keras.Input((4,)), layers.Dense(3), layers.BatchNormalization()], name="base")
    return keras.Sequential([keras.Input((4,)), base, layers.Dense(1)])


@pytest.mark.parametrize("later", ["all", "none", "base", "kernel"])
def test_mixed_flags_are_as_noted_inside_and_as_left_outside(later: str) -> None:
    model = nested()
    model.layers[0].layers[0].trainable = False
    noted, meant = flags_of(model), [v.path for v in model.trainable_variables]
    if later in ("all", "none"):
        model.trainable = later == "all"
    elif later == "base":
        model.layers[0].trainable = False
    else:
        model.layers[1].kernel.trainable = False
    left = flags_of(model)
    with trainable_as(noted):
        assert flags_of(model) == noted
        assert [v.path for v in model.trainable_variables] == meant
    assert flags_of(model) == left


def test_a_model_that_is_frozen_after_its_training_is_judged_as_it_was_trained(tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(TWO_PHASES, encoding="utf-8")
    first, second = check_script(script).captures
    assert (first.weights_trainable, second.weights_trainable) == (4, 2)
