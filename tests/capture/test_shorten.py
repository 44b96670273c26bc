"""A shortened training is short, and leaves to callbacks and to the script what the whole one would leave."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from lossproof.capture import watch as watching
from lossproof.capture.script import EnoughSeen
from lossproof.capture.watch import Watch

X = np.linspace(-1, 1, 120).reshape(40, 3).astype("float32")
Y = X[:, :1] * 2


def compiled(**arguments: Any) -> Any:
    model = keras.Sequential([keras.Input((3,)), layers.Dense(1)])
    model.compile(**{"optimizer": keras.optimizers.SGD(0.1), "loss": "mse", **arguments})
    return model


@pytest.fixture
def watch() -> Iterator[Watch]:
    with Watch(shorten=True) as watch:
        yield watch
    assert watch.defects == []


class Told(keras.callbacks.Callback):
    """What a callback is told of each epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.begun: list[int] = []
        self.ended: list[int] = []
        self.logs: list[dict[str, float]] = []
        self.batches = 0
        self.total: Any = None

    def on_train_begin(self, logs: Any = None) -> None:
        self.total = self.params["epochs"]

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.begun.append(epoch)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.ended.append(epoch)
        self.logs.append(dict(logs))

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.batches += 1


def fitted(model: Any, *callbacks: Any, **arguments: Any) -> Any:
    return model.fit(X, Y, **{"batch_size": 8, "epochs": 10, "verbose": 0, "callbacks": list(callbacks), **arguments})


def test_without_callbacks_two_steps_run_and_the_history_is_whole(watch: Watch) -> None:
    model = compiled(metrics=["mae"])
    history = fitted(model, validation_split=0.2)
    assert int(model.optimizer.iterations) == 2
    assert history.epoch == list(range(10))
    assert {key: len(values) for key, values in history.history.items()} == dict.fromkeys(
        ("loss", "mae", "val_loss", "val_mae"), 10
    )
    assert model.stop_training is False
    [capture] = watch.run.captures
    assert (capture.steps, capture.shortened) == (2, "1 of 10 epochs, at most 2 steps each")


def test_callbacks_see_every_epoch_under_its_number_and_few_of_them_run(watch: Watch) -> None:
    told, epochs = Told(), []
    plain = keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: epochs.append(epoch))
    given = plain.on_epoch_begin
    model = compiled()
    history = fitted(model, told, plain, validation_data=(X, Y))
    assert told.begun == told.ended == epochs == list(range(10))
    assert told.total == 10
    assert told.batches == int(model.optimizer.iterations) == 15
    assert all("val_loss" in logs for logs in told.logs)
    assert history.history["loss"] == [logs["loss"] for logs in told.logs]
    assert len({logs["loss"] for logs in told.logs}) == 3
    assert plain.on_epoch_begin is given
    assert not {"on_epoch_begin", "on_epoch_end"} & set(vars(told))


@pytest.mark.parametrize("form", ["one", "tuple", "CallbackList"])
def test_callbacks_in_every_form(watch: Watch, form: str) -> None:
    told, model = Told(), compiled()
    container = keras.callbacks.CallbackList([told], add_history=True, model=model, epochs=10, steps=5)
    before = list(container.callbacks)
    history = fitted(model, callbacks={"one": told, "tuple": (told,), "CallbackList": container}[form])
    assert told.begun == told.ended == list(range(10))
    assert len(history.history["loss"]) == 10
    assert container.callbacks == before


def test_keras_own_callbacks_hear_only_of_the_epochs_that_run(watch: Watch) -> None:
    heard: list[int] = []
    schedule = keras.callbacks.LearningRateScheduler(lambda epoch: heard.append(epoch) or 0.1)
    patient = keras.callbacks.EarlyStopping(monitor="loss", patience=2)
    history = fitted(compiled(), schedule, patient)
    assert heard == [0, 1, 9]
    assert patient.stopped_epoch == 0
    assert len(history.epoch) == 10


def test_a_hook_that_fails_or_stops_at_an_epoch_that_does_not_run_changes_nothing(watch: Watch) -> None:
    begun: list[int] = []

    class Fragile(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            begun.append(epoch)
            self.steps: list[int] = []

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            self.steps.append(batch)

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            self.model.stop_training = epoch == 4
            assert self.steps[-1] >= 0

    model = compiled()
    history = fitted(model, Fragile())
    assert begun == [0, 1, 2, 9]
    assert int(model.optimizer.iterations) == 15
    assert len(history.epoch) == 10


def test_an_initial_epoch(watch: Watch) -> None:
    told = Told()
    history = fitted(compiled(), told, initial_epoch=4)
    assert told.begun == [4, 5, 6, 7, 8, 9]
    assert history.epoch == [4, 5, 6, 7, 8, 9]
    assert len(history.history["loss"]) == 6


@pytest.mark.parametrize("epochs", [1, 2, 3])
def test_few_epochs_run_all(watch: Watch, epochs: int) -> None:
    told = Told()
    model = compiled()
    history = fitted(model, told, epochs=epochs)
    assert told.begun == history.epoch == list(range(epochs))
    assert [logs["loss"] for logs in told.logs] == history.history["loss"]
    assert model.stop_training is False


@pytest.mark.parametrize(("every", "expected"), [(1, 10), (5, 2), (4, 2), ([3, 10], 2), (20, 0)])
def test_validation_that_comes_seldom(watch: Watch, every: Any, expected: int) -> None:
    history = fitted(compiled(), Told(), validation_data=(X, Y), validation_freq=every)
    assert len(history.history.get("val_loss", [])) == expected
    assert len(history.history["loss"]) == 10


def test_a_stop_of_the_user_s_own_is_kept(watch: Watch) -> None:
    class Stops(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            self.model.stop_training = epoch == 1

    model = compiled()
    history = fitted(model, Stops())
    assert history.epoch == [0, 1]
    assert model.stop_training is True


def test_early_stopping_and_reduced_rates(watch: Watch) -> None:
    model = compiled(metrics=["mae"])
    early = keras.callbacks.EarlyStopping("val_mae", mode="min", patience=1, restore_best_weights=True)
    plateau = keras.callbacks.ReduceLROnPlateau("val_loss", patience=1, factor=0.5)
    history = fitted(model, early, plateau, validation_split=0.2)
    assert len(history.history["learning_rate"]) == 10
    assert early.best in history.history["val_mae"]


def test_a_schedule_sees_the_rates_of_its_epochs(watch: Watch) -> None:
    asked = []

    def rate(epoch: int, now: float) -> float:
        asked.append(epoch)
        return 0.1 / (1 + epoch)

    model = compiled()
    fitted(model, keras.callbacks.LearningRateScheduler(rate))
    assert asked == [0, 1, 9]
    np.testing.assert_allclose(float(model.optimizer.learning_rate), 0.01, rtol=1e-6)


def test_the_checkpoint_of_the_best_epoch_can_be_loaded(watch: Watch, tmp_path: Path) -> None:
    model = compiled()
    form = str(tmp_path / "{epoch:02d}-{val_loss:.4f}.weights.h5")
    single = keras.callbacks.ModelCheckpoint(str(tmp_path / "best.keras"), "val_loss", save_best_only=True)
    every = keras.callbacks.ModelCheckpoint(str(tmp_path / "batch.weights.h5"), save_freq=500, save_weights_only=True)
    each = keras.callbacks.ModelCheckpoint(form, save_weights_only=True)
    history = fitted(model, each, single, every, validation_data=(X, Y)).history["val_loss"]
    for epoch in (int(np.argmin(history)), int(np.argmax(history)), 0, 9):
        model.load_weights(form.format(epoch=epoch + 1, val_loss=history[epoch]))
    model.load_weights(tmp_path / "batch.weights.h5")
    assert keras.saving.load_model(tmp_path / "best.keras").count_params() == model.count_params()
    assert every.save_freq == 500


def test_a_resumed_training(watch: Watch, tmp_path: Path) -> None:
    backup = tmp_path / "backup"
    backup.mkdir()
    first = compiled()
    fitted(first, keras.callbacks.BackupAndRestore(backup, delete_checkpoint=False), epochs=4)
    told = Told()
    history = fitted(compiled(), keras.callbacks.BackupAndRestore(backup), told)
    assert told.begun == [4, 5, 6, 7, 8, 9]
    assert history.epoch == list(range(4, 10))
    assert len(history.history["loss"]) == 6
    assert not backup.exists()


def test_a_log_of_all_epochs(watch: Watch, tmp_path: Path) -> None:
    fitted(compiled(), keras.callbacks.CSVLogger(tmp_path / "log.csv"))
    with (tmp_path / "log.csv").open() as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["0", "1", "9"]


@pytest.mark.backend("tensorflow")
def test_tensorboard(watch: Watch, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    fitted(compiled(), keras.callbacks.TensorBoard(tmp_path, histogram_freq=1), validation_data=(X, Y))
    assert list(tmp_path.rglob("events*"))


class Batches(keras.utils.PyDataset):
    def __len__(self) -> int:
        return 5

    def __getitem__(self, index: int) -> Any:
        return X[index * 8 : index * 8 + 8], Y[index * 8 : index * 8 + 8]


def feeds() -> list[Any]:
    def endless() -> Iterator[Any]:
        while True:
            yield X[:8], Y[:8]

    one = Batches()
    one.__class__ = type("One", (Batches,), {"__len__": lambda self: 1})
    found = [({"x": endless()}, {"steps_per_epoch": 50}), ({"x": Batches()}, {}), ({"x": one}, {})]
    found.append(({"x": X[:5], "y": Y[:5]}, {}))  # a single partial batch
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        data = tf.data.Dataset.from_tensor_slices((X, Y)).batch(8)
        found += [({"x": data}, {}), ({"x": data.take(1)}, {}), ({"x": data.repeat()}, {"steps_per_epoch": 20})]
    if keras.backend.backend() == "torch":
        import torch

        data = torch.utils.data.TensorDataset(torch.from_numpy(X), torch.from_numpy(Y))
        found += [({"x": torch.utils.data.DataLoader(data, size)}, {}) for size in (8, 64)]
    return found


def test_every_feed_is_cut_without_a_warning(watch: Watch) -> None:
    for feed, arguments in feeds():
        model = compiled()
        shuffle = "y" in feed  # Keras warns where data of their own order are to be shuffled
        validation = None if hasattr(feed["x"], "__next__") else feed["x"] if len(feed) == 1 else (feed["x"], feed["y"])
        if "steps_per_epoch" in arguments:
            validation = None
        history = model.fit(**feed, **arguments, epochs=6, shuffle=shuffle, validation_data=validation, verbose=0)
        assert len(history.history["loss"]) == 6
        assert 1 <= int(model.optimizer.iterations) <= 2
        if validation is not None:
            model.evaluate(**feed, verbose=0)


def test_evaluation_is_cut(watch: Watch) -> None:
    class Counts(keras.callbacks.Callback):
        batches = 0

        def on_test_batch_end(self, batch: int, logs: Any = None) -> None:
            self.batches += 1

    counts = Counts()
    result = compiled(metrics=["mae"]).evaluate(X, Y, 8, 0, callbacks=[counts], return_dict=True)
    assert set(result) == {"loss", "mae"}
    assert counts.batches == 2


@pytest.mark.parametrize(("asked", "trained", "validated"), [({}, 32, 32), ({"steps_per_epoch": 4}, 25, 32)], ids=str)
@pytest.mark.parametrize("held_out", [False, True])
def test_batches_have_the_size_that_they_have_uncut(
    watch: Watch, asked: dict[str, Any], trained: int, validated: int, held_out: bool
) -> None:
    """Keras makes two batches of all the data where it is told the number of steps alone."""
    sizes: dict[str, list[int]] = {"train": [], "test": []}

    class Sizes(keras.Model):
        def compute_loss(
            self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
        ) -> Any:
            sizes["train" if training else "test"].append(int(y.shape[0]))
            return super().compute_loss(x, y, y_pred, sample_weight)

    inputs = keras.Input((3,))
    model = Sizes(inputs, layers.Dense(1)(inputs))
    model.compile(optimizer="sgd", loss="mse", run_eagerly=True, jit_compile=False)
    rows = 125 if held_out else 100
    x = np.ones((rows, 3), dtype="float32")
    own = {"validation_split": 0.2} if held_out else {"validation_data": (x[:90], x[:90, :1])}
    if held_out:
        validated = min(validated, 25)
    model.fit(x, x[:, :1], verbose=0, shuffle=False, **own, **asked)
    assert set(sizes["train"]) == {trained}
    assert sizes["test"][-1] == validated
    sizes["test"].clear()
    model.evaluate(x, x[:, :1], verbose=0)
    assert sizes["test"][-1] == 32


def test_slow_steps_end_the_call_and_the_history_is_whole(watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lossproof.capture.shorten.SLOW_SECONDS", 0.0)
    told, model = Told(), compiled()
    history = fitted(model, told)
    assert told.begun == [0, 1]
    assert len(history.history["loss"]) == 10
    assert model.stop_training is False


def test_a_loop_over_the_same_objective_ends_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "LOOP_SECONDS", -1.0)
    done = []
    with Watch(shorten=True) as watch:
        for model in (compiled(), compiled(loss="mae")):  # another objective is something new
            model.train_on_batch(X, Y)
            done.append(model)
        with pytest.raises(EnoughSeen):
            model.train_on_batch(X, Y)
    assert len(done) == 2
    assert "--full" in watch.run.unseen[0]
    with Watch(shorten=False) as whole:
        for _ in range(3):
            model.train_on_batch(X, Y)
    assert whole.run.unseen == []
