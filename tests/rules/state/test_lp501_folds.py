"""LP501 on cross-validation: a fold that is judged on rows its weights were trained on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from lossproof.capture.watch import Watch
from lossproof.findings.finding import Finding
from lossproof.pipeline import judge

ROWS = 60
X = np.random.default_rng(7).normal(size=(ROWS, 3)).astype("float32")
Y = (X[:, :1] > 0).astype("float32")
FOLDS = np.array_split(np.random.default_rng(0).permutation(ROWS), 3)


def sequential() -> keras.Model:
    return keras.Sequential([keras.Input((3,)), layers.Dense(1, activation="sigmoid")])


def compiled(model: keras.Model, rate: float = 0.1) -> keras.Model:
    model.compile(optimizer=keras.optimizers.SGD(rate), loss="binary_crossentropy")
    return model


def findings(script: Callable[[], Any]) -> list[Finding]:
    with Watch(shorten=True) as watch:
        script()
    assert watch.defects == []
    report = judge(watch.run, select=["LP501"])
    assert not report.crashed, report.crashed
    return list(report.findings)


def crossed(model_of_fold: Callable[[int], keras.Model], inside: bool = True, x: np.ndarray = X) -> list[Finding]:
    def script() -> None:
        for k, fold in enumerate(FOLDS):
            rest = np.setdiff1d(np.arange(ROWS), fold)
            model = model_of_fold(k)
            held_out = {"validation_data": (x[fold], Y[fold])} if inside else {}
            model.fit(x[rest], Y[rest], epochs=2, verbose=0, **held_out)
            if not inside:
                model.evaluate(x[fold], Y[fold], verbose=0)

    return findings(script)


@pytest.mark.parametrize("inside", [True, False], ids=["validation_data", "evaluate"])
@pytest.mark.parametrize("form", ["one model", "shared layers"])
def test_folds_of_one_set_of_weights(form: str, inside: bool) -> None:
    one = sequential()
    inputs = keras.Input((3,))
    outputs = one(inputs)
    of_fold = {"one model": lambda k: compiled(one), "shared layers": lambda k: compiled(keras.Model(inputs, outputs))}
    found = crossed(of_fold[form], inside)
    assert found
    assert {one.code for one in found} == {"LP501"}
    assert found[0].evidence["held_out_rows_seen"] == len(FOLDS[1])
    assert found[0].counterfactual.before != found[0].counterfactual.after


def test_fresh_models_and_weights_put_back() -> None:
    assert not crossed(lambda k: compiled(sequential()))
    one = sequential()
    start = one.get_weights()

    def put_back(_: int) -> keras.Model:
        one.set_weights(start)
        return compiled(one)

    assert not crossed(put_back)


def test_another_phase_is_no_fold() -> None:
    one = sequential()
    assert not crossed(lambda k: compiled(one, rate=0.1 / (k + 1)))


def test_walking_forward_is_no_leak() -> None:
    one = sequential()

    def script() -> None:
        for end in (20, 30, 40):
            compiled(one).fit(X[:end], Y[:end], validation_data=(X[end : end + 10], Y[end : end + 10]), verbose=0)

    assert not findings(script)


def test_a_second_task_judged_on_the_first_one() -> None:
    one = sequential()

    def script() -> None:
        compiled(one).fit(X[:30], Y[:30], verbose=0)
        compiled(one).fit(X[30:], Y[30:], verbose=0)
        one.evaluate(X[:30], Y[:30], verbose=0)

    assert not findings(script)
