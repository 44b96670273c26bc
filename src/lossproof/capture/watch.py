"""Watches a script through Keras's public methods: who is compiled, trained and evaluated, on what, from where.

`Watch` replaces `compile`, `fit`, `evaluate`, `train_on_batch` and `test_on_batch` of `keras.Model`, `Loss.__call__`,
`Optimizer.apply` and `Variable.assign` by versions that look and then do what they did before. Nothing is computed and
no random number is drawn here, so that a watched run is the run itself. It never raises into the user's training.
"""

from __future__ import annotations

import functools
import time
import types
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, Self

import keras
import numpy as np

import lossproof.objective.saved  # noqa: F401 - a script may load a Trainer; outside of a check, its imports see to that
from lossproof import keras_private
from lossproof.capture.batch import Recorded, copy_batch, count_batches, own_batch_size
from lossproof.capture.compiles import Compiles
from lossproof.capture.copies import copies, copy_of
from lossproof.capture.files import noting_loads, noting_saves
from lossproof.capture.interception import (
    after,
    arguments_of,
    around,
    assigned_by_trainer,
    assigned_by_user,
    before,
    inside,
)
from lossproof.capture.loose import note_apply, note_declared, note_loop_updates, note_loss
from lossproof.capture.objective import batch_forms, batch_sizes, objective_signature, reassigned, roots
from lossproof.capture.observer import Observer, accompanied, own_callbacks
from lossproof.capture.place import user_place
from lossproof.capture.record import Capture, LostAssignment, Run, Training, Update
from lossproof.capture.script import EnoughSeen
from lossproof.capture.shorten import Shortened, few, renumbered
from lossproof.capture.trainable import flags_of
from lossproof.capture.trainings import begin_training, end_training, foreign_state, iterations, note_judged, restarted

MOST_ALIKE = 3
"""Captures kept of one objective: hyper-parameter loops and episodes meet the same one again and again."""
MOST_FAILED = 32
"""Calls beyond which one that failed is not kept: a script that goes on after so many errors is used to them."""
MOST_UPDATES = 64
"""Entries in the history of a variable that assignments may add."""
LOST_KEPT = 8
LOOP_SECONDS = 40.0
"""A shortened loop that trains the same objective again and again is ended when it has taken this long."""


class Watch:
    """Context manager: inside, the run is recorded in `self.run`.

    Args:
        shorten: Whether to cut each `fit` and `evaluate` to a few steps.
    """

    def __init__(self, shorten: bool) -> None:
        self.run = Run()
        self.shorten = shorten
        self.defects: list[BaseException] = []
        self._compiles = Compiles()
        self._alike: dict[tuple[Any, ...], list[Capture]] = {}
        self._active: list[Capture] = []
        self._replaced: list[tuple[Any, str, Any]] = []
        self._loop_began: float | None = None
        self._ids = 0

    # Installing ------------------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        self._replace(keras.Model, "compile", lambda original: around(original, self._watch_compile))
        for call in ("fit", "evaluate", "train_on_batch", "test_on_batch"):
            watched = functools.partial(self._watch_call, call)
            self._replace(keras.Model, call, functools.partial(around, watched=watched))
        self._replace(keras.losses.Loss, "__call__", lambda original: before(original, self._look_at_loss))
        self._replace(keras.optimizers.Optimizer, "apply", lambda original: before(original, self._look_at_apply))
        for owner, name in keras_private.savers():
            self._put(owner, name, noting_saves(getattr(owner, name), self.run, self._quietly))
        for owner, name in keras_private.loaders():
            self._put(owner, name, noting_loads(getattr(owner, name), self.run, self._quietly))
        self._replace(keras.Variable, "__init__", lambda original: after(original, self._look_at_variable))
        self._replace(keras.Variable, "assign", lambda original: after(original, self._look_at_assignment))
        return self

    def __exit__(self, *_: object) -> None:
        for owner, name, original in reversed(self._replaced):
            setattr(owner, name, original)
        self._replaced.clear()
        self._quietly(lambda: note_loop_updates(self.run))

    def _replace(self, cls: type, name: str, make: Callable[[Any], Any]) -> None:
        # In the class that defines it: Keras asks whether a subclass overrides `compile` (`compile_from_config`).
        owner = next(one for one in cls.__mro__ if name in vars(one))
        self._put(owner, name, make(vars(owner)[name]))

    def _put(self, owner: Any, name: str, replacement: Any) -> None:
        self._replaced.append((owner, name, vars(owner)[name]))
        setattr(owner, name, replacement)

    def _quietly(self, action: Callable[[], Any]) -> Any:
        """Do something of ours; a failure of it is kept for the report and never reaches the user."""
        try:
            return action()
        except EnoughSeen:
            raise
        except Exception as defect:  # whatever it is, the user's training goes on
            self.defects.append(defect)
            return None

    # What is watched -------------------------------------------------------------------------------------------

    def _watch_compile(self, original: Callable[..., Any], model: Any, *args: Any, **kwargs: Any) -> Any:
        def note() -> None:
            arguments = arguments_of(original, model, args, kwargs)
            if arguments is not None:
                self._compiles.note(model, arguments)

        self._quietly(note)
        result = original(model, *args, **kwargs)
        self._quietly(lambda: self._compiles.note_trainable(model))
        return result

    def _watch_call(self, call: str, original: Callable[..., Any], model: Any, *args: Any, **kwargs: Any) -> Any:
        arguments = arguments_of(original, model, args, kwargs)
        # Inside a call: the evaluation of a fit, a fit in a custom step. Without arguments: let Keras say what is wrong.
        if self._active or arguments is None:
            return original(model, *args, **kwargs)
        data = arguments  # as the user passed them, readable again
        if isinstance(arguments.get("x"), types.GeneratorType):
            recorded = Recorded()
            arguments, data = {**arguments, "x": recorded.of(arguments["x"])}, {**arguments, "x": recorded}
        capture = self._quietly(lambda: self._begin(call, model, data))
        if capture is None:
            return original(model, **arguments)
        training = self._quietly(lambda: begin_training(self.run, capture, arguments)) if capture.training else None
        made = self._quietly(lambda: iterations(model)) or 0
        logs: Any = None
        with ExitStack() as stack:
            prepared = self._quietly(lambda: self._prepared(stack, capture, arguments))
            shortened, given = prepared if prepared is not None else (None, arguments)
            self._active.append(capture)
            try:
                logs = original(model, **given)
            except Exception as error:
                capture.error = error
                self._quietly(lambda: self._keep_failed(capture, data))
                raise
            finally:
                self._active.pop()
                self._quietly(lambda: self._finish(capture, training, logs, made))
        if shortened is not None:
            shortened.stopper.release(model)
            self._quietly(lambda: shortened.fill(logs))
        self._end_long_loop(capture.again)
        return logs

    def _look_at_loss(self, loss: Any, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        if not self._active and not inside(keras.losses.Loss.__call__.__wrapped__.__code__):
            new = self._quietly(lambda: note_loss(self.run, loss, y_true, y_pred, sample_weight))
            self._end_long_loop(again=not new)

    def _look_at_apply(self, optimizer: Any, *_: Any, **__: Any) -> None:
        if not self._active:
            self._quietly(lambda: note_apply(self.run, optimizer))
            self._end_long_loop(again=True)

    def _look_at_assignment(self, variable: Any, value: Any) -> None:
        # During a fit it is mostly the trainer that assigns: to bring the state of its steps back.
        # On JAX it assigns outside of one, too: what comes before a prediction brings the state back.
        if assigned_by_user() or not (self._active or assigned_by_trainer()):
            self._quietly(lambda: self._note_assignment(variable, value))

    def _look_at_variable(self, variable: Any, *args: Any, **kwargs: Any) -> None:
        self._quietly(lambda: note_declared(self.run, variable, args, kwargs))

    def _note_assignment(self, variable: Any, value: Any) -> None:
        if keras_private.in_stateless_scope() or len(self.run.updates_of(variable)) >= MOST_UPDATES:
            return
        where = user_place()
        if where is None:
            return
        active = self._active[-1] if self._active else None
        self.run.note_update(variable, Update("assign", active.id if active else None, None, where, 1))
        if active is not None and keras_private.steps_hold_the_state(active.model) and len(active.lost) < LOST_KEPT:
            active.lost.append(LostAssignment(variable, copy_of(value), where))

    # One call --------------------------------------------------------------------------------------------------

    def _begin(self, call: str, model: Any, arguments: dict[str, Any]) -> Capture:
        compiled = self._compiles.of(model)
        changed = self._compiles.changed_trainable(model)
        signature = (call in ("fit", "train_on_batch"), changed, *objective_signature(model, compiled, arguments))
        alike = self._alike.setdefault(signature, [])
        same = next((one for one in alike if one.model is model and one.compiled is compiled), None)
        sizes = batch_sizes(call, arguments)
        if same is not None:
            same.repeats += 1
            same.changes.look(f"before call {same.repeats + 1} of {call}")
            same.reassigned = reassigned(model) or same.reassigned
            if call == "fit" and same.restarted is None:
                same.restarted = restarted(same, model)
        for one in self.run.captures:  # what the same objective meets elsewhere, in an evaluation or a next model
            if one.signature == signature or (one.model is model and one.compiled is compiled):
                one.batch_sizes |= sizes
                sizes |= one.batch_sizes
        if call == "evaluate":
            note_judged(self.run, model, arguments.get("x"))
        if same is not None:
            for form, steps in batch_forms(call, arguments).items():
                same.forms[form] = same.forms.get(form, 0) + steps
        self._ids += 1
        kept = same is None and len(alike) < MOST_ALIKE
        capture = Capture(
            id=self._ids,
            call=call,
            where=user_place(),
            model=model,
            compiled=compiled,
            data=dict(arguments) if kept else {},
            batch=copy_batch(arguments, spread=call == "fit" and bool(arguments.get("shuffle", True)))
            if kept
            else None,
            signature=signature,
            weights=copies(model.variables) if kept and model.built else None,
            trainable=flags_of(model) if kept else [],
            optimizer_state=foreign_state(model) if kept else None,
            epochs_asked=arguments.get("epochs"),
            batch_sizes=sizes,
            forms=batch_forms(call, arguments),
        )
        if kept and (changed is not None or capture.optimizer_state is not None):
            capture.optimizer_config = model.optimizer.get_config()
        if same is not None:
            capture.changes, capture.again = same.changes, True
        elif kept:
            alike.append(capture)
            self.run.captures.append(capture)
            if compiled is not None or capture.training:
                capture.changes.begin(roots(model, compiled))
        else:
            alike[-1].repeats += 1
        return capture

    def _keep_failed(self, capture: Capture, arguments: dict[str, Any]) -> None:
        """Keep a call that would not be worth it, one more of its kind, had it not failed."""
        if all(one is not capture for one in self.run.captures) and len(self.run.captures) < MOST_FAILED:
            capture.data, capture.batch = dict(arguments), copy_batch(arguments, spread=False)
            self.run.captures.append(capture)

    def _prepared(
        self, stack: ExitStack, capture: Capture, arguments: dict[str, Any]
    ) -> tuple[Shortened | None, dict[str, Any]]:
        """The arguments with which Keras is called, and how they cut the call; what is changed, the stack puts back."""
        if capture.call == "evaluate" and self.shorten:
            x, size, steps = (arguments.get(key) for key in ("x", "batch_size", "steps"))
            batches = steps or count_batches(x, size)
            return None, {**arguments, "steps": few(batches), "batch_size": own_batch_size(x, size, steps)}
        if capture.call != "fit":
            return None, arguments
        ours: list[keras.callbacks.Callback] = [Observer(capture, self._quietly)]
        theirs = arguments.get("callbacks")
        shortened = None
        if self.shorten:
            shortened = Shortened(arguments, own_callbacks(theirs))
            capture.shortened = shortened.said
            stack.enter_context(renumbered(own_callbacks(theirs), shortened))
            arguments, ours = shortened.arguments, [*ours, shortened.stopper]
        return shortened, {**arguments, "callbacks": stack.enter_context(accompanied(theirs, ours, capture.model))}

    def _finish(self, capture: Capture, training: Training | None, logs: Any, made: int) -> None:
        capture.steps = max(0, (iterations(capture.model) or 0) - made)
        capture.lost = [one for one in capture.lost if not np.array_equal(copy_of(one.variable), one.value)]
        self._quietly(lambda: self._compiles.note_trainable(capture.model))
        if capture.call != "fit":
            capture.logs.append(logs if isinstance(logs, dict) else {})
        if training is not None:
            self._quietly(lambda: self._compiles.note_retrained(capture))
            end_training(self.run, capture, training, logs)

    def _end_long_loop(self, again: bool) -> None:
        """End the script when nothing new has come for long; an objective met for the first time is something new."""
        now = time.perf_counter()
        if not again or self._loop_began is None:
            self._loop_began = now
        elif self.shorten and now - self._loop_began > LOOP_SECONDS:
            self.run.unseen.append(
                f"the script was stopped after {LOOP_SECONDS:.0f} s in a loop that trains the same objective again and "
                "again; --full runs it to its end"
            )
            raise EnoughSeen
