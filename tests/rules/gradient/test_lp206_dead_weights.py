"""LP206: weights that no term trains are told from frozen, sleeping, followed and unused ones."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

import lossproof
from lossproof.findings.finding import Finding

from .small_models import BACKEND, BINARY, REAL, X, compiled, stepping


def findings(model: keras.Model, y: Any = REAL, x: Any = X) -> list[Finding]:
    report = lossproof.check(model, x, y, select=["LP206"])
    assert not report.crashed, report.crashed
    return list(report.findings)


class Two(keras.Model):
    """A trunk and two heads of three numbers; `between` is what `call` does with the first layer's values."""

    def __init__(self, between: Any = None) -> None:
        super().__init__()
        self.trunk = layers.Dense(8, activation="tanh")
        self.side = layers.Dense(8, activation="tanh")
        self.head = layers.Dense(3)
        self.between = between

    def call(self, inputs: Any) -> Any:
        side = self.side(inputs)
        return self.head(self.trunk(inputs) + (side if self.between is None else self.between(side)))


class Critic(keras.Model):
    """An actor's and a critic's head; `values` is what the loss of the critic is made of."""

    stopped = True

    def __init__(self) -> None:
        super().__init__()
        self.common = layers.Dense(8, activation="relu")
        self.policy = layers.Dense(2)
        self.value = layers.Dense(1)

    def call(self, inputs: Any) -> Any:
        hidden = self.common(inputs)
        return self.policy(hidden), self.value(hidden)

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        logits, values = y_pred
        values = values[:, 0]
        held = ops.stop_gradient(values)
        advantage = y - held
        critic = ops.mean(ops.square(advantage if self.stopped else y - values))
        return critic - ops.mean(ops.log_softmax(logits)[:, 0] * advantage)


def test_a_critic_behind_its_own_stop_is_found_with_what_it_would_get() -> None:
    model = compiled(Critic())
    (found,) = findings(model, REAL[:24, 0], X[:24])
    assert {path.rpartition("/")[2] for path in found.evidence["weights"]} == {"kernel", "bias"}
    assert len(found.evidence["weights"]) == 2
    assert found.where is not None
    assert found.where.expression == "ops.stop_gradient(values)"
    # By hand: d/db of mean((r - v)^2 - logp (r - v)), as far as it goes through v.
    rows = X[:24].astype("float64")
    weights = [w.astype("float64") for w in model.get_weights()]
    hidden = np.maximum(rows @ weights[0] + weights[1], 0.0)
    logits, values = hidden @ weights[2] + weights[3], (hidden @ weights[4] + weights[5])[:, 0]
    log_p = logits[:, 0] - np.log(np.exp(logits).sum(axis=1))
    toward = (-2.0 * (REAL[:24, 0] - values) + log_p) / len(rows)
    expected = np.sqrt(np.sum((hidden.T @ toward) ** 2) + np.sum(toward) ** 2)
    assert found.evidence["gradient_if_not_stopped"] == pytest.approx(expected, rel=1e-3)


def test_a_critic_trained_by_its_own_term_is_healthy() -> None:
    model = compiled(Critic())
    model.stopped = False
    assert findings(model, REAL[:, 0]) == []


@pytest.mark.parametrize("between", [ops.stop_gradient, ops.round, lambda h: ops.cast(h > 0.0, "float32")])
def test_a_layer_behind_a_stop_or_a_step_is_found(between: Any) -> None:
    (found,) = findings(compiled(Two(between), "mse"))
    assert found.evidence["way"] == "cut"
    assert len(found.evidence["weights"]) == 2
    assert found.counterfactual.after != found.counterfactual.before


def test_a_layer_whose_result_is_overwritten_is_found_where_it_is_called() -> None:
    class Overwritten(Two):
        def call(self, inputs: Any) -> Any:
            hidden = self.side(inputs)
            hidden = self.trunk(inputs)
            return self.head(hidden)

    (found,) = findings(compiled(Overwritten(), "mse"))
    assert found.evidence["way"] == "unused"
    assert found.where is not None
    assert found.where.expression == "self.side(inputs)"
    assert found.counterfactual.after == found.counterfactual.before


class Straight(Two):
    """Rounded values, the gradient let through."""

    def call(self, inputs: Any) -> Any:
        side = self.side(inputs)
        return self.head(self.trunk(inputs) + side + ops.stop_gradient(ops.round(side) - side))


class Opening(Two):
    """A gate that starts at nought, so that at the start nothing behind it has a gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = self.add_weight(shape=(), initializer="zeros")

    def call(self, inputs: Any) -> Any:
        return self.head(self.trunk(inputs) + self.gate * self.side(inputs))


class Inspected(Two):
    """A second output that nothing judges: LP402's question."""

    def call(self, inputs: Any) -> Any:
        return {"judged": self.head(self.trunk(inputs)), "seen": self.side(inputs)}


def test_healthy_relatives_are_left_alone() -> None:
    assert findings(compiled(Two(), "mse")) == []
    assert findings(compiled(Straight(), "mse")) == []
    assert findings(compiled(Opening(), "mse")) == []
    assert findings(compiled(Inspected(), {"judged": "mse"}), {"judged": REAL}) == []
    frozen = Two(ops.stop_gradient)
    frozen.side.trainable = False
    assert findings(compiled(frozen, "mse")) == []


def test_all_dark_is_another_rule() -> None:
    inputs = keras.Input((4,))
    model = keras.Model(inputs, ops.round(layers.Dense(3)(inputs)))
    assert findings(compiled(model, "mse")) == []


def test_a_table_of_which_one_row_is_used_is_healthy() -> None:
    inputs = keras.Input((4,))
    table = layers.Embedding(50, 4)(ops.cast(inputs[:, 0] > 0.0, "int32"))
    model = keras.Model(inputs, layers.Dense(3)(table))
    assert findings(compiled(model, "mse"), BINARY) == []


def test_a_step_of_the_users_own_is_looked_at() -> None:
    step = stepping(lambda t, p: ops.mean(ops.square(t - p)))

    class Stopped(step):  # type: ignore[misc,valid-type]
        def __init__(self) -> None:
            super().__init__()
            self.side, self.head = layers.Dense(8, activation="tanh"), layers.Dense(3)

        def call(self, inputs: Any, training: bool = False) -> Any:
            return self.head(ops.stop_gradient(self.side(inputs)))

    (found,) = findings(compiled(Stopped()))
    assert len(found.evidence["weights"]) == 2, BACKEND


class Mixing(layers.Layer):
    """Makes one of three inputs; `used` says which of the first two are taken, and the last one chooses rows."""

    def __init__(self, used: tuple[int, int], gated: bool = False) -> None:
        super().__init__()
        self.used = used
        self.gated = gated

    def call(self, inputs: Any) -> Any:
        one, other = (inputs[i] for i in self.used)
        return ops.where(inputs[2] > 0.0, one, other) if self.gated else one + other


def mixed(used: tuple[int, int], gated: bool = False) -> keras.Model:
    inputs = keras.Input((4,))
    heads = [layers.Dense(3, name=name)(inputs) for name in ("a", "b")]
    return compiled(keras.Model(inputs, Mixing(used, gated)([*heads, inputs[:, :1]])), "mse")


def test_what_a_layer_of_the_users_receives_and_does_not_use_is_found() -> None:
    (found,) = findings(mixed((0, 0)))
    assert found.evidence["way"] == "swallowed"
    assert found.evidence["weights"] == ["b/kernel", "b/bias"]
    assert found.counterfactual.before == found.counterfactual.after
    assert found.where is not None
    assert found.where.expression == "call"


def test_inputs_that_are_used_are_healthy() -> None:
    assert findings(mixed((0, 1))) == []


def test_a_gate_that_other_rows_open_is_healthy() -> None:
    x = X.copy()
    x[:, 0] = -1.0
    x[-1, 0] = 1.0  # not in the first batch
    assert findings(mixed((0, 1), gated=True), x=x) == []


class Acting(keras.Model):
    """PPO on one-step episodes: a policy of two actions and a value; the old probabilities are `old(model, x, y)`."""

    def __init__(self, old: Any) -> None:
        super().__init__()
        self.policy = keras.Sequential([layers.Dense(8, activation="tanh"), layers.Dense(2, activation="softmax")])
        self.value = layers.Dense(1)
        self.old = old

    def call(self, inputs: Any) -> Any:
        return self.policy(inputs), self.value(inputs)

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        now, values = y_pred[0][:, 0], y_pred[1][:, 0]
        ratio = now / self.old(self, x, y)
        advantage = y[:, 0] - ops.stop_gradient(values)
        clipped = ops.clip(ratio, 0.8, 1.2)
        return ops.mean(ops.square(y[:, 0] - values)) - ops.mean(ops.minimum(ratio * advantage, clipped * advantage))


RECORDED = np.stack([REAL[:, 0], np.random.default_rng(5).uniform(0.2, 0.8, len(REAL))], axis=1).astype("float32")


def test_a_policy_divided_by_itself_is_found() -> None:
    (found,) = findings(compiled(Acting(lambda model, x, y: model.policy(x)[:, 0])), RECORDED)
    assert found.evidence["way"] == "cancelled"
    assert len(found.evidence["weights"]) == 4
    # d(p / p) = 0, so that the objective is that of the value alone, whatever the policy is.
    assert found.counterfactual.after == pytest.approx(found.counterfactual.before, rel=1e-5)


@pytest.mark.parametrize(
    "old", [lambda model, x, y: y[:, 1], lambda model, x, y: ops.stop_gradient(model.policy(x)[:, 0])]
)
def test_a_policy_divided_by_what_was_recorded_or_stopped_is_healthy(old: Any) -> None:
    assert findings(compiled(Acting(old)), RECORDED) == []


def test_shifts_before_a_normalisation_and_faint_branches_are_healthy() -> None:
    inputs = keras.Input((4,))
    hidden = layers.BatchNormalization()(layers.Dense(8)(inputs))  # the bias has no influence
    hidden = layers.LayerNormalization()(layers.Dense(8)(hidden))
    assert findings(compiled(keras.Model(inputs, layers.Dense(3)(hidden)), "mse")) == []

    class Faint(Two):
        def __init__(self) -> None:
            super().__init__()
            self.scale = self.add_weight(shape=(8,), initializer=keras.initializers.Constant(1e-7))

        def call(self, inputs: Any) -> Any:
            return self.head(self.trunk(inputs) + self.scale * self.side(inputs))

    assert findings(compiled(Faint(), "mse")) == []
