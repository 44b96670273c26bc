"""`lossproof.Ledger`: it changes nothing, its accounts are those of the steps, its file survives what may happen to it."""

from __future__ import annotations

import itertools
import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers
from tests.ledger.models import by_hand, data, state_of, two_outputs

import lossproof as lp
from lossproof.ledger.runfile import read_run

FIRST = {"tensorflow": 1}
"""TensorFlow builds a model in its first step, which no account can come before."""


@contextmanager
def said(words: str) -> Iterator[None]:
    """The ledger says so once; `pytest.warns` would raise others that Keras itself causes."""
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        yield
    ours = [str(one.message) for one in heard if "lossproof.Ledger" in str(one.message)]
    assert len(ours) == 1
    assert words in ours[0]


def trained(callbacks: list[Any], dropout: float = 0.5, epochs: int = 2, **more: Any) -> tuple[Any, Any]:
    keras.utils.set_random_seed(7)
    keras.utils.clear_session(free_memory=False)
    model = two_outputs(dropout=dropout)
    x, y, weights = data(rows=44)
    history = model.fit(
        x, y, sample_weight=weights, batch_size=8, epochs=epochs, callbacks=callbacks, verbose=0, **more
    )
    return model, history.history


def test_the_training_is_bit_for_bit_the_same(tmp_path: Path) -> None:
    plain, history = trained([])
    ledger = lp.Ledger(tmp_path, every=1, gradients=2, tensorboard=False)
    kept, same = trained([ledger])
    assert history == same
    assert all(np.array_equal(a, b) for a, b in zip(state_of(plain), state_of(kept), strict=True))
    # batches of 4 rows are of a form of their own, and counted too
    assert [one.step for one in ledger.entries] == list(range(FIRST.get(keras.backend.backend(), 0), 12))
    assert all(one.closes for one in ledger.entries)


def test_each_account_is_that_of_its_step(tmp_path: Path) -> None:
    """Against the float64 parts of a model that makes the same steps by hand."""
    keras.utils.set_random_seed(7)
    model, twin = two_outputs(), two_outputs()
    twin.set_weights(model.get_weights())
    x, y, weights = data(rows=24)
    ledger = lp.Ledger(tmp_path, every=1, gradients=1, tensorboard=False)
    model.fit(x, y, sample_weight=weights, batch_size=8, shuffle=False, callbacks=[ledger], verbose=0)
    entries = {one.step: one for one in ledger.entries}
    for step in range(3):
        rows = slice(8 * step, 8 * step + 8)
        here, by = ({key: value[rows] for key, value in given.items()} for given in (y, weights))
        wanted = by_hand(twin, x[rows], here, by)
        if step in entries:
            entry = entries[step]
            values = {one.name: one.value for one in (*entry.terms, *entry.penalties)}
            assert entry.total == pytest.approx(wanted["total"], rel=2e-6)
            assert values == pytest.approx(
                {
                    "kind": wanted["kind"],
                    "size": wanted["size"],
                    "added add_loss": wanted["added"],
                    "hidden kernel": wanted["l2"],
                    "kind kernel": wanted["l1"],
                },
                rel=2e-6,
            )
            assert [one.weight for one in entry.terms] == pytest.approx([0.7, 0.2])
            assert entry.learning_rate == pytest.approx(0.1)
            assert (entry.epoch, entry.rows) == (0, 8)
        if step == 2:
            assert_gradients(entries[2], twin, x[rows], here, by)
        twin.train_on_batch(x[rows], here, sample_weight=by)


def assert_gradients(entry: Any, twin: Any, x: Any, y: Any, weights: Any) -> None:
    """Norms, cosines and shares against central differences in float64."""
    names = {"kind": 0.7, "size": 0.2, "regularization": 1.0, "added add_loss": 1.0}
    found = entry.gradients
    assert set(found.parts) == set(names)
    start = [np.asarray(keras.ops.convert_to_numpy(v), "float64") for v in twin.trainable_variables]

    class At:
        trainable_variables = start

    def parts() -> np.ndarray:
        wanted = by_hand(At, x, y, weights)
        values = {**wanted, "regularization": wanted["l1"] + wanted["l2"], "added add_loss": wanted["added"]}
        return np.array([names[name] * values[name] for name in found.parts])

    columns = []
    for array in start:
        for index in np.ndindex(array.shape):
            kept = array[index]
            array[index] = kept + 1e-6
            high = parts()
            array[index] = kept - 1e-6
            columns.append((high - parts()) / 2e-6)
            array[index] = kept
    gradients = np.stack(columns, axis=1)  # parts x weights
    norms = np.linalg.norm(gradients, axis=1)
    whole = gradients.sum(axis=0)
    assert found.norm == pytest.approx(norms, rel=1e-4)
    assert found.share == pytest.approx(gradients @ whole / (whole @ whole), rel=1e-4, abs=1e-5)
    assert sum(found.share) == pytest.approx(1.0)
    for j, k in itertools.combinations(range(4), 2):
        cosine = gradients[j] @ gradients[k] / (norms[j] * norms[k])
        assert found.cosines[j][k] == pytest.approx(cosine, rel=1e-3, abs=1e-5)
    sizes = [array.size for array in start]
    group = gradients[:, : sizes[0] + sizes[1]]
    assert found.groups == ("hidden", "kind", "size")
    assert found.norms[0] == pytest.approx(np.linalg.norm(group, axis=1), rel=1e-4, abs=1e-6)
    assert found.undriven == ()


def test_weights_that_nothing_drives(tmp_path: Path) -> None:
    inputs = keras.Input((5,))
    idle = layers.Dense(2, name="idle")(inputs)
    model = keras.Model(inputs, layers.Dense(1, name="used")(inputs) + 0.0 * keras.ops.sum(idle))
    model.compile("sgd", "mse")
    x, y, _ = data(rows=32)
    ledger = lp.Ledger(tmp_path, every=1, gradients=1, tensorboard=False)
    model.fit(x, y["size"], batch_size=8, callbacks=[ledger], verbose=0)
    assert set(ledger.undriven) == {"idle/kernel", "idle/bias"}
    assert set(read_run(tmp_path).undriven) == {"idle/kernel", "idle/bias"}


def test_the_file_holds_what_the_callback_holds(tmp_path: Path) -> None:
    ledger = lp.Ledger(tmp_path, every=3, gradients=6, tensorboard=False)
    _, history = trained([ledger])
    run = read_run(tmp_path)
    assert run.entries == ledger.entries
    assert run.finished
    assert (run.every, run.gradients, run.backend, run.model) == (3, 6, keras.backend.backend(), "two")
    assert [one.step for one in run.epochs] == [6, 12]
    assert [one.logs["loss"] for one in run.epochs] == history["loss"]
    assert {one.step for one in run.entries if one.gradients is not None} >= {6}
    assert run.notes == ()


def test_a_killed_run_goes_on(tmp_path: Path) -> None:
    """Killed in its second epoch, in the middle of a line; resumed from the end of the first, by a model in hand."""
    ledger = lp.Ledger(tmp_path, every=1, tensorboard=False)
    model, _ = trained([ledger], epochs=2)
    file = tmp_path / "ledger.jsonl"
    whole = file.read_bytes().split(b"\n")
    entries = [n for n, line in enumerate(whole) if line and json.loads(line)["kind"] == "entry"]
    file.write_bytes(b"\n".join([*whole[: entries[8]], whole[entries[8]][:40]]))
    killed = read_run(tmp_path)
    assert (killed.torn, killed.finished) == (1, False)
    last = killed.entries[-1].step
    assert last > 6

    model.optimizer.iterations.assign(6)
    again = lp.Ledger(tmp_path, every=1, tensorboard=False)
    x, y, weights = data(rows=44)
    model.fit(x, y, sample_weight=weights, batch_size=8, epochs=3, initial_epoch=1, callbacks=[again], verbose=0)
    run = read_run(tmp_path)
    steps = [one.step for one in run.entries]
    assert steps == sorted(set(steps))
    assert steps[-1] == 17
    assert {6, 7, 8} <= set(steps)
    assert [one.epoch for one in run.epochs] == [0, 1, 2]
    assert [one.step for one in run.epochs] == [6, 12, 18]
    assert run.finished
    resumed = {one.step: one for one in again.entries}
    assert all(one == resumed[one.step] for one in run.entries if one.step >= 6)


def test_a_run_from_the_start_keeps_the_old_file(tmp_path: Path) -> None:
    for _ in range(2):
        trained([lp.Ledger(tmp_path, every=3, tensorboard=False)], epochs=1)
    old, new = read_run(tmp_path / "ledger.1.jsonl"), read_run(tmp_path)
    assert [one.total for one in old.entries] == [one.total for one in new.entries]
    assert len(new.began) == 1


def test_a_second_fit_goes_on(tmp_path: Path) -> None:
    ledger = lp.Ledger(tmp_path, every=4, tensorboard=False)
    model, _ = trained([ledger], epochs=1)
    x, y, _ = data(rows=44)
    model.fit(x, y, batch_size=8, callbacks=[ledger], verbose=0)
    run = read_run(tmp_path)
    assert run.began == (0, 6)
    assert [one.step for one in run.entries if one.step >= 4] == [4, 8]
    assert run.entries == ledger.entries


def test_scalars_for_tensorboard(tmp_path: Path) -> None:
    pytest.importorskip("tensorboardX")
    from tensorboardX.proto.event_pb2 import Event
    from tensorboardX.record_writer import RecordWriter  # noqa: F401 - the format that is read below

    ledger = lp.Ledger(tmp_path, every=2, gradients=2, tensorboard=True)
    trained([ledger], epochs=1)
    (file,) = tmp_path.glob("events.out.tfevents.*")
    content, position, found = file.read_bytes(), 0, {}
    while position < len(content):
        size = int.from_bytes(content[position : position + 8], "little")
        event = Event.FromString(content[position + 12 : position + 12 + size])
        position += 16 + size
        for value in event.summary.value:
            found[value.tag, event.step] = value.simple_value
    for entry in ledger.entries:
        assert found["terms/total", entry.step] == pytest.approx(entry.total)
        assert found["terms/kind", entry.step] == pytest.approx(entry.terms[0].value)
        assert found["weights/kind", entry.step] == pytest.approx(0.7)
        assert found["gradients/norm/kind", entry.step] == pytest.approx(entry.gradients.norm[0])
    assert ledger.entries


class OwnStep(keras.Model):
    """A `train_step` that does nothing of its own."""

    def train_step(self, *arguments: Any) -> Any:
        return super().train_step(*arguments)


def test_an_own_step_is_left_alone_and_said(tmp_path: Path) -> None:
    inputs = keras.Input((5,))
    model = OwnStep(inputs, layers.Dense(1)(inputs))
    model.compile("sgd", "mse")
    x, y, _ = data(rows=16)
    ledger = lp.Ledger(tmp_path, every=1, tensorboard=False)
    with said("no accounts are kept: OwnStep.train_step is the user's own"):
        model.fit(x, y["size"], callbacks=[ledger], verbose=0)
    run = read_run(tmp_path)
    assert run.entries == ()
    assert "OwnStep.train_step" in run.notes[0][1]
    assert run.epochs[0].logs["loss"] > 0.0


def double(size: Any) -> Any:
    return keras.ops.mean(keras.ops.square(size), axis=-1)


def test_a_trainer_with_a_moving_weight(tmp_path: Path) -> None:
    inputs = keras.Input((5,))
    model = keras.Model(inputs, {"size": layers.Dense(1, name="size")(inputs)})
    weight = lp.schedules.Linear(0.0, 1.0, steps=10)
    trainer = lp.Trainer(model, [lp.Term("mae", output="size"), lp.Term(double, size=lp.output("size"), weight=weight)])
    trainer.compile("sgd")
    x, y, _ = data(rows=40)
    ledger = lp.Ledger(tmp_path, every=1, gradients=2, tensorboard=False)
    trainer.fit(x, {"size": y["size"]}, batch_size=8, callbacks=[ledger], verbose=0)
    assert ledger.entries[-1].step == 4
    for entry in ledger.entries:
        assert entry.closes
        weights = {one.name: one.weight for one in entry.terms}
        assert weights == pytest.approx({"mae": 1.0, "double": entry.step / 10.0}, abs=1e-6)


def test_a_folder_that_cannot_be_written_ends_the_ledger_alone(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("no folder")
    with said("it stopped writing to"):
        _, history = trained([lp.Ledger(blocked, every=1, tensorboard=False)])
    assert history == trained([])[1]


def test_what_is_wrong_is_said() -> None:
    with pytest.raises(TypeError, match="every must be a whole number"):
        lp.Ledger(every=2.5)
    with pytest.raises(ValueError, match="gradients must be at least 1"):
        lp.Ledger(gradients=0)
    with pytest.raises(FileNotFoundError, match="no ledger"):
        read_run("nowhere")
