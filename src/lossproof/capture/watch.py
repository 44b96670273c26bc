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
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import keras
import numpy as np

from lossproof.capture.batch import copy_batch, count_rows, fingerprint, in_memory, recorded_generator
from lossproof.capture.copies import copies, copy_of
from lossproof.capture.place import user_place
from lossproof.capture.record import Capture, Compiled, LossCall, LostAssignment, Run, Training, Update
from lossproof.capture.script import EnoughSeen
from lossproof.capture.shorten import Shortened, StopWhenSlow, renumbered
from lossproof.capture.userfiles import is_user_file

MOST_ALIKE = 3
"""Captures kept of one objective: hyper-parameter loops and episodes meet the same one again and again."""
MOST_TRAININGS = 16
"""Trainings whose initial weights are kept: enough for a comparison, and no burden for a loop of hundreds."""
BATCHES_KEPT = 2
LOOSE_KEPT = 8
LOOP_SECONDS = 40.0
"""A shortened loop of `train_on_batch` is ended when it has taken this long; what it does has been seen by then."""


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
        self._compiles = 0
        self._alike: dict[tuple[Any, ...], list[Capture]] = {}
        self._active: list[Capture] = []
        self._replaced: list[tuple[Any, str, bool, Any]] = []
        self._loop_began: float | None = None
        self._ids = 0

    # Installing ------------------------------------------------------------------------------------------------

    def __enter__(self) -> Watch:
        model = keras.Model
        self._replace(model, "compile", self._watch_compile)
        self._replace(model, "fit", functools.partial(self._watch_call, "fit"))
        self._replace(model, "evaluate", functools.partial(self._watch_call, "evaluate"))
        self._replace(model, "train_on_batch", functools.partial(self._watch_call, "train_on_batch"))
        self._replace(model, "test_on_batch", functools.partial(self._watch_call, "test_on_batch"))
        self._replace(keras.losses.Loss, "__call__", self._watch_loss)
        self._replace(keras.optimizers.Optimizer, "apply", self._watch_apply)
        self._replace(keras.Variable, "assign", self._watch_assign)
        return self

    def __exit__(self, *_: object) -> None:
        for owner, name, own, original in reversed(self._replaced):
            if own:
                setattr(owner, name, original)
            else:
                delattr(owner, name)
        self._replaced.clear()

    def _replace(self, owner: Any, name: str, watched: Callable[..., Any]) -> None:
        original = getattr(owner, name)

        @functools.wraps(original)
        def replacement(instance: Any, *args: Any, **kwargs: Any) -> Any:
            return watched(original, instance, *args, **kwargs)

        self._replaced.append((owner, name, name in vars(owner), original))
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
            self._compiles += 1
            arguments = _bound(original, model, args, kwargs)
            self._compiled[model] = Compiled(self._compiles, arguments, user_place())

        self._quietly(note)
        return original(model, *args, **kwargs)

    def _watch_call(self, call: str, original: Callable[..., Any], model: Any, *args: Any, **kwargs: Any) -> Any:
        if self._active:  # the evaluation inside a fit, or a fit inside a custom step
            return original(model, *args, **kwargs)
        arguments = self._quietly(lambda: _bound(original, model, args, kwargs))
        if arguments is None:  # the call itself is wrong: let Keras say so
            return original(model, *args, **kwargs)
        generated: list[Any] = []
        if isinstance(arguments.get("x"), types.GeneratorType):
            arguments["x"] = recorded_generator(arguments["x"], generated, BATCHES_KEPT)
        capture = self._quietly(lambda: self._begin(call, model, arguments))
        if capture is None:
            return original(model, **arguments)
        if generated is not None and isinstance(arguments.get("x"), types.GeneratorType):
            capture.data["x"] = generated
        self._active.append(capture)
        history = self._quietly(lambda: self._begin_training(capture, arguments)) if capture.training else None
        before = self._quietly(lambda: _iterations(model)) or 0
        shortened = self._shortened(call, arguments) if self.shorten else None
        logs: Any = None
        try:
            with self._renumbered(arguments, shortened):
                logs = original(model, **self._with_observer(capture, arguments, shortened))
        except BaseException as error:
            if isinstance(error, Exception):
                capture.error = error
            raise
        finally:
            self._active.pop()
            self._quietly(lambda: self._finish(capture, history, logs, before))
        if isinstance(shortened, Shortened):
            self._quietly(lambda: shortened.fill(logs))
        if call == "train_on_batch" and self.shorten:
            self._end_long_loop()
        return logs

    def _watch_loss(self, original: Callable[..., Any], loss: Any, y_true: Any, y_pred: Any, *rest: Any, **kw: Any) -> Any:
        if not self._active and len(self.run.loose_losses) < LOOSE_KEPT:
            weight = rest[0] if rest else kw.get("sample_weight")
            if all(one.loss is not loss for one in self.run.loose_losses):
                call = LossCall(loss, y_true, y_pred, weight, self._quietly(user_place))
                self.run.loose_losses.append(call)
        return original(loss, y_true, y_pred, *rest, **kw)

    def _watch_apply(self, original: Callable[..., Any], optimizer: Any, *args: Any, **kwargs: Any) -> Any:
        if not self._active and len(self.run.loose_applies) < LOOSE_KEPT:
            self._quietly(lambda: self.run.loose_applies.append(user_place()))
        return original(optimizer, *args, **kwargs)

    def _watch_assign(self, original: Callable[..., Any], variable: Any, value: Any, *rest: Any, **kw: Any) -> Any:
        result = original(variable, value, *rest, **kw)
        by_user = is_user_file(sys._getframe(2).f_code.co_filename)
        # During a fit it is mostly the trainer that assigns: to bring the state of its steps back.
        if by_user or not self._active:
            self._quietly(lambda: self._note_assignment(variable, value))
        return result

    def _note_assignment(self, variable: Any, value: Any) -> None:
        from keras.src.backend import in_stateless_scope  # noqa: PLC0415

        if in_stateless_scope() or len(self.run.updates_of(variable)) >= LOOSE_KEPT:
            return
        where = user_place()
        if where is None:
            return
        active = self._active[-1] if self._active else None
        update = Update("assign", active.id if active else None, None, where, 1)
        self.run.note_update(variable, update)
        lost = active is not None and keras.backend.backend() == "jax" and active.model._jax_state_synced is False
        if lost and active is not None and len(active.lost) < LOOSE_KEPT:
            active.lost.append(LostAssignment(variable, copy_of(value), where))

    # One call --------------------------------------------------------------------------------------------------

    def _begin(self, call: str, model: Any, arguments: dict[str, Any]) -> Capture | None:
        compiled = self._compiled.get(model)
        signature = (call in ("fit", "train_on_batch"), *_objective_signature(model, compiled, arguments))
        alike = self._alike.setdefault(signature, [])
        same = next((one for one in alike if one.model is model and one.compiled is compiled), None)
        if same is not None:
            same.repeats += 1
            same.changes.look(f"before call {same.repeats + 1} of {call}")
        for one in self.run.captures:  # what the same compiled objective meets elsewhere, in an evaluation say
            if one.model is model and one.compiled is compiled:
                one.batch_sizes |= _batch_sizes(arguments)
        self._ids += 1
        spread = call == "fit" and bool(arguments.get("shuffle", True))
        capture = Capture(
            id=self._ids,
            call=call,
            where=user_place(),
            model=model,
            compiled=compiled,
            data=dict(arguments),
            batch=None if same is not None else copy_batch(arguments, spread),
            signature=signature,
            weights=None if same is not None else _weights(model),
            epochs_asked=arguments.get("epochs"),
            batch_sizes=_batch_sizes(arguments),
        )
        if same is not None:
            capture.changes, capture.again = same.changes, True
            capture.data = {}
        elif len(alike) < MOST_ALIKE:
            alike.append(capture)
            self.run.captures.append(capture)
            if compiled is not None or capture.training:
                capture.changes.begin(_roots(model, compiled))
        else:
            alike[-1].repeats += 1
            capture.data = {}
        return capture

    def _begin_training(self, capture: Capture, arguments: dict[str, Any]) -> Training:
        model = capture.model
        variables = list(model.trainable_variables) if model.built else []
        others = set()
        for variable in variables:
            for update in self.run.updates_of(variable):
                if update.capture is not None and update.by != "assign":
                    training = next(t for t in self.run.trainings if t.capture == update.capture)
                    if training.model() is not model:
                        others.add(update.capture)
        optimizer = getattr(model, "optimizer", None)
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
            began_trained_by=sorted(others),
            began_trainable=None if others or len(self.run.trainings) >= MOST_TRAININGS else copies(variables),
        )
        self.run.trainings.append(training)
        return training

    def _renumbered(self, arguments: dict[str, Any], shortened: Any) -> AbstractContextManager[None]:
        callbacks = arguments.get("callbacks")
        if not isinstance(shortened, Shortened) or not callbacks or isinstance(callbacks, keras.callbacks.CallbackList):
            return nullcontext()
        own = [cb for cb in keras.tree.flatten(callbacks) if not isinstance(cb, keras.callbacks.History)]
        return renumbered(own, shortened)

    def _shortened(self, call: str, arguments: dict[str, Any]) -> Any:
        if call == "fit":
            return Shortened(arguments, user_callbacks=bool(keras.tree.flatten(arguments.get("callbacks") or [])))
        return None

    def _with_observer(self, capture: Capture, arguments: dict[str, Any], shortened: Any) -> dict[str, Any]:
        if capture.call == "evaluate" and self.shorten:
            steps = arguments.get("steps")
            return {**arguments, "steps": min(steps, 2) if steps else _few_steps(arguments)}
        if capture.call != "fit":
            return arguments
        if isinstance(shortened, Shortened):
            capture.shortened = shortened.said
            arguments = shortened.arguments
        observer = Observer(self, capture)
        callbacks = arguments.get("callbacks")
        if isinstance(callbacks, keras.callbacks.CallbackList):
            callbacks.append(observer)
            return arguments
        own = list(keras.tree.flatten(callbacks)) if callbacks else []
        if isinstance(shortened, Shortened):
            own.append(StopWhenSlow(bool(own)))
        return {**arguments, "callbacks": [*own, observer]}

    def _finish(self, capture: Capture, history: Training | None, logs: Any, before: int) -> None:
        model = capture.model
        capture.steps = max(0, (_iterations(model) or 0) - before)
        capture.lost = [one for one in capture.lost if not np.array_equal(copy_of(one.variable), one.value)]
        if capture.call != "fit":
            capture.logs.append(logs if isinstance(logs, dict) else {})
        if history is None:
            return
        history.steps = capture.steps
        if not history.variables and model.built:  # built by its first step
            history.variables = [weakref.ref(v) for v in model.trainable_variables]
        if capture.logs:
            history.first_logs = capture.logs[0]
        elif isinstance(logs, dict):
            history.first_logs = logs
        for variable in model.trainable_variables if model.built else ():
            update = Update(capture.call, capture.id, model.name, capture.where, capture.steps)
            self.run.note_update(variable, update)

    def _end_long_loop(self) -> None:
        now = time.perf_counter()
        if self._loop_began is None:
            self._loop_began = now
        elif now - self._loop_began > LOOP_SECONDS:
            self.run.unseen.append(
                f"the script was stopped in its train_on_batch loop after {LOOP_SECONDS:.0f} s; --full runs it to its end"
            )
            raise EnoughSeen


class Observer(keras.callbacks.Callback):
    """Looks at the model and the Python values when training begins and at each epoch."""

    async_safe = True

    def __init__(self, watch: Watch, capture: Capture) -> None:
        super().__init__()
        self._watch = watch
        self._capture = capture
        self._epochs = 0

    def on_train_begin(self, logs: Any = None) -> None:
        if self._capture.weights is None and self._capture.data:
            self._capture.weights = self._watch._quietly(lambda: _weights(self.model))

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        if self._epochs or self._capture.again:  # before the first step nothing has been traced yet
            self._watch._quietly(lambda: self._capture.changes.look(f"in epoch {epoch + 1}"))
        else:
            self._watch._quietly(lambda: self._capture.changes.begin(_roots(self.model, self._capture.compiled)))

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self._epochs += 1
        self._watch._quietly(lambda: self._capture.logs.append(dict(logs or {})))


def _bound(original: Callable[..., Any], model: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """The arguments of a call by name, extra keywords included."""
    bound = inspect.signature(original).bind(model, *args, **kwargs)
    arguments = dict(bound.arguments)
    arguments.pop("self", None)
    arguments.update(arguments.pop("kwargs", {}))
    return arguments


def _weights(model: Any) -> list[np.ndarray] | None:
    return copies(model.variables) if model.built else None


def _iterations(model: Any) -> int | None:
    optimizer = getattr(model, "optimizer", None)
    iterations = getattr(optimizer, "iterations", None)
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


def _batch_sizes(arguments: dict[str, Any]) -> set[int]:
    sizes: set[int] = set()
    x = arguments.get("x")
    if "batch_size" in arguments or in_memory(x):
        count = count_rows(x) if in_memory(x) else None
        if count:
            size = arguments.get("batch_size") or (32 if "epochs" in arguments or "steps" in arguments else count)
            split = arguments.get("validation_split") or 0.0
            held_out = count - int(count * (1.0 - split))
            for rows in (count - held_out, held_out):
                if rows:
                    sizes |= ({size} if rows >= size else set()) | ({rows % size} if rows % size else set())
    return sizes


def _few_steps(arguments: dict[str, Any]) -> int | None:
    x = arguments.get("x")
    if not in_memory(x):
        return 2
    count = count_rows(x) or 1
    batches = -(-count // (arguments.get("batch_size") or 32))
    return min(2, batches)


def _objective_signature(model: Any, compiled: Compiled | None, arguments: dict[str, Any]) -> tuple[Any, ...]:
    """Equal for calls that train the same code on data of the same form."""

    def form(leaf: Any) -> Any:
        return (len(leaf.shape), str(leaf.dtype)) if hasattr(leaf, "shape") and hasattr(leaf, "dtype") else type(leaf)

    def code(leaf: Any) -> Any:
        function = getattr(leaf, "func", getattr(leaf, "__func__", leaf))
        return getattr(function, "__code__", None) or (leaf if isinstance(leaf, str) else type(leaf).__qualname__)

    data = [form(leaf) for leaf in keras.tree.flatten([arguments.get(k) for k in ("y", "sample_weight")])]
    loss = compiled.arguments.get("loss") if compiled else None
    losses = [code(leaf) for leaf in keras.tree.flatten(loss)]
    weights = repr(compiled.arguments.get("loss_weights")) if compiled else ""
    structure = str(keras.tree.map_structure(lambda _: 0, arguments.get("y"))) if arguments.get("y") is not None else ""
    outputs = tuple(getattr(model, "output_names", None) or ())
    weighted = arguments.get("class_weight") is not None
    return (type(model), tuple(map(repr, losses)), weights, tuple(map(repr, data)), structure, outputs, weighted)


def _roots(model: Any, compiled: Compiled | None) -> dict[str, Any]:
    """Where the objective's Python values are looked for: the losses, their weights, and the model."""
    roots: dict[str, Any] = {}
    if compiled is not None:
        for key in ("loss", "loss_weights"):
            for i, leaf in enumerate(keras.tree.flatten(compiled.arguments.get(key))):
                if leaf is not None and not isinstance(leaf, str):
                    roots[getattr(leaf, "__name__", getattr(leaf, "name", f"{key}[{i}]"))] = leaf
        if isinstance(compiled.arguments.get("loss_weights"), (dict, list)):
            roots["loss_weights"] = compiled.arguments["loss_weights"]
    roots[model.name] = model
    return roots
