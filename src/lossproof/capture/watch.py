"""Watches a script through Keras's public methods: who is compiled, trained and evaluated, on what, from where.

`Watch` replaces `compile`, `fit`, `evaluate`, `train_on_batch` and `test_on_batch` of `keras.Model`, `Loss.__call__`,
`Optimizer.apply` and `Variable.assign` by versions that look and then do what they did before. Nothing is computed and
no random number is drawn here, so that a watched run is the run itself. It never raises into the user's training.
"""

from __future__ import annotations

import functools
import inspect
import sys
import time
import types
import weakref
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, Self

import keras
import numpy as np

import lossproof.objective.saved  # noqa: F401 - a script may load a Trainer; outside of a check, its imports see to that
from lossproof import keras_private
from lossproof.capture.batch import Recorded, copy_batch, count_batches, fingerprint
from lossproof.capture.copies import copies, copy_of
from lossproof.capture.files import noting_loads, noting_saves
from lossproof.capture.loose import note_apply, note_loop_updates, note_loss
from lossproof.capture.objective import batch_forms, batch_sizes, objective_signature, roots
from lossproof.capture.observer import Observer, accompanied, own_callbacks
from lossproof.capture.place import user_place
from lossproof.capture.record import Capture, Compiled, LostAssignment, Retrained, Run, Training, Update
from lossproof.capture.rows import marks_of, split_marks
from lossproof.capture.script import EnoughSeen
from lossproof.capture.shorten import Shortened, few, renumbered
from lossproof.capture.userfiles import is_user_file
from lossproof.lab.backends import running_backend

MOST_ALIKE = 3
"""Captures kept of one objective: hyper-parameter loops and episodes meet the same one again and again."""
MOST_TRAININGS = 16
"""Trainings whose initial weights are kept: enough for a comparison, and no burden for a loop of hundreds."""
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
        self._compiled: weakref.WeakKeyDictionary[Any, Compiled] = weakref.WeakKeyDictionary()
        self._trainable: weakref.WeakKeyDictionary[Any, tuple[Compiled | None, frozenset[int]]] = (
            weakref.WeakKeyDictionary()
        )
        self._compiles = 0
        self._alike: dict[tuple[Any, ...], list[Capture]] = {}
        self._active: list[Capture] = []
        self._replaced: list[tuple[Any, str, Any]] = []
        self._loop_began: float | None = None
        self._ids = 0

    # Installing ------------------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        self._replace(keras.Model, "compile", lambda original: _around(original, self._watch_compile))
        for call in ("fit", "evaluate", "train_on_batch", "test_on_batch"):
            watched = functools.partial(self._watch_call, call)
            self._replace(keras.Model, call, functools.partial(_around, watched=watched))
        self._replace(keras.losses.Loss, "__call__", lambda original: _before(original, self._look_at_loss))
        self._replace(keras.optimizers.Optimizer, "apply", lambda original: _before(original, self._look_at_apply))
        for owner, name in keras_private.savers():
            self._put(owner, name, noting_saves(getattr(owner, name), self.run, self._quietly))
        for owner, name in keras_private.loaders():
            self._put(owner, name, noting_loads(getattr(owner, name), self.run, self._quietly))
        self._replace(keras.Variable, "assign", lambda original: _after(original, self._look_at_assignment))
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
            arguments = _bound(original, model, args, kwargs)
            if arguments is not None:
                self._compiles += 1
                self._compiled[model] = Compiled(self._compiles, arguments, user_place())

        self._quietly(note)
        result = original(model, *args, **kwargs)
        self._quietly(lambda: self._note_trainable(model))
        return result

    def _note_trainable(self, model: Any) -> None:
        """Remember which weights the last `compile` meant to train, as soon as there are any."""
        compiled = self._compiled.get(model)
        if compiled is not None and model.built and self._trainable.get(model, (None,))[0] is not compiled:
            self._trainable[model] = (compiled, frozenset(id(v) for v in model.trainable_variables))

    def _changed_trainable(self, model: Any) -> tuple[frozenset[int], frozenset[int]] | None:
        """(when compiled, now): the trainable weights, where they are not the same; `id`s."""
        compiled, meant = self._trainable.get(model, (None, frozenset()))
        now = frozenset(id(v) for v in model.trainable_variables) if model.built else meant
        return (meant, now) if compiled is self._compiled.get(model) and compiled is not None and now != meant else None

    def _watch_call(self, call: str, original: Callable[..., Any], model: Any, *args: Any, **kwargs: Any) -> Any:
        arguments = _bound(original, model, args, kwargs)
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
        history = self._quietly(lambda: self._begin_training(capture, arguments)) if capture.training else None
        before = self._quietly(lambda: _iterations(model)) or 0
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
                self._quietly(lambda: self._finish(capture, history, logs, before))
        if shortened is not None:
            shortened.stopper.release(model)
            self._quietly(lambda: shortened.fill(logs))
        self._end_long_loop(capture.again)
        return logs

    def _look_at_loss(self, loss: Any, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        if not self._active and not _inside(keras.losses.Loss.__call__.__wrapped__.__code__):
            new = self._quietly(lambda: note_loss(self.run, loss, y_true, y_pred, sample_weight))
            self._end_long_loop(again=not new)

    def _look_at_apply(self, optimizer: Any, *_: Any, **__: Any) -> None:
        if not self._active:
            self._quietly(lambda: note_apply(self.run, optimizer))
            self._end_long_loop(again=True)

    def _look_at_assignment(self, variable: Any, value: Any) -> None:
        # During a fit it is mostly the trainer that assigns: to bring the state of its steps back.
        # On JAX it assigns outside of one, too: what comes before a prediction brings the state back.
        if _assigned_by_user() or not (self._active or _assigned_by_trainer()):
            self._quietly(lambda: self._note_assignment(variable, value))

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
        compiled = self._compiled.get(model)
        changed = self._changed_trainable(model)
        signature = (call in ("fit", "train_on_batch"), changed, *objective_signature(model, compiled, arguments))
        alike = self._alike.setdefault(signature, [])
        same = next((one for one in alike if one.model is model and one.compiled is compiled), None)
        sizes = batch_sizes(call, arguments)
        if same is not None:
            same.repeats += 1
            same.changes.look(f"before call {same.repeats + 1} of {call}")
        for one in self.run.captures:  # what the same objective meets elsewhere, in an evaluation or a next model
            if one.signature == signature or (one.model is model and one.compiled is compiled):
                one.batch_sizes |= sizes
                sizes |= one.batch_sizes
        if call == "evaluate":
            self._note_judged(model, arguments.get("x"))
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
            optimizer_state=self._foreign_state(model) if kept else None,
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

    def _note_judged(self, model: Any, x: Any) -> None:
        training = next((one for one in reversed(self.run.trainings) if one.model() is model), None)
        marks = marks_of(x) if training is not None and training.rows is not None else None
        if training is not None and marks is not None:
            training.judged.append(marks)

    @staticmethod
    def _foreign_state(model: Any) -> list[np.ndarray] | None:
        optimizer = getattr(model, "optimizer", None)
        known = {id(v) for v in keras_private.optimized_variables(optimizer)} if optimizer is not None else set()
        mine = model.trainable_variables if model.built else []
        foreign = optimizer is not None and bool(known) and (not mine or any(id(v) not in known for v in mine))
        return copies(optimizer.variables) if optimizer is not None and foreign else None

    def _note_retrained(self, capture: Capture) -> None:
        changed = self._changed_trainable(capture.model)
        if changed is None or not capture.data:
            return
        meant, now = changed
        variables = capture.model.variables
        before = capture.weights if capture.error is None and capture.weights is not None else []
        moved = frozenset(
            id(v) for v, old in zip(variables, before, strict=False) if not np.array_equal(copy_of(v), old)
        )
        own = capture.compiled.serial if capture.compiled is not None else 0
        others = [
            one
            for one, compiled in self._compiled.items()
            if one is not capture.model and compiled.serial > own and one.built
        ]
        taken = any({id(v) for v in one.variables} & (meant ^ now) for one in others)
        capture.retrained = Retrained(meant, now, moved, taken)

    def _keep_failed(self, capture: Capture, arguments: dict[str, Any]) -> None:
        """Keep a call that would not be worth it, one more of its kind, had it not failed."""
        if all(one is not capture for one in self.run.captures) and len(self.run.captures) < MOST_FAILED:
            capture.data, capture.batch = dict(arguments), copy_batch(arguments, spread=False)
            self.run.captures.append(capture)

    def _begin_training(self, capture: Capture, arguments: dict[str, Any]) -> Training:
        model = capture.model
        if capture.again and capture.call == "train_on_batch":  # a loop over batches is one training
            for known in reversed(self.run.trainings):
                if known.model() is model and known.call == capture.call and known.compiled is capture.compiled:
                    return known
        variables = list(model.trainable_variables) if model.built else []
        trained = {update.capture for v in variables for update in self.run.updates_of(v) if update.by != "assign"}
        others = sorted(
            one.capture for one in self.run.trainings if one.capture in trained and one.model() is not model
        )
        optimizer = getattr(model, "optimizer", None)
        rows, held_out = split_marks(arguments) if capture.call == "fit" else (None, None)
        training = Training(
            capture=capture.id,
            call=capture.call,
            where=capture.where,
            model_name=model.name,
            model=weakref.ref(model),
            variables=[weakref.ref(v) for v in variables],
            compiled=capture.compiled,
            data=fingerprint(arguments.get("x"), arguments.get("y"), arguments.get("sample_weight")),
            settings={
                "optimizer": _config(optimizer),
                "iterations": _iterations(model),
                **{key: arguments.get(key) for key in ("batch_size", "epochs", "shuffle", "class_weight")},
            },
            began_trained_by=others,
            began_trained_before=sorted(one for one in trained if one is not None),
            rows=rows,
            judged=[] if held_out is None else [held_out],
            began_trainable=None if others or len(self.run.trainings) >= MOST_TRAININGS else copies(variables),
        )
        self.run.trainings.append(training)
        return training

    def _prepared(
        self, stack: ExitStack, capture: Capture, arguments: dict[str, Any]
    ) -> tuple[Shortened | None, dict[str, Any]]:
        """The arguments with which Keras is called, and how they cut the call; what is changed, the stack puts back."""
        if capture.call == "evaluate" and self.shorten:
            batches = arguments.get("steps") or count_batches(arguments.get("x"), arguments.get("batch_size"))
            return None, {**arguments, "steps": few(batches)}
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

    def _finish(self, capture: Capture, history: Training | None, logs: Any, before: int) -> None:
        model = capture.model
        capture.steps = max(0, (_iterations(model) or 0) - before)
        capture.lost = [one for one in capture.lost if not np.array_equal(copy_of(one.variable), one.value)]
        self._quietly(lambda: self._note_trainable(model))
        if history is not None:
            self._quietly(lambda: self._note_retrained(capture))
        if capture.call != "fit":
            capture.logs.append(logs if isinstance(logs, dict) else {})
        if history is None:
            return
        history.steps += capture.steps
        if history.capture != capture.id:
            kept = next((one for one in self.run.captures if one.id == history.capture), None)
            if kept is not None:
                kept.steps += capture.steps
        if not history.variables and model.built:  # built by its first step
            history.variables = [weakref.ref(v) for v in model.trainable_variables]
        if history.first_logs is None:
            history.first_logs = capture.logs[0] if capture.logs else logs if isinstance(logs, dict) else None
        if capture.steps:
            for variable in model.trainable_variables if model.built else ():
                update = Update(capture.call, history.capture, model.name, capture.where, capture.steps)
                self.run.note_update(variable, update)

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


# Replacements ------------------------------------------------------------------------------------------------------


def _around(original: Any, watched: Callable[..., Any]) -> Any:
    @functools.wraps(original)
    def replacement(instance: Any, *args: Any, **kwargs: Any) -> Any:
        return watched(original, instance, *args, **kwargs)

    return replacement


# The methods that run inside compiled functions stay code that TensorFlow's autograph can convert, as it converts
# Keras's own on its way to the user's; only our look at them is kept out of it.


def _before(original: Any, look: Callable[..., None]) -> Any:
    look = running_backend().untraced(look)

    @functools.wraps(original)
    def replacement(instance: Any, *args: Any, **kwargs: Any) -> Any:
        look(instance, *args, **kwargs)
        return original(instance, *args, **kwargs)

    return replacement


def _after(original: Any, look: Callable[..., None]) -> Any:
    look = running_backend().untraced(look)

    @functools.wraps(original)
    def replacement(instance: Any, *args: Any, **kwargs: Any) -> Any:
        result = original(instance, *args, **kwargs)
        look(instance, *args, **kwargs)
        return result

    return replacement


def _inside(code: types.CodeType) -> bool:
    """Whether a function of this code is running now, below us on the stack."""
    frame: types.FrameType | None = sys._getframe(2)  # noqa: SLF001 - documented, there is no other way
    while frame is not None and frame.f_code is not code:
        frame = frame.f_back
    return frame is not None


_REPLACEMENT = _after.__code__.co_consts


def _assigned_by_user() -> bool:
    """Whether it is the user's code that calls `assign`, `assign_add` or `assign_sub` of a variable now."""
    return is_user_file(_assigner())


def _assigned_by_trainer() -> bool:
    """Whether it is a trainer of Keras that assigns now, to bring its own state back into the variables."""
    return _assigner() in _TRAINERS


def _assigner() -> str:
    """The file whose code assigns a variable now."""
    frame: types.FrameType | None = sys._getframe(2)  # noqa: SLF001 - documented, there is no other way
    while frame is not None and frame.f_code not in _REPLACEMENT:
        frame = frame.f_back
    ways = (keras.Variable.assign_add.__code__, keras.Variable.assign_sub.__code__)
    while frame is not None and (frame.f_code in _REPLACEMENT or frame.f_code in ways):
        frame = frame.f_back
    return frame.f_code.co_filename if frame is not None else ""


_TRAINERS = {keras.Model.jax_state_sync.__code__.co_filename} if hasattr(keras.Model, "jax_state_sync") else set()


# What a call says --------------------------------------------------------------------------------------------------


def _bound(original: Callable[..., Any], model: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The arguments of a call by name, extra keywords included; None if they do not fit."""
    try:
        bound = inspect.signature(original).bind(model, *args, **kwargs)
    except TypeError:
        return None
    arguments = dict(bound.arguments)
    arguments.pop("self", None)
    arguments.update(arguments.pop("kwargs", {}))
    return arguments


def _iterations(model: Any) -> int | None:
    iterations = getattr(getattr(model, "optimizer", None), "iterations", None)
    try:
        return int(copy_of(iterations)) if iterations is not None else None
    except Exception:  # on JAX a step that failed leaves the variables without their values
        return None


def _config(optimizer: Any) -> Any:
    try:
        config = optimizer.get_config()
    except Exception:  # an optimizer of the user's that cannot say: then only its class is known
        return type(optimizer).__name__
    return {key: repr(value) for key, value in config.items() if key != "name"} | {"class": type(optimizer).__name__}
