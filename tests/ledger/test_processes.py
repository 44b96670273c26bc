"""`lossproof.Ledger` in processes of their own: one that is killed and goes on, one with two devices."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lossproof.ledger.runfile import read_run

KILLED = """
import os, signal, sys
import keras
import numpy as np
import lossproof as lp

folder, kill = sys.argv[1], sys.argv[2] == "kill"
keras.utils.set_random_seed(5)
rng = np.random.default_rng(0)
x, y = rng.normal(size=(48, 4)).astype("float32"), rng.normal(size=(48, 1)).astype("float32")
model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, activation="tanh"), keras.layers.Dense(1)])
model.compile(keras.optimizers.SGD(0.1), "mse")


class Kill(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if kill and (self.epoch, batch) == (1, 3):
            os.kill(os.getpid(), signal.SIGKILL)


callbacks = [keras.callbacks.BackupAndRestore(folder + "/backup", delete_checkpoint=False), Kill()]
callbacks.append(lp.Ledger(folder, every=1, gradients=2, tensorboard=False))
model.fit(x, y, batch_size=8, epochs=3, shuffle=False, verbose=0, callbacks=callbacks)
"""


def run(script: Path, *arguments: str, **environment: str) -> int:
    command = [sys.executable, str(script), *arguments]
    done = subprocess.run(
        command, env=os.environ | environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done.returncode


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no SIGKILL on this system")
def test_a_process_that_is_killed_and_one_that_goes_on(tmp_path: Path, backend: str) -> None:
    """Killed after the fourth step of the second epoch; restored by Keras's own callback to the begin of that epoch."""
    script = tmp_path / "train.py"
    script.write_text(KILLED)
    assert run(script, str(tmp_path / "a"), "kill") == -signal.SIGKILL
    killed = read_run(tmp_path / "a")
    first = 1 if backend == "tensorflow" else 0  # TensorFlow builds the model in its first step
    assert [one.step for one in killed.entries] == list(range(first, 10))
    assert (killed.finished, killed.torn, len(killed.epochs)) == (False, 0, 1)

    assert run(script, str(tmp_path / "a"), "go on") == 0
    assert run(script, str(tmp_path / "b"), "uninterrupted") == 0
    resumed, whole = read_run(tmp_path / "a"), read_run(tmp_path / "b")
    assert resumed.finished
    assert resumed.began == (0, 6)
    assert [one.step for one in whole.entries] == list(range(first, 18))
    assert [one.step for one in resumed.entries] == [*range(first, 6), *range(6 + first, 18)]
    wanted = {one.step: one for one in whole.entries}
    for one in resumed.entries:
        assert one.total == pytest.approx(wanted[one.step].total, rel=1e-6)
        assert one.epoch == wanted[one.step].epoch
    assert [(one.epoch, one.step) for one in resumed.epochs] == [(0, 6), (1, 12), (2, 18)]
    for one, other in zip(resumed.epochs, whole.epochs, strict=True):
        assert one.logs["loss"] == pytest.approx(other.logs["loss"], rel=1e-6)


PARALLEL = """
import sys
import keras
import numpy as np
import jax
import lossproof as lp

assert len(jax.devices()) == 2
keras.distribution.set_distribution(keras.distribution.DataParallel())
rng = np.random.default_rng(0)
x, y = rng.normal(size=(48, 4)).astype("float32"), rng.normal(size=(48, 1)).astype("float32")


def trained(callbacks):
    keras.utils.set_random_seed(5)
    keras.utils.clear_session(free_memory=False)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, kernel_regularizer="l2"), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.1), "mse")
    history = model.fit(x, y, batch_size=8, shuffle=False, verbose=0, callbacks=callbacks).history
    return history, model


ledger = lp.Ledger(sys.argv[1], every=1, gradients=2, tensorboard=False)
(plain, one), (kept, two) = trained([]), trained([ledger])
assert plain == kept, (plain, kept)
assert all(np.array_equal(a, b) for a, b in zip(one.get_weights(), two.get_weights()))
totals = [entry.total for entry in ledger.entries]
assert len(totals) == 6 and all(entry.closes for entry in ledger.entries), totals
assert np.isclose(np.mean(totals), plain["loss"][0], rtol=1e-6), (totals, plain)
assert ledger.entries[0].gradients is not None
"""


@pytest.mark.backend("jax")
def test_data_parallel(tmp_path: Path) -> None:
    """The mean of the accounts is the loss of the epoch, and the training the same to the bit."""
    script = tmp_path / "train.py"
    script.write_text(PARALLEL)
    assert run(script, str(tmp_path / "a"), XLA_FLAGS="--xla_force_host_platform_device_count=2") == 0
