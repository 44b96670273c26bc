"""What an experiment evaluates: a loss, a metric, an overridden `compute_loss`, a custom step.

A subject holds the tensors that its function received. `changed` gives the same subject with other tensors, so that
every experiment reads "the same, with one thing changed".
"""

from __future__ import annotations

import functools
import inspect
import itertools
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Self

import keras
import numpy as np

from lossproof import keras_private
from lossproof.lab.backends import running_backend
from lossproof.lab.backends.base import Tensor
from lossproof.lab.model import Functional
from lossproof.lab.received import Batch
from lossproof.lab.replace import replaced
from lossproof.lab.step import run_step
from lossproof.rules.rule import NotApplicable


@dataclass(frozen=True)
class Subject(ABC):
    """A function of targets, predictions and sample weights.

    `y_true` and `y_pred` are as the function received them, before the rank alignment and casts that Keras does
    inside a loss.
    """

    kind: str
    """`loss`, `metric`, `compute_loss` or `train_step`."""
    name: str
    function: Any
    """The user's callable, for its place and its source."""
    y_true: Any
    y_pred: Any
    sample_weight: Any = None
    x: Any = None
    output: str | None = None
    weight: float | None = None

    @abstractmethod
    def total(self) -> Tensor:
        """The reduced value, sample weights included."""

    @abstractmethod
    def unreduced(self) -> Tensor:
        """What the user's function returns, before Keras reduces it."""

    def traceable(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        """The user's callable and the arguments with which it is called."""
        return self.function, (self.y_true, self.y_pred)

    def changed(self, **fields: Any) -> Self:
        """The same subject with other tensors."""
        return replace(self, **fields)

    def rows(self, index: np.ndarray) -> Self:
        """The same subject on some rows of the batch (repeats allowed); masks follow their tensors."""
        fields = {key: take(getattr(self, key), index) for key in ("y_true", "y_pred", "sample_weight", "x")}
        return replace(self, **fields)

    @property
    def batch_size(self) -> int:
        """Rows of the batch, as the predictions (else the inputs) have them."""
        for data in (self.y_pred, self.x, self.y_true):
            for leaf in keras.tree.flatten(data):
                if leaf is not None and len(leaf.shape):
                    return int(leaf.shape[0])
        raise ValueError("no tensor to read a batch size from")


def take(data: Any, index: np.ndarray) -> Any:
    """Rows of nested tensors."""
    backend = running_backend()

    def rows(leaf: Any) -> Any:
        if leaf is None or not hasattr(leaf, "shape") or not len(leaf.shape):
            return leaf
        taken = backend.rows(leaf, index)
        mask = keras_private.mask_of(leaf)
        if mask is not None:
            keras_private.set_mask(taken, backend.rows(mask, index))
        return taken

    return keras.tree.map_structure(rows, data) if data is not None else None


@dataclass(frozen=True)
class LossSubject(Subject):
    """A `keras.losses.Loss` with what it received."""

    loss: Any = None
    precision: str | None = None
    """The dtype in which the user's function gets its tensors; None for the loss's own, as in training, and `as they are`
    for none in particular."""
    arriving: tuple[Callable[[Any], Any], ...] = ()
    """What happens to the targets where the user's function receives them, after all that Keras does to them."""

    def total(self) -> Tensor:
        with self._arrived():
            return self.loss(self.y_true, self.y_pred, self.sample_weight)

    def unreduced(self) -> Tensor:
        with self._arrived():
            return self.loss.call(*self._converted())

    @contextmanager
    def _arrived(self) -> Iterator[None]:
        if not self.arriving:
            yield
            return

        def make(original: Callable[..., Any]) -> Callable[..., Any]:
            return lambda y_true, *rest, **named: original(self._received(y_true), *rest, **named)

        with replaced(self.loss, "fn" if hasattr(self.loss, "fn") else "call", make):
            yield

    def _received(self, y_true: Any) -> Any:
        for change in self.arriving:
            y_true = change(y_true)
        return y_true

    def traceable(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        y_true, y_pred = self._converted()
        if isinstance(self.loss, keras.losses.Loss) and hasattr(self.loss, "fn"):
            heard: list[tuple[Any, ...]] = []
            original = self.loss.fn
            # What the function receives after Keras has aligned the ranks is known only by letting Keras call it.

            def hear(*args: Any, **kwargs: Any) -> Any:
                heard.append((args, kwargs))
                return original(*args, **kwargs)

            self.loss.fn = hear
            try:
                self.loss.call(y_true, y_pred)
            except Exception:  # an error of the user's: what it was called with is what matters
                pass
            finally:
                self.loss.fn = original
            if heard:
                (first, *rest), kwargs = heard[0]
                return functools.partial(original, **kwargs) if kwargs else original, (self._received(first), *rest)
        return self.loss.call, (self._received(y_true), y_pred)

    def _converted(self) -> tuple[Any, Any]:
        dtype = None if self.precision == "as they are" else self.precision or self.loss.dtype

        def convert(leaf: Any) -> Any:
            return keras.ops.convert_to_tensor(leaf, dtype=dtype)

        return keras.tree.map_structure(convert, self.y_true), keras.tree.map_structure(convert, self.y_pred)


@dataclass(frozen=True)
class MetricSubject(Subject):
    """A function metric (`keras.metrics.MeanMetricWrapper`) with what it received."""

    metric: Any = None

    def total(self) -> Tensor:
        return keras.ops.mean(keras.ops.cast(self.unreduced(), "float32"))

    def unreduced(self) -> Tensor:
        return self.function(*self._converted())

    def traceable(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.function, self._converted()

    def _converted(self) -> tuple[Any, Any]:
        dtype = self.metric.dtype
        convert = lambda leaf: keras.ops.cast(leaf, dtype)  # noqa: E731 - as in MeanMetricWrapper.update_state
        return keras.tree.map_structure(convert, self.y_true), keras.tree.map_structure(convert, self.y_pred)


@dataclass(frozen=True)
class StatefulMetricSubject(Subject):
    """A `keras.metrics.Metric` of the user's own class, with what its `update_state` received."""

    metric: Any = None

    def total(self) -> Tensor:
        self.metric.reset_state()
        weighted = {} if self.sample_weight is None else {"sample_weight": self.sample_weight}
        self.metric.update_state(self.y_true, self.y_pred, **weighted)
        return self.metric.result()

    def unreduced(self) -> Tensor:
        return self.total()


@dataclass(frozen=True)
class ObjectiveSubject(Subject):
    """A `compute_loss` that the user's model overrides."""

    compute: Callable[..., Tensor] | None = None
    """(x, y, y_pred, sample_weight) -> the scalar total, on the captured weights."""

    def total(self) -> Tensor:
        assert self.compute is not None
        return self.compute(self.x, self.y_true, self.y_pred, self.sample_weight)

    def unreduced(self) -> Tensor:
        return self.total()

    def traceable(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        given = {"x": self.x, "y": self.y_true, "y_pred": self.y_pred, "sample_weight": self.sample_weight}
        parameters = inspect.signature(self.function).parameters
        # Keras passes them by name: an override may take them in another order, or some of them as `**kwargs`.
        plain = inspect.Parameter.POSITIONAL_OR_KEYWORD
        first = list(itertools.takewhile(lambda key: key in given and parameters[key].kind is plain, parameters))
        named = {key: value for key, value in given.items() if key not in first}
        function = functools.partial(self.function, **named) if named else self.function
        return function, tuple(given[key] for key in first)


@dataclass(frozen=True)
class StepSubject(Subject):
    """A `train_step` that the user's model overrides; it makes its own predictions, so `y_pred` is None."""

    model: Functional | None = None

    @property
    def batch(self) -> Batch:
        """What the step receives."""
        return Batch(self.x, self.y_true, self.sample_weight)

    def total(self) -> Tensor:
        assert self.model is not None
        losses = run_step(self.model, self.batch).losses
        if not losses:
            raise NotApplicable("the loss that this train_step differentiates could not be observed")
        return running_backend().tensor(np.asarray(sum(losses)))

    def unreduced(self) -> Tensor:
        return self.total()
