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


def test_my_custom_loss_gives_other_numbers_than_the_built_in_one(tmp_path: Path) -> None:
    """The mean over classes for the sum: a third of what it means to be."""
    b = script(tmp_path, "b.py", loss="own")
    b.write_text(b.read_text().replace("return -ops.sum(", "return -ops.mean("))
    comparison = lp.compare(script(tmp_path, "a.py"), b)
    assert [one.kind for one in comparison.divergences] == ["loss value"], str(comparison)
    assert comparison.first.proven
    assert comparison.first.after == "nothing differs any more"
    values = next(row for row in comparison.first.rows if row.label == "loss")
    assert float(values.a) == pytest.approx(3.0 * float(values.b), rel=1e-6)
    assert "own (" in next(row for row in comparison.first.rows if row.label == "computed by").b


CLASS = """
import sys
import keras
import numpy as np
from keras import layers, ops


class Scaled(keras.Model):
    def __init__(self, inner, scale):
        super().__init__()
        self.inner, self.scale = inner, scale

    def call(self, x, training=None):
        return self.inner(x, training=training)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return self.scale * super().compute_loss(x, y, y_pred, sample_weight, training)


seed, noise, scale, rate, step = (float(one) for one in sys.argv[1:])
x = np.random.default_rng(3).normal(size=(24, 3)).astype("float32")[:: int(step)]
y = x.sum(axis=1, keepdims=True)
hidden = layers.Dense(8, activation="tanh", kernel_initializer=keras.initializers.GlorotUniform(int(seed)))
last = layers.Dense(1, kernel_initializer="ones")
inner = keras.Sequential([layers.Input((3,)), hidden, layers.Dropout(0.5, seed=int(noise)), last])
model = Scaled(inner, scale)
model.compile(keras.optimizers.SGD(rate), "mse")
model.fit(x, y, batch_size=8, shuffle=False, verbose=0)
"""


@pytest.mark.slow
def test_everything_that_two_scripts_differ_in_is_named_in_its_order(tmp_path: Path) -> None:
    path = tmp_path / "train.py"
    path.write_text(CLASS)
    comparison = lp.compare([path, "1", "3", "1", "0.1", "1"], [path, "2", "4", "0.5", "0.2", "-1"])
    kinds = [one.kind for one in comparison.divergences]
    assert kinds == ["initial weights", "data order", "rng", "loss value", "optimizer"], str(comparison)
    assert all(one.proven for one in comparison.divergences), str(comparison)
    assert comparison.divergences[-1].after == "nothing differs any more"


BETWEEN = {
    # Confident errors: TensorFlow finds the logits behind the softmax, the others clip the probability.
    ("tensorflow", "torch"): ({"scale": 60.0}, "loss"),
    ("tensorflow", "jax"): ({"scale": 60.0}, "loss"),
    # From the same seed each draws its own numbers.
    ("jax", "torch"): ({"init": "'glorot_uniform'"}, "weights"),
}


@pytest.mark.backend("torch")  # the scripts are told theirs: once is enough
@pytest.mark.slow
@pytest.mark.parametrize("pair", BETWEEN, ids="-".join)
def test_another_backend_is_named_and_its_transplant_removes_it(tmp_path: Path, pair: tuple[str, str]) -> None:
    settings, stage = BETWEEN[pair]
    comparison = lp.compare(script(tmp_path, "a.py", **settings), backend_a=pair[0], backend_b=pair[1])
    assert comparison.first.kind == "backend", str(comparison)
    assert comparison.first.stage == stage
    assert comparison.first.proven
    assert (comparison.a.backend, comparison.b.backend) == pair


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
def test_with_tf_function_or_jit_it_trains_differently(tmp_path: Path, backend: str) -> None:
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
        (["compare", "{a}", "-o", "{folder}"], "it is a folder, expected the name of a file"),
        (["compare", "{folder}"], "is a folder: give the script that trains"),
    ],
)
def test_misuse_is_one_line(
    tmp_path: Path, arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    a = script(tmp_path, "a.py")
    assert main([one.format(a=a, folder=tmp_path) for one in arguments]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--steps", "0", "expected a whole number from 1, found '0'"),
        ("--fit-b", "-1", "expected"),
        ("--args-a", "'", 'No closing quotation in "\'"'),
        ("--backend-a", "cntk", "invalid choice: 'cntk'"),
    ],
)
def test_a_wrong_option_is_refused_before_anything_runs(
    tmp_path: Path, option: str, value: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["compare", str(script(tmp_path, "a.py")), option, value])
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


def test_a_script_that_fails_first_is_told_by_its_error_in_one_line(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.py").write_text("import keras\nraise RuntimeError('no data\\nof 2024')\n")
    assert main(["compare", str(tmp_path / "a.py")]) == 2
    error = capfd.readouterr().err.strip().splitlines()[-1]
    assert error.endswith("a.py ends before it trains a model: RuntimeError: no data")


def test_a_script_without_training_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("import keras\nprint(keras.__version__)\n")
    with pytest.raises(ValueError, match=r"a\.py trains no model"):
        lp.compare(tmp_path / "a.py")


def test_what_is_no_run_is_refused() -> None:
    with pytest.raises(TypeError, match="expected a script's path or a function that trains, found int"):
        lp.compare(3, 4)
    with pytest.raises(FileNotFoundError, match=r"no such script: nowhere\.py"):
        lp.compare("nowhere.py", "nowhere.py")
