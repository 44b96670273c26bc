"""Bad input gets one clear error, at construction or at the first batch, before any weight changes."""

from __future__ import annotations

import functools

import keras
import numpy as np
import pytest
from keras import ops

import lossproof as lp

from .models import data, gaussian_nll, line, nll_term, numpy_weights, same, scalar_squared, size, squared, two_heads


def module_level(y_true, y_pred):
    return squared(y_true, y_pred)


def needs_more(y_true, y_pred, temperature):
    return squared(y_true, y_pred) * temperature


def raises_at_construction(make, message, kind=(TypeError, ValueError)):
    with pytest.raises(kind, match=message):
        make()


AT_CONSTRUCTION = {
    "no terms": (lambda: lp.Objective([]), r"has no terms"),
    "a function for a term": (
        lambda: lp.Objective([squared]),
        r"takes lp.Terms, found function.*lp.Term\(squared, ...\)",
    ),
    "one term, no list": (lambda: lp.Objective(lp.Term("mse")), r"takes a list of terms"),
    "two of one name": (lambda: lp.Objective([lp.Term("mse"), lp.Term("mse")]), r"Two terms are named 'mse'"),
    "the name of a log": (
        lambda: lp.Objective([lp.Term("mse", name="kl"), lp.Term("mae", name="kl_weight")]),
        r"'kl_weight' has the name of a log of the term 'kl'",
    ),
    "named loss": (lambda: lp.Term("mse", name="loss"), r"cannot be named \"loss\""),
    "unknown built-in": (lambda: lp.Term("mean_sqared_error"), r"no built-in loss.*Did you mean 'mean_squared_error'"),
    "no function": (lambda: lp.Term(3), r"A term is a function.*found int: 3"),
    "NaN weight": (
        lambda: lp.Term("mse", weight=float("nan")),
        r"weight of term 'mse' is nan. Expected a finite number",
    ),
    "infinite weight": (lambda: lp.Term("mse", weight=float("inf")), r"weight of term 'mse' is inf"),
    "a NaN of NumPy for a weight": (lambda: lp.Term("mse", weight=np.float32("nan")), r"weight of term 'mse' is nan"),
    "a NaN tensor for a weight": (
        lambda: lp.Term("mse", weight=ops.convert_to_tensor(float("nan"))),
        r"weight of term 'mse' is nan",
    ),
    "a NaN variable for a weight": (
        lambda: lp.Term("mse", weight=keras.Variable(float("nan"), trainable=False)),
        r"weight of term 'mse' is a variable with the value nan",
    ),
    "a class for a schedule": (
        lambda: lp.Term("mse", weight=lp.schedules.Linear),
        r"a schedule of the step such as.*Linear is the class: make one of it, Linear\(...\)",
    ),
    "negative uncertainty": (
        lambda: lp.weighting.Uncertainty(initial=-1.0),
        r"Uncertainty\(initial=...\) takes a number above 0, and was given -1.0",
    ),
    "no uncertainty for a term": (
        lambda: lp.weighting.Uncertainty(initial={"mse": 1.0, "mae": 0.0}),
        r"takes a number above 0, and was given 0.0",
    ),
    "NaN uncertainty": (
        lambda: lp.weighting.Uncertainty(initial=float("nan")),
        r"Uncertainty\(initial=...\) takes a finite number, and was given nan",
    ),
    "no terms under a strategy": (lambda: lp.Objective([], weighting=lp.weighting.PCGrad()), r"has no terms"),
    "one term under a strategy": (
        lambda: lp.Trainer(line(), lp.Objective(["mse"], weighting=lp.weighting.PCGrad())),
        r"weighs several terms against each other, and this objective has only 'mse'",
    ),
    "a string for a weight": (lambda: lp.Term("mse", weight="high"), r"Expected a number, a schedule of the step"),
    "a function for a schedule": (
        lambda: lp.Term("mse", weight=lambda t: t),
        r"schedule.*LearningRateSchedule.*compiled",
    ),
    "a schedule of another shape": (
        lambda: lp.Term("mse", weight=Vector()),
        r"schedule of term 'mse', Vector, gives a tensor of shape \(2,\)",
    ),
    "a schedule that is NaN": (lambda: lp.Term("mse", weight=NotANumber()), r"NotANumber, is nan at step 0"),
    "a trainable weight": (lambda: lp.Term("mse", weight=keras.Variable(1.0)), r"is a trainable variable.*Uncertainty"),
    "a lambda": (
        lambda: lp.Term(lambda y_true, y_pred: y_pred),
        r"cannot be saved: its function is a lambda.*serializable=False",
    ),
    "a closure": (lambda: lp.Term(closure(2.0)), r"defined inside closure\(\), where it cannot be found again"),
    "an object": (lambda: lp.Term(Callable()), r"an object of Callable, which has no get_config"),
    "no such parameter": (
        lambda: lp.Term(gaussian_nll, mena=lp.output("mean")),
        r"gaussian_nll has no parameter 'mena'; it has 'y_true', 'mean', 'log_var'. Did you mean 'mean'",
    ),
    "output= for a function without y_pred": (
        lambda: lp.Term(size, output="rating"),
        r"output= says what 'y_pred' is, and size has no such parameter; it has 'activation'",
    ),
    "both output= and y_pred=": (
        lambda: lp.Term("mse", output="a", y_pred=lp.output("b")),
        r"both output= and y_pred=",
    ),
    "a reduction to no number": (lambda: lp.Term("mse", reduction="none"), r"reduction of term 'mse' is 'none'"),
    "unknown output": (
        lambda: lp.Trainer(two_heads(), [lp.Term("mse", output="ratng")]),
        r"no output 'ratng'. The outputs are .*Did you mean 'rating'",
    ),
    "which output": (
        lambda: lp.Trainer(two_heads(), [lp.Term("mse")]),
        r"there are several outputs: .*Say which: lp.output",
    ),
    "unknown layer": (
        lambda: lp.Trainer(two_heads(), [lp.Term(size, activation=lp.layer("hiden"))]),
        r"has no layer 'hiden'. Its layers are 'x', 'hidden', 'drop'.*Did you mean 'hidden'",
    ),
    "unknown input": (
        lambda: lp.Trainer(line(), [lp.Term(needs_more, temperature=lp.input("y"))]),
        r"no input 'y'. The inputs are 'x'",
    ),
    "a layer of another model": (
        lambda: lp.Trainer(line(), [lp.Term(size, activation=lp.layer(keras.layers.Dense(1, name="other")))]),
        r"lp.layer\('other'\) is not part of what the model .* computes",
    ),
    "a symbolic tensor": (
        lambda: lp.Trainer(line(), [lp.Term(size, activation=line().outputs[0])]),
        r"a symbolic tensor of a model has no value outside of it. Write activation=lp.layer\(tensor\)",
    ),
    "no model": (lambda: lp.Trainer(squared, [lp.Term("mse")]), r"takes a keras.Model first, found function"),
    "a trainer of a trainer": (
        lambda: lp.Trainer(lp.Trainer(line(), ["mse"]), ["mse"]),
        r"is a Trainer already. Pass its model",
    ),
    "a strategy for a weight": (
        lambda: lp.Term("mse", weight=lp.weighting.Uncertainty()),
        r"A strategy weighs all terms: pass it to lp.Objective\(terms, weighting=...\)",
    ),
    "a class for a strategy": (
        lambda: lp.Objective(["mse", "mae"], weighting=lp.weighting.Uncertainty),
        r"takes a strategy such as lp.weighting.Uncertainty\(\), found Uncertainty, the class",
    ),
    "loss in compile": (
        lambda: lp.Trainer(line(), ["mse"]).compile("sgd", loss="mse"),
        r"compile\(loss=...\) was given to an lp.Trainer, whose loss is its objective: 'mse'",
    ),
    "a negative step": (lambda: lp.layer("z", call=-1), r"lp.layer\(call=...\) counts from 0"),
}


class Vector(keras.optimizers.schedules.LearningRateSchedule):
    def __call__(self, step):
        return ops.ones((2,))


class NotANumber(keras.optimizers.schedules.LearningRateSchedule):
    def __call__(self, step):
        return ops.convert_to_tensor(float("nan"))


class Callable:
    def __call__(self, y_true, y_pred):
        return squared(y_true, y_pred)


def closure(scale):
    def scaled(y_true, y_pred):
        return scale * squared(y_true, y_pred)

    return scaled


@pytest.mark.parametrize("name", AT_CONSTRUCTION)
def test_at_construction(name):
    raises_at_construction(*AT_CONSTRUCTION[name])


def test_what_cannot_be_saved_is_taken_if_said():
    x, y = data(8)
    trainer = lp.Trainer(line(), [lp.Term(closure(2.0), serializable=False), lp.Term(functools.partial(squared))])
    trainer.compile("sgd")
    logs = trainer.evaluate(x, y, verbose=0, return_dict=True)
    assert logs["scaled"] == pytest.approx(2 * logs["squared"], rel=1e-6)


def test_a_term_cannot_be_changed():
    with pytest.raises(
        AttributeError, match=r"Term 'mse' cannot be changed: a compiled step would go on with the old weight"
    ):
        lp.Term("mse").weight = 2.0


def per_feature(y_true, y_pred):
    return ops.mean(ops.square(y_true - y_pred), axis=0)


def one_short(y_true, y_pred):
    return squared(y_true, y_pred)[1:]


def nothing(y_true, y_pred):
    squared(y_true, y_pred)


def pair(y_true, y_pred):
    return squared(y_true, y_pred), y_pred


def whole(mask_me):
    return ops.mean(ops.square(mask_me), axis=-1)


def masked():
    ids = keras.Input((5,), dtype="int32", name="ids")
    h = keras.layers.Embedding(7, 4, mask_zero=True)(ids)
    return keras.Model(ids, keras.layers.Dense(1, name="out")(h))


X, Y = data(16)
W = np.ones(16, "float32")

AT_THE_FIRST_BATCH = {
    "wrong batch size": (
        line,
        [lp.Term(one_short)],
        (X, Y),
        r"one_short returned shape \((15|6),\) for a batch of (16|7)",
    ),
    "the batch axis reduced": (
        line,
        [lp.Term(per_feature)],
        (X, Y),
        r"per_feature returned shape \(1,\) for a batch of (16|7)",
    ),
    "no return": (line, [lp.Term(nothing)], (X, Y), r"nothing returned None.*Does it end without `return`"),
    "two values": (line, [lp.Term(pair)], (X, Y), r"pair returned a tuple. Expected one tensor"),
    "a scalar with sample weights": (
        line,
        [lp.Term(scalar_squared)],
        (X, Y, W),
        r"scalar_squared returned a scalar, and there are sample weights.*Return one value per sample",
    ),
    "a scalar loss object with sample weights": (
        line,
        [lp.Term(keras.losses.Dice())],
        (X, Y, W),
        r"returned a scalar, and there are sample weights",
    ),
    "a scalar with a mask": (
        masked,
        [lp.Term(scalar_squared)],
        (np.ones((8, 5)), np.ones((8, 5, 1))),
        r"scalar_squared returned a scalar, and there is a mask",
    ),
    "the masked axis reduced": (
        masked,
        [lp.Term(lambda mask_me: ops.mean(mask_me, axis=(1, 2)), mask_me=lp.output(), name="w", serializable=False)],
        (np.ones((8, 5)), None),
        r"returned shape \((8|None),\), and the mask has shape \((8|None), 5\)",
    ),
    "no targets": (line, [lp.Term("mse")], (X, None), r"it takes a target, and there are no targets \(y is None\)"),
    "unknown target": (
        two_heads,
        [nll_term()],
        (X, {"ratings": Y}),
        r"no target 'rating'. The targets are 'ratings'. Did you mean 'ratings'",
    ),
    "which target": (
        two_heads,
        [lp.Term("mse", output="rating")],
        (X, {"a": Y, "b": Y}),
        r"lp.target\(\) is the only target, and there are several targets: 'a', 'b'. Say which",
    ),
    "one target for two names": (
        two_heads,
        [lp.Term("mse", output="rating", target="a"), lp.Term("mae", output="rating", target="b")],
        (X, Y),
        r"refers to the targets 'a', 'b', and y is one array. Pass a dict",
    ),
    "too many targets": (
        line,
        [lp.Term("mse")],
        (X, [Y, Y]),
        r"y is a list of 2 targets where the model has 1 output",
    ),
    "a list of targets that are no outputs": (
        two_heads,
        [lp.Term("mse", output="rating", target="score")],
        (X, [Y, Y]),
        r"y is a list of 2 targets where their names.*refers to 'score'.*pass a dict",
    ),
    "an unbound parameter": (
        line,
        [lp.Term(needs_more)],
        (X, Y),
        r"the parameter 'temperature' of needs_more is bound to nothing.*Outputs: 'out'. Targets: .*Inputs: 'x'",
    ),
}


@pytest.mark.parametrize("name", AT_THE_FIRST_BATCH)
def test_at_the_first_batch(name):
    make, terms, batch, message = AT_THE_FIRST_BATCH[name]
    model = make()
    trainer = lp.Trainer(model, terms)
    trainer.compile("sgd")
    before = numpy_weights(model)
    x, y, *weight = batch
    with pytest.raises(ValueError, match=message):
        trainer.fit(x, y, sample_weight=weight[0] if weight else None, batch_size=16, verbose=0)
    same(before, numpy_weights(model))


def test_a_name_that_fits_several_things():
    def both(rating, y_pred):
        return ops.mean(rating - y_pred, axis=-1)

    trainer = lp.Trainer(two_heads(), [lp.Term(both, y_pred=lp.output("log_var"), serializable=False)])
    trainer.compile("sgd")
    with pytest.raises(
        ValueError, match=r"'rating' of both fits several things: lp.output\('rating'\), lp.target\('rating'\)"
    ):
        trainer.evaluate(X, {"rating": Y, "log_var": Y}, verbose=0)


def test_a_parameter_is_bound_by_its_name():
    def named(rating, x, hidden, truth):
        return ops.mean(ops.square(truth - rating), axis=-1) + 0 * x[:, 0] * hidden[:, 0]

    model = two_heads()
    trainer = lp.Trainer(model, [lp.Term(named, serializable=False)])
    trainer.compile("sgd")
    logs = trainer.evaluate(X, {"truth": Y}, verbose=0, return_dict=True)
    errors = np.square(np.asarray(model.predict(X, verbose=0)["rating"], "float64") - Y)
    assert logs["named"] == pytest.approx(errors.mean(), rel=1e-5)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"ratin": W}, r"sample_weight has 'ratin', and the targets are 'rating', 'other'"),
        ([W, W, W], r"sample_weight is a list of 3 where there are 2 targets: 'rating', 'other'"),
    ],
)
def test_sample_weights_by_target(weights, message):
    # `fit` on arrays refuses these before we see them; other sources of batches do not.
    model = two_heads()
    trainer = lp.Trainer(model, [lp.Term("mse", output="rating")])
    with pytest.raises(ValueError, match=message):
        trainer.term_values(X, {"rating": Y, "other": Y}, model(X), sample_weight=weights)
