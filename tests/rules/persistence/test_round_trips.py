"""LP601 and LP602: objectives on their way through a file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

from lossproof.findings.finding import Severity

from .conftest import Watched


def dense() -> Any:
    return keras.Sequential([keras.Input((3,)), layers.Dense(1)])


def squared(y_true: Any, y_pred: Any) -> Any:
    return ops.mean(ops.square(y_true - y_pred), axis=-1)


def scaled(factor: float) -> Callable[[Any, Any], Any]:
    def inner(y_true: Any, y_pred: Any) -> Any:
        return factor * squared(y_true, y_pred)

    return inner


class Unregistered(keras.losses.Loss):
    def call(self, y_true: Any, y_pred: Any) -> Any:
        return squared(y_true, y_pred)


@keras.saving.register_keras_serializable(package="tests")
class Unbuildable(keras.losses.Loss):
    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return self.factor * squared(y_true, y_pred)


@keras.saving.register_keras_serializable(package="tests")
class Forgetful(keras.losses.Loss):
    def __init__(self, factor: float = 1.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.factor = factor

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return self.factor * squared(y_true, y_pred)


@keras.saving.register_keras_serializable(package="tests")
class Remembering(Forgetful):
    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "factor": self.factor}


class Wide(layers.Layer):
    def call(self, inputs: Any) -> Any:
        return 2.0 * inputs


def trip(x: np.ndarray, path: Path, loss: Any, model: Any = None, **load: Any) -> Callable[[], None]:
    def script() -> None:
        net = model or dense()
        net.compile(optimizer="sgd", loss=loss)
        net.fit(x, x[:, :1], verbose=0)
        net.save(path)
        keras.models.load_model(path, **load)

    return script


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
@pytest.mark.parametrize(
    ("loss", "kind"),
    [(scaled(2.0), "closure"), (squared, "function"), (Unregistered(), "class"), (Unbuildable(2.0), "arguments")],
)
@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5")
def test_a_loss_that_is_not_found_again(
    watched: Watched, x: np.ndarray, tmp_path: Path, loss: Any, kind: str, suffix: str
) -> None:
    (finding,) = watched("LP601", trip(x, tmp_path / f"m{suffix}", loss))
    assert finding.evidence["kind"] == kind
    assert finding.evidence["explains_error"]
    if finding.evidence["objects"]:
        before, after = finding.counterfactual.rows[0].before, finding.counterfactual.rows[0].after
        assert before == pytest.approx(after, rel=1e-6)


def test_the_outer_name_does_not_help(watched: Watched, x: np.ndarray, tmp_path: Path) -> None:
    (finding,) = watched("LP601", trip(x, tmp_path / "m.keras", scaled(2.0), custom_objects={"scaled": scaled}))
    assert finding.evidence["objects"] == ["inner"]


def test_files_that_load(watched: Watched, x: np.ndarray, tmp_path: Path) -> None:
    path = tmp_path / "m.keras"
    assert not watched("LP601", trip(x, path, "mse"))
    assert not watched("LP601", trip(x, path, Remembering(2.0)))
    assert not watched("LP601", trip(x, path, scaled(2.0), compile=False))
    assert not watched("LP601", trip(x, path, scaled(2.0), custom_objects={"inner": scaled(2.0)}))


def test_a_script_that_never_loads_and_one_that_never_saves(watched: Watched, x: np.ndarray, tmp_path: Path) -> None:
    def saving(save: bool) -> Callable[[], None]:
        def script() -> None:
            model = dense()
            model.compile(optimizer="sgd", loss=scaled(2.0))
            model.fit(x, x[:, :1], verbose=0)
            if save:
                model.save(tmp_path / "m.keras")

        return script

    for save in (True, False):
        assert not watched("LP601", saving(save))
        assert not watched("LP602", saving(save))


def test_a_layer_that_is_not_found_again_is_no_objective(watched: Watched, x: np.ndarray, tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((3,)), Wide(), layers.Dense(1)])
    assert not watched("LP601", trip(x, tmp_path / "m.keras", scaled(2.0), model))


def test_an_argument_that_is_lost(watched: Watched, x: np.ndarray, tmp_path: Path) -> None:
    (finding,) = watched("LP602", trip(x, tmp_path / "m.keras", Forgetful(4.0)))
    assert finding.severity == Severity.ERROR
    assert finding.evidence["attributes"] == [{"name": "factor", "saved": 4.0, "loaded": 1.0}]
    was, loaded = float(finding.counterfactual.after), float(finding.counterfactual.before)
    assert was == pytest.approx(4.0 * loaded, rel=1e-5)
    assert was == pytest.approx(finding.counterfactual.rows[0].before, rel=1e-6)


def test_what_keeps_its_arguments(watched: Watched, x: np.ndarray, tmp_path: Path) -> None:
    for loss in (Remembering(4.0), Forgetful(1.0), "mse", keras.losses.MeanSquaredError()):
        assert not watched("LP602", trip(x, tmp_path / "m.keras", loss))
    assert not watched("LP602", trip(x, tmp_path / "m.keras", Forgetful(4.0), compile=False))


@keras.saving.register_keras_serializable(package="tests")
class Penalty(layers.Layer):
    """Adds `rate` times the mean square of what passes, which its configuration may forget."""

    def __init__(self, rate: float = 0.0, keep: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.rate, self.keep = rate, keep

    def call(self, inputs: Any) -> Any:
        self.add_loss(self.rate * ops.mean(ops.square(inputs)))
        return inputs

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "keep": self.keep, **({"rate": self.rate} if self.keep else {})}


@keras.saving.register_keras_serializable(package="tests")
class Shrink(keras.regularizers.Regularizer):
    def __init__(self, rate: float = 0.0) -> None:
        self.rate = rate

    def __call__(self, x: Any) -> Any:
        return self.rate * ops.sum(ops.square(x))

    def get_config(self) -> dict[str, Any]:
        return {}


def test_a_layer_and_a_regularizer_that_forget(watched: Watched, x: np.ndarray, tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((3,)), Penalty(0.5), layers.Dense(1)])
    (finding,) = watched("LP602", trip(x, tmp_path / "m.keras", "mse", model))
    assert finding.evidence["attributes"] == [{"name": "rate", "saved": 0.5, "loaded": 0.0}]
    lost = finding.counterfactual.after - finding.counterfactual.before
    assert lost == pytest.approx(0.5 * np.mean(x[:32].astype("float64") ** 2), rel=1e-4)
    model = keras.Sequential([keras.Input((3,)), layers.Dense(1, kernel_regularizer=Shrink(0.25))])
    (finding,) = watched("LP602", trip(x, tmp_path / "n.keras", "mse", model))
    lost = finding.counterfactual.after - finding.counterfactual.before
    assert lost == pytest.approx(0.25 * np.sum(model.get_weights()[0].astype("float64") ** 2), rel=1e-4)
    model = keras.Sequential([keras.Input((3,)), Penalty(0.5, keep=True), layers.Dense(1)])
    assert not watched("LP602", trip(x, tmp_path / "o.keras", "mse", model))
