"""Scripts, each in a process of its own: on two backends, with loops of their own, and the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import lossproof as lp
from lossproof.cli import main

EXAMPLES = Path(__file__).parents[2] / "examples"

SCRIPT = """
import sys
import keras
import numpy as np
from keras import layers, ops

keras.utils.set_random_seed({seed})
rng = np.random.default_rng(3)
x = rng.normal(size=(16, 3)).astype("float32")
y = np.eye(3, dtype="float32")[rng.integers(0, 3, 16)]


def own(y_true, y_pred):
    return -ops.sum(y_true * ops.log(ops.clip(y_pred, 1e-7, 1.0 - 1e-7)), axis=-1)


print("said by the script")
start = keras.initializers.Constant([[{scale}, 0.0, -1.0], [0.5, -{scale}, 0.2], [0.0, 1.0, 0.3]])
model = keras.Sequential([layers.Input((3,)), layers.Dense(3, activation="softmax", kernel_initializer={init})])
model.compile(keras.optimizers.SGD(0.1), {loss})
model.fit(x, y, batch_size=8, shuffle=False, verbose=0)
"""


def script(
    folder: Path,
    name: str,
    seed: int = 1,
    scale: float = 1.0,
    init: str = "start",
    loss: str = '"categorical_crossentropy"',
) -> Path:
    path = folder / name
    path.write_text(SCRIPT.format(seed=seed, scale=scale, init=init, loss=loss))
    return path


def test_the_command_names_the_first_divergence_in_json(tmp_path: Path) -> None:
    a = script(tmp_path, "a.py", init="'glorot_uniform'")
    b = script(tmp_path, "b.py", init="'glorot_uniform'", seed=2, loss="own")
    out = tmp_path / "out.json"
    assert main(["compare", str(a), str(b), "--format", "json", "-o", str(out)]) == 1
    report = json.loads(out.read_text())
    assert report["version"] == 1
    assert report["first"] == "initial weights"
    assert [one["kind"] for one in report["divergences"]] == ["initial weights"]
    assert report["divergences"][0]["proven"] is True
    assert report["b"]["objective"].startswith("own (")


def test_a_custom_loss_with_the_same_formula_is_the_same(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    a, b = script(tmp_path, "a.py"), script(tmp_path, "b.py", loss="own")
    assert main(["compare", str(a), str(b)]) == 0
    out = capfd.readouterr().out
    assert "The runs are the same up to rounding (1 training, 2 steps of each)." in out
    assert "said by the script" not in out
    assert max(map(len, out.splitlines())) <= 80


@pytest.mark.backend("torch")
@pytest.mark.slow
def test_another_backend_is_named_and_its_transplant_removes_it(tmp_path: Path) -> None:
    # Confident errors: TensorFlow finds the logits behind the softmax, PyTorch clips the probability.
    path = script(tmp_path, "a.py", scale=60.0)
    comparison = lp.compare(path, backend_a="tensorflow", backend_b="torch")
    assert comparison.first.kind == "backend", str(comparison)
    assert comparison.first.stage == "loss"
    assert comparison.first.proven
    assert (comparison.a.backend, comparison.b.backend) == ("tensorflow", "torch")


LOOP = {
    "tensorflow": """
import tensorflow as tf
import keras, numpy as np
rate = [1.0]
variable = keras.Variable([1.0, 2.0], name="w")
optimizer = keras.optimizers.SGD(0.1)
{decorator}
def step():
    with tf.GradientTape() as tape:
        loss = rate[0] * tf.reduce_sum(tf.square(variable.value))
    optimizer.apply(tape.gradient(loss, [variable.value]), [variable])
for k in range(4):
    rate[0] = float(k + 1)
    step()
""",
    "jax": """
import jax, jax.numpy as jnp
import keras, numpy as np
rate = [1.0]
variable = keras.Variable([1.0, 2.0], name="w")
optimizer = keras.optimizers.SGD(0.1)
optimizer.build([variable])
def loss(w):
    return rate[0] * jnp.sum(jnp.square(w))
{decorator}
def step(state, w):
    (w,), state = optimizer.stateless_apply(state, [jax.grad(loss)(w)], [w])
    return state, w
state, w = [v.value for v in optimizer.variables], variable.value
for k in range(4):
    rate[0] = float(k + 1)
    state, w = step(state, w)
""",
}


@pytest.mark.backend("tensorflow", "jax")
def test_a_loop_that_trains_differently_when_it_is_compiled(tmp_path: Path, backend: str) -> None:
    decorator = {"tensorflow": "@tf.function", "jax": "@jax.jit"}[backend]
    for name, line in (("a.py", ""), ("b.py", decorator)):
        (tmp_path / name).write_text(LOOP[backend].format(decorator=line))
    comparison = lp.compare(tmp_path / "a.py", tmp_path / "b.py")
    assert [one.kind for one in comparison.divergences] == ["mode"], str(comparison)
    assert comparison.first.proven
    assert comparison.first.stage == "later"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["broadcast_pairs.py", "weighted_targets.py"])
def test_an_example_is_the_same_as_itself(name: str, tmp_path: Path) -> None:
    copy = tmp_path / name
    copy.write_text((EXAMPLES / name).read_text())
    assert lp.compare(EXAMPLES / name, copy).same


@pytest.mark.slow
def test_the_cure_of_an_example_shows_in_the_batch(tmp_path: Path) -> None:
    source = (EXAMPLES / "broadcast_pairs.py").read_text()
    cured = tmp_path / "cured.py"
    cured.write_text(
        source.replace('.astype("float32")\n\n\nclass', '.astype("float32")\nsales = sales[:, None]\n\n\nclass')
    )
    assert cured.read_text() != source
    comparison = lp.compare(EXAMPLES / "broadcast_pairs.py", cured)
    assert comparison.first.kind == "batch", str(comparison)
    assert "(32,)" in comparison.first.rows[0].a
    assert "(32, 1)" in comparison.first.rows[0].b
    assert comparison.first.proven


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["compare", "no_such.py"], "no such script: no_such.py"),
        (["compare", "{a}", "-o", "nowhere/x"], "the folder nowhere does not exist"),
    ],
)
def test_misuse_is_one_line(
    tmp_path: Path, arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    a = script(tmp_path, "a.py")
    assert main([one.format(a=a) for one in arguments]) == 2
    assert said in capsys.readouterr().err


def test_a_script_without_training_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("import keras\nprint(keras.__version__)\n")
    with pytest.raises(ValueError, match=r"a\.py trains no model"):
        lp.compare(tmp_path / "a.py", tmp_path / "a.py")


def test_what_is_no_run_is_refused() -> None:
    with pytest.raises(TypeError, match="expected a script's path or a function that trains, found int"):
        lp.compare(3, 4)
    with pytest.raises(FileNotFoundError, match=r"no such script: nowhere\.py"):
        lp.compare("nowhere.py", "nowhere.py")
