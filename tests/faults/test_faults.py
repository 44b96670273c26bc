"""A sample of `make faults`: healthy objectives, the faults seeded into them, and how both are certified."""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import pytest

from .certify import BATCHES, Difference, behaviour, difference, up_to_fit
from .operators.everything import BY_NAME, OPERATORS
from .run import tasks_of
from .script import Subject, mutants
from .subjects import subjects
from .worker import Result, work

SUBJECTS = {one.name: one for one in subjects()}

SILENT = ("asymmetric", "contrastive_batch", "gaussian", "padded_series", "two_heads", "categorical_own")
FAULTS = (
    ("asymmetric", "targets-as-vector"),
    ("gaussian", "sum-of-everything"),
    ("mse_class", "several-losses"),
    ("mse_own", "one-column"),
    ("mae_own", "decided"),
    ("smoothed_logits", "batch-axis"),
    ("claims", "by-the-batch"),
    ("asymmetric", "missing-values"),
    ("asymmetric", "sign-turned"),
    ("binary_own", "swapped"),
    ("binary_logits_class", "logits-flipped"),
    ("uncertain_tasks", "self-losses"),
    ("own_objective", "weights-dropped"),
    ("padded_series", "mask-lost"),
    ("multi_label", "mean-of-everything"),
)

PLAIN = """# targets: real x 2
import keras
import numpy as np
from keras import layers, ops

keras.utils.set_random_seed(1)
rng = np.random.default_rng(1)
x = rng.normal(size=(48, 3)).astype("float32")
y = (x[:, :2] + 1.0).astype("float32")


def squared(y_true, y_pred):
    return ops.mean(ops.square(y_true - y_pred), axis=-1)


model = keras.Sequential([keras.Input((3,)), layers.Dense(2, name="dense")])
model.compile(optimizer=keras.optimizers.SGD(0.1), loss=squared)
model.fit(x, y, batch_size=12, verbose=0)
"""


def certified(folder: Path, old: str, new: str) -> Difference:
    assert PLAIN.count(old) == 1
    scripts = {"original": PLAIN, "changed": PLAIN.replace(old, new)}
    for name, source in scripts.items():
        (folder / f"{name}.py").write_text(source)
    before, weights = behaviour(up_to_fit(folder / "original.py"))
    return difference(before, behaviour(up_to_fit(folder / "changed.py"), weights)[0])


def test_a_step_is_what_gradient_descent_says(tmp_path: Path) -> None:
    path = tmp_path / "plain.py"
    path.write_text(PLAIN)
    fitted = up_to_fit(path)
    found, (kernel, bias) = behaviour(fitted)
    for rows, step in zip(BATCHES, found.ordinary, strict=True):
        x, y = (fitted.data[key][rows].astype("float64") for key in ("x", "y"))
        error = x @ kernel.astype("float64") + bias - y
        slope = 2.0 * error / error.size
        assert step.loss == pytest.approx(np.mean(error**2), rel=1e-5)
        np.testing.assert_allclose(step.moved[0], -0.1 * x.T @ slope, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(step.moved[1], -0.1 * slope.sum(axis=0), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    "new",
    ["ops.sum(ops.square(y_true - y_pred), axis=-1) / 2.0", "ops.mean(ops.square(y_pred - y_true))"],
    ids=["written otherwise", "a scalar without weights"],
)
def test_the_same_objective_is_certified_as_the_same(tmp_path: Path, new: str) -> None:
    found = certified(tmp_path, "ops.mean(ops.square(y_true - y_pred), axis=-1)", new)
    assert found == Difference(value=False, gradient=False, non_finite=False, dead=False)


def test_another_value_or_gradient_is_seen(tmp_path: Path) -> None:
    found = certified(tmp_path, "axis=-1)", "axis=-1) + 1.0")
    assert found == Difference(value=True, gradient=False, non_finite=False, dead=False)
    found = certified(tmp_path, "y_true - y_pred)", "y_true - y_pred - 0.5 * (y_pred - ops.stop_gradient(y_pred)))")
    assert found == Difference(value=False, gradient=True, non_finite=False, dead=False)


def test_an_objective_must_be_finite_where_labels_are_sure(tmp_path: Path) -> None:
    labels = PLAIN.replace("real x 2", "binary x 2").replace("(x[:, :2] + 1.0)", "(x[:, :2] > 0)")
    labels = labels.replace('name="dense"', 'activation="sigmoid"')
    error = "ops.mean(ops.square(y_true - y_pred), axis=-1)"
    for new, finite in ((f"ops.sqrt({error})", False), (f"({error}) ** 2", True)):
        (tmp_path / "original.py").write_text(labels)
        (tmp_path / "changed.py").write_text(labels.replace(error, new))
        before, weights = behaviour(up_to_fit(tmp_path / "original.py"))
        after = behaviour(up_to_fit(tmp_path / "changed.py"), weights)[0]
        assert before.sure is not None
        assert before.sure.finite
        assert difference(before, after).non_finite is not finite


def test_a_weight_that_no_longer_moves_is_seen(tmp_path: Path) -> None:
    assert certified(
        tmp_path, 'layers.Dense(2, name="dense")', "layers.Dense(2, use_bias=True, bias_constraint=lambda b: 0 * b)"
    ).dead


def test_every_operator_seeds_a_fault() -> None:
    seeded = {one[1] for backend in ("tensorflow", "jax") for one in tasks_of(backend, None, 0)}
    assert seeded == {"", *(one.name for one in OPERATORS)}


def test_a_mutant_differs_in_one_place() -> None:
    subject = Subject("plain", PLAIN)
    original = ast.unparse(ast.parse(PLAIN)).splitlines()
    for one in mutants(subject, [one for one in OPERATORS if not one.training], "jax"):
        changed = one.source.splitlines()
        same_at_start = next(i for i, pair in enumerate(zip(original, changed, strict=False)) if pair[0] != pair[1])
        back = zip(reversed(original), reversed(changed), strict=False)
        same_at_end = next(i for i, pair in enumerate(back) if pair[0] != pair[1])
        assert len(changed) - same_at_start - same_at_end <= 2, one.name


def test_a_sample_is_drawn_evenly() -> None:
    drawn = [one for one in tasks_of("jax", 60, 3) if one[1]]
    assert len(drawn) == len(set(drawn)) == 60
    per_operator = [sum(one[1] == operator for one in drawn) for operator in {one[1] for one in drawn}]
    assert max(per_operator) <= 4
    assert drawn == [one for one in tasks_of("jax", 60, 3) if one[1]]
    assert drawn != [one for one in tasks_of("jax", 60, 4) if one[1]]


@pytest.fixture(scope="module")
def results() -> dict[tuple[str, str], Result]:
    found: dict[tuple[str, str], Result] = {}
    tasks = [(name, "", 0) for name in SILENT] + [(name, operator, 0) for name, operator in FAULTS]
    work(tasks, lambda one: found.update({(one.subject, one.operator): one}))
    return found


@pytest.mark.parametrize("name", SILENT)
def test_nothing_is_said_of_a_healthy_objective(results: dict[tuple[str, str], Result], name: str) -> None:
    one = results[name, ""]
    assert (one.status, one.codes, one.crashed) == ("silent", [], []), one


@pytest.mark.parametrize(("name", "operator"), FAULTS)
def test_a_fault_is_named(results: dict[tuple[str, str], Result], name: str, operator: str) -> None:
    one = results[name, operator]
    # TensorFlow refuses a model without a gradient by itself; then the finding has to explain it.
    assert one.status in ("named", "raises"), one
    assert set(one.codes) & set(BY_NAME[operator].codes), one
    assert not one.crashed
