"""What of Keras's privates a Trainer leans on is still there, and does what it is used for."""

from __future__ import annotations

import keras
import numpy as np
from keras import ops

from lossproof import keras_private

from .models import line, two_heads


def test_the_graph_of_a_model():
    model = two_heads()
    assert keras_private.runs_its_graph(model)
    assert keras_private.runs_its_graph(line())
    assert not keras_private.runs_its_graph(keras.Sequential([keras.layers.Dense(1)]))
    names = [one.name for one in keras_private.operations_of(model)]
    assert names[0] == "x"
    assert set(names) == {"x", "hidden", "drop", "rating", "log_var"}
    hidden = model.get_layer("hidden")
    ((tensor,),) = keras_private.calls_of(model, hidden)
    assert tensor is hidden.output
    assert keras_private.maker_of(tensor) is hidden
    assert keras_private.output_structure(model)["rating"] is model.get_layer("rating").output
    assert (
        keras_private.input_structure(model) is model.inputs[0] or keras_private.input_structure(model) == model.inputs
    )


def test_masks_are_kept_on_tensors():
    tensor, mask = ops.ones((2, 3)), ops.convert_to_tensor([[True, False, True]] * 2)
    assert keras_private.keras_mask(tensor) is None
    keras_private.give_keras_mask(tensor, mask)
    assert keras_private.keras_mask(tensor) is mask


def test_ranks_are_aligned_and_functions_wrapped():
    y_true, y_pred = keras_private.of_one_rank(ops.ones((4,)), ops.zeros((4, 1)))
    assert tuple(y_true.shape) == tuple(y_pred.shape) == (4, 1)
    loss = keras_private.loss_of_function(keras.losses.huber, "h", "sum", {"delta": 0.5})
    value = loss(np.zeros((4, 1)), np.ones((4, 1)))
    assert float(ops.convert_to_numpy(value)) == 4 * (0.5 * 1 - 0.5 * 0.5**2)


def test_without_replicas_shares_are_the_whole():
    assert float(keras_private.share_of_replica(ops.ones(()))) == 1.0
    assert float(keras_private.undivided(ops.ones(()))) == 1.0


def test_callbacks_find_the_direction_of_a_log():
    many = keras_private.metrics_list()([keras_private.monitored("kl", falls=True)])
    assert isinstance(many, keras.Metric)
    assert many.metrics[0].name == "kl"
