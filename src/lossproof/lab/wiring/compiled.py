"""The compiled losses at work: which loss meets which output and which target, with what weight, as measured.

Everything is evaluated by Keras's own code, on a fresh `CompileLoss` made of the arguments of `compile`, so that one of
them, or the targets, can be changed and the rest stays as the user wrote it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from lossproof import keras_private
from lossproof.capture.record import Capture
from lossproof.lab.backends import running_backend
from lossproof.lab.backends.base import Tensor
from lossproof.lab.failure import same_failure
from lossproof.lab.lab import Lab
from lossproof.lab.listen import Heard, listening
from lossproof.lab.model import Forward
from lossproof.lab.noise import rounding
from lossproof.lab.received import Batch, NoBatch, received_batch, to_tensors
from lossproof.lab.wiring.outputs import Given, Outputs, as_numpy, fits, given_of, outputs_of
from lossproof.rules.rule import NotApplicable

if TYPE_CHECKING:
    from lossproof.lab.wiring.keys import Acting, Repair
    from lossproof.lab.wiring.naming import Meant
    from lossproof.lab.wiring.restructure import Restructured


@dataclass(frozen=True)
class Arguments:
    """What `compile` was told, with the values that it had when the captured call began."""

    loss: Any
    loss_weights: Any = None
    metrics: Any = None
    weighted_metrics: Any = None


@dataclass(frozen=True)
class Term:
    """One compiled loss with what it received; `output` and `target` are positions in the flat outputs and targets."""

    name: str
    loss: Any
    weight: float | None
    """The weight that Keras keeps for it, None where it has none."""
    value: float
    output: int | None
    target: int | None
    heard: int
    """Which call of a loss it was."""


@dataclass(frozen=True)
class Wired:
    """One evaluation of the objective."""

    total: float
    terms: tuple[Term, ...]


class CompiledObjective:
    """Experiments on the arguments of `compile` and on the targets."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        _ = lab.model
        self.arguments = _arguments(lab.capture)

    def require_loss(self) -> None:
        """Make sure that there are compiled losses to experiment on.

        Raises:
            NotApplicable: There are none, or the user's own step does not use them.
        """
        lab = self.lab
        if self.arguments.loss is None:
            raise NotApplicable("no loss was given to compile")
        if lab.capture.error is None and (lab.overrides_train_step or lab.overrides_compute_loss):
            compiled = {id(loss) for _, loss, _, _ in keras_private.flat_losses(lab.capture.model)}
            if not any(id(heard.target) in compiled for heard in lab.evaluation.losses):
                raise NotApplicable("the user's own step does not use the compiled losses")

    @staticmethod
    def name_of(loss: Any) -> str:
        """A loss in the user's words: the function's name, the class of an object, the string itself."""
        return name_of(loss)

    @property
    def precision(self) -> str:
        """The dtype in which Keras adds up losses."""
        return str(keras.config.floatx())

    # What is there -----------------------------------------------------------------------------------------------

    @cached_property
    def targets(self) -> Any:
        """The targets of the captured batch, nested as the user passed them."""
        batch = self.lab.capture.batch
        return batch["y"] if batch is not None else self.lab.batch.y

    @cached_property
    def told(self) -> dict[str, Any]:
        """Everything that is matched with outputs: the arguments of `compile`, the targets `y`, `sample_weight`."""
        told = {key: getattr(self.arguments, key) for key in ("loss", "loss_weights", "metrics", "weighted_metrics")}
        return {**told, "y": self.targets, "sample_weight": self.sample_weight}

    @cached_property
    def given(self) -> Given:
        """The targets and how they are nested."""
        written = self.lab.capture.data.get("y")
        return given_of(self.targets, list(written) if isinstance(written, dict) else None)

    @cached_property
    def sample_weight(self) -> Any:
        """The sample weights, nested as the user passed them; None where there are none."""
        batch = self.lab.capture.batch
        return batch["sample_weight"] if batch is not None else self.lab.batch.sample_weight

    def received(self, **changed: Any) -> Batch:
        """The batch as a step receives it, with other targets (`y`) or sample weights.

        Raises:
            NoBatch: The data cannot be read, or Keras refuses them.
        """
        capture = self.lab.capture
        if capture.batch is not None:
            return received_batch(replace(capture, batch={**capture.batch, **changed}))
        try:
            batch = self.lab.batch
        except NotApplicable as reason:
            raise NoBatch(str(reason)) from reason
        kept = {key: value for key, value in changed.items() if key in ("y", "sample_weight")}
        return replace(batch, **{key: to_tensors(value) for key, value in kept.items()})

    @cached_property
    def forward(self) -> Forward:
        """The forward pass in training mode, without the objective."""
        if self.lab.capture.error is None:
            with suppress(NotApplicable):
                return self.lab.forward
        try:
            x = self.received(y=None, sample_weight=None, class_weight=None).x
        except NoBatch as reason:
            raise NotApplicable(str(reason)) from reason
        try:
            with self.lab.model.scope():
                return self.lab.model.forward(x)
        except Exception as error:
            raise NotApplicable(f"the model cannot be run on the captured batch: {type(error).__name__}") from error

    @cached_property
    def outputs(self) -> Outputs:
        """The outputs of the forward pass, with their names and the order in which the user declared them."""
        return outputs_of(self.lab.capture.model, self.forward.y_pred)

    # Evaluation ------------------------------------------------------------------------------------------------

    def evaluate(
        self,
        arguments: Arguments | None = None,
        batch: Batch | None = None,
        *,
        y_pred: Any = None,
        shift: Mapping[int, float] | None = None,
        with_metrics: bool = False,
    ) -> Wired:
        """The objective with other arguments of `compile`, another batch, other predictions, or a shifted loss.

        Args:
            arguments: Instead of the user's own.
            batch: Instead of the captured one.
            y_pred: Instead of the model's predictions.
            shift: What to add to the value of the loss called first (0), second (1), ...
            with_metrics: Whether the metrics are evaluated, too, as a step does.

        Raises:
            NoBatch: Keras refuses the data.
            Exception: Whatever Keras or the user's code raises.
        """
        lab, told = self.lab, arguments if arguments is not None else self.arguments
        batch = batch if batch is not None else self.received()
        model = lab.capture.model
        forward = replace(self.forward, y_pred=y_pred) if y_pred is not None else self.forward
        with ExitStack() as stack:
            if told.loss is not None:
                stack.enter_context(keras_private.recompiled(model, told.loss, told.loss_weights))
            hearing = stack.enter_context(listening(shift=shift))
            stack.enter_context(lab.model.scope())
            keras_private.use_forward_losses(model, forward.losses)
            try:
                total = lab.model.compute_loss(batch, forward)
            finally:
                keras_private.use_forward_losses(model, [])
            flat = keras_private.flat_losses(model)
            if with_metrics and (told.metrics or told.weighted_metrics):
                keras_private.update_fresh_metrics(model, told.metrics, told.weighted_metrics, batch, forward.y_pred)
        return Wired(self._number(total), self._terms(flat, hearing.losses, batch))

    def failure(self, with_metrics: bool = True) -> Exception | None:
        """The exception that the objective raises as it was written; None if it has a finite value.

        A step of the user's may hand other things to the losses than Keras would, so that what fails here need not be
        what failed there: with such a step it is the exception only if it is the same.
        """
        try:
            wired = self.evaluate(with_metrics=with_metrics)
        except Exception as error:
            own = self.lab.overrides_train_step or self.lab.overrides_compute_loss
            return error if not own or same_failure(error, self.lab.capture.error) else None
        return None if np.isfinite(wired.total) else ArithmeticError("the loss is not finite")

    def attempt(
        self, batch: Mapping[str, Any] | None = None, *, with_metrics: bool = True, **changed: Any
    ) -> Wired | None:
        """The objective with other arguments of `compile`, and other targets (`y`) or sample weights in `batch`.

        None where it raises or is not finite.
        """
        try:
            wired = self.evaluate(
                replace(self.arguments, **changed), self.received(**(batch or {})), with_metrics=with_metrics
            )
        except Exception:  # of the user's code, of Keras or of the backend
            return None
        return wired if np.isfinite(wired.total) else None

    def effective_weights(self, wired: Wired) -> tuple[float, ...]:
        """How far the total moves for each unit that a loss of `wired` grows by, measured on each in turn.

        The result is accurate to a few units in the last place of `precision`, relative to the weight that Keras keeps;
        it is not finite where the total is not.
        """
        return tuple(self._effective_weight(wired, term) for term in wired.terms)

    def _effective_weight(self, wired: Wired, term: Term) -> float:
        weight = abs(term.weight) if term.weight else 1.0
        # As large as the total itself: what is added then stands well above the rounding of the sum.
        amount = max(1.0, abs(wired.total)) / weight
        moved = self.evaluate(shift={term.heard: amount}).total - wired.total
        noise = rounding(self.precision, abs(wired.total) + abs(moved), 64)
        return 0.0 if abs(moved) <= noise else moved / amount

    def moves_total(self, wired: Wired, output: int) -> bool:
        """Whether the total moves when the predictions of one output are moved away by one."""
        flat = [one.tensor for one in self.outputs.items]
        flat[output] = flat[output] + keras.ops.ones_like(flat[output])
        moved = self.evaluate(y_pred=keras.tree.pack_sequence_as(self.forward.y_pred, flat)).total
        return moved != wired.total

    # Other orders and structures of the targets, see `restructure` ------------------------------------------------

    def fitting_orders(self) -> list[tuple[int, ...]]:
        """See `restructure.fitting_orders`."""
        from lossproof.lab.wiring.restructure import fitting_orders

        return fitting_orders(self)

    def fits(self, position: int) -> bool:
        """Whether the array at a position fits the output at the same position. See `fits`."""
        return fits(self.given.leaves[position], self.outputs.items[position])

    def misused(self, total: float, position: int) -> bool:
        """See `restructure.misused`."""
        from lossproof.lab.wiring.restructure import misused

        return misused(self, total, position)

    def restructurings(self) -> Iterator[Restructured]:
        """See `restructure.restructurings`."""
        from lossproof.lab.wiring.restructure import restructurings

        return restructurings(self)

    # Keys and names, see `keys` ---------------------------------------------------------------------------------

    def repaired(self) -> tuple[tuple[Repair, ...], Wired | None]:
        """See `keys.repaired`."""
        from lossproof.lab.wiring.keys import repaired

        return repaired(self)

    def unknown_keys(self, keyed: Mapping[str, Any]) -> dict[str, Meant]:
        """See `keys.unknown_keys`."""
        from lossproof.lab.wiring.keys import unknown_keys

        return unknown_keys(keyed, self.outputs)

    def acting_weights(self, wired: Wired) -> list[Acting]:
        """See `keys.acting_weights`."""
        from lossproof.lab.wiring.keys import acting_weights

        return acting_weights(self, wired)

    def sorted_lists(self) -> dict[str, Any]:
        """See `keys.sorted_lists`."""
        from lossproof.lab.wiring.keys import sorted_lists

        return sorted_lists(self)

    def target_mean(self, position: int) -> float | None:
        """The mean of one of the arrays of targets on the captured batch; None where they are no numbers."""
        values = as_numpy(self.given.leaves[position])
        return float(np.mean(values, dtype="float64")) if values.dtype.kind in "biuf" else None

    def _number(self, tensor: Tensor) -> float:
        return float(np.sum(running_backend().numpy(tensor), dtype="float64"))

    def _terms(self, flat: list[tuple[Any, ...]], heard: list[Heard], batch: Batch) -> tuple[Term, ...]:
        targets = keras.tree.flatten(batch.y)
        predictions = [one.tensor for one in self.outputs.items]
        terms, position = [], 0
        for _, loss, weight, _ in flat:  # Keras calls them in this order; code of the user's may call others between
            while position < len(heard) and heard[position].target is not loss:
                position += 1
            if position == len(heard):
                break
            one = heard[position]
            kept = None if weight is None else float(np.array(keras.ops.convert_to_numpy(weight)))
            terms.append(
                Term(
                    name_of(loss),
                    loss,
                    kept,
                    self._number(one.result),
                    _index(one.y_pred, predictions),
                    _index(one.y_true, targets),
                    position,
                )
            )
            position += 1
        return tuple(terms)


def name_of(loss: Any) -> str:
    """See `CompiledObjective.name_of`."""
    if isinstance(loss, str):
        return loss
    target = keras_private.wrapped_function(loss) or loss
    while hasattr(target, "func"):
        target = target.func
    return str(getattr(target, "__name__", type(target).__name__))


def _arguments(capture: Capture) -> Arguments:
    told = capture.compiled.arguments if capture.compiled is not None else {}
    # The script may have changed the values since. Keras copied them when it built the losses, as training began.
    first = capture.changes.first
    if told.get("loss") is None:
        told, first = keras_private.compile_arguments(capture.model), {}
    weights = told.get("loss_weights")

    def begun(key: Any, value: Any) -> Any:
        kept = first.get(f"loss_weights[{key!r}]")
        return value if kept is None else float(np.array(kept))

    if isinstance(weights, dict):
        weights = {key: begun(key, value) for key, value in weights.items()}
    elif isinstance(weights, list):
        weights = [begun(i, value) for i, value in enumerate(weights)]
    return Arguments(told.get("loss"), weights, told.get("metrics"), told.get("weighted_metrics"))


def _index(data: Any, tensors: Sequence[Tensor]) -> int | None:
    """Which tensor a loss received: the same object, else the only one with the same values."""
    for i, tensor in enumerate(tensors):
        if data is tensor:
            return i
    if keras.tree.is_nested(data) or not hasattr(data, "shape"):
        return None
    numpy = running_backend().numpy
    same = [
        i
        for i, tensor in enumerate(tensors)
        if hasattr(tensor, "shape")
        and tuple(tensor.shape) == tuple(data.shape)
        and np.array_equal(numpy(tensor), numpy(data))
    ]
    return same[0] if len(same) == 1 else None
