"""Records the trainings of a run while it runs, and gives it what a transplant says."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import keras

from lossproof import keras_private
from lossproof.capture import shorten
from lossproof.capture.observer import accompanied
from lossproof.capture.place import user_place
from lossproof.capture.script import EnoughSeen
from lossproof.comparison.causes import LOOP
from lossproof.comparison.implant import Donated, implanted
from lossproof.comparison.loops import Loop, watched_loops
from lossproof.comparison.recording import Recording, Training
from lossproof.comparison.session import Session
from lossproof.comparison.transplant import Transplant
from lossproof.lab.backends import running_backend
from lossproof.lab.replace import replaced
from lossproof.silence import silence

STEPS = 3
"""Steps of each training that are recorded unless told otherwise."""


class Recorder:
    """What is installed while a run runs.

    Args:
        transplant: What the run is given; None to record it as it is.
        donated: The objective of the other run, where the transplant asks for it.
        steps: How many steps of each training to record.
        harvest: The number of a training before which the run is to end, with its model kept in `harvested`.
    """

    def __init__(
        self,
        transplant: Transplant | None = None,
        donated: Donated | None = None,
        steps: int = STEPS,
        harvest: int | None = None,
    ) -> None:
        self.harvested: Any = None
        self._transplant, self._donated, self._steps, self._harvest = transplant, donated, steps, harvest
        self._sessions: list[Session] = []
        self._loops: list[Loop] = []
        self._trained_by: dict[int, tuple[Any, list[str]]] = {}
        self._inside: bool = False

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Inside, trainings are recorded. Enter it before `Watch`, which then calls what is installed here."""
        with ExitStack() as stack:
            for name, method in (("fit", self._fit), ("train_on_batch", self._train_on_batch)):
                owner = next(one for one in keras.Model.__mro__ if name in vars(one))
                stack.enter_context(replaced(owner, name, functools.partial(_around, method)))
            stack.enter_context(replaced(shorten, "STEPS", lambda _: self._steps))
            # However slow the machine: both runs must come as far.
            stack.enter_context(replaced(shorten, "SLOW_SECONDS", lambda _: float("inf")))
            stack.enter_context(watched_loops(self._loops, lambda: self._inside, self._steps))
            given = self._transplant
            if given is not None and "functions" in given.organs and given.donor.call == LOOP:
                stack.enter_context(running_backend().interpreted())
            yield

    def trainings(self) -> tuple[Training, ...]:
        """The trainings so far; those that go on are ended. Loops of the user's own count where there are no others."""
        if self._sessions:
            return tuple(self._finished(session) for session in self._sessions)
        running_backend().settle()
        seen = (loop.training() for loop in self._loops)
        return tuple(training for training in seen if training is not None)

    def recording(self, name: str, error: str | None = None) -> Recording:
        """The whole run."""
        return Recording(name, keras.backend.backend(), keras.__version__, self.trainings(), error)

    def _fit(self, original: Callable[..., Any], model: Any, *args: Any, **kwargs: Any) -> Any:
        if self._inside or args:  # `Watch` passes everything by name; a `fit` inside a fit is none of the script's own
            return original(model, *args, **kwargs)
        self._inside = True
        try:
            session = self._session("fit", model, kwargs)
            with ExitStack() as stack:
                session.prepare()
                if session.implants:
                    stack.enter_context(implanted(model, self._donated))
                if session.interprets:
                    stack.enter_context(running_backend().interpreted())
                stack.enter_context(_first_adapter(session))
                callbacks = stack.enter_context(accompanied(kwargs.get("callbacks"), [_Stepwise(session)], model))
                result = original(model, **{**kwargs, "callbacks": callbacks})
                with silence():
                    session.finish()
            self._note_trained(model, session)
            return result
        finally:
            self._inside = False

    def _train_on_batch(self, original: Callable[..., Any], model: Any, *args: Any, **kwargs: Any) -> Any:
        if self._inside:
            return original(model, *args, **kwargs)
        names = ("x", "y", "sample_weight", "class_weight", "return_dict")
        given = {**dict(zip(names, args, strict=False)), **kwargs}
        session = next((s for s in reversed(self._sessions) if s.model is model), None)
        if session is None or not session.goes_on("train_on_batch"):
            session = self._session("train_on_batch", model, given)
            session.prepare()
        if session.is_over():
            return original(model, **given)
        with ExitStack() as stack:
            if session.implants:
                stack.enter_context(implanted(model, self._donated))
            given = session.batch_of(given)
            self._inside = True
            stack.callback(self._leave)
            result = original(model, **given)
            session.end_step({"loss": _first_number(result)})
            if session.is_over():
                with silence():
                    session.finish()
                self._note_trained(model, session)
        return result

    def _finished(self, session: Session) -> Training:
        with implanted(session.model, self._donated if session.implants else None):
            return session.finished()

    def _leave(self) -> None:
        self._inside = False

    def _session(self, call: str, model: Any, arguments: dict[str, Any]) -> Session:
        number = len(self._sessions)
        if self._harvest == number:
            self.harvested = model
            raise EnoughSeen
        where = user_place()
        place = f"{where.file}:{where.line}" if where is not None else "?"
        session = Session(number, call, place, model, arguments, self._transplant, self._steps, self._histories)
        self._sessions.append(session)
        return session

    def _histories(self, variable: Any) -> tuple[str, ...]:
        known = self._trained_by.get(id(variable))
        return tuple(known[1]) if known is not None and known[0] is variable else ()

    def _note_trained(self, model: Any, session: Session) -> None:
        for variable in model.trainable_variables:
            kept = self._trained_by.setdefault(id(variable), (variable, []))[1]
            if session.where not in kept:
                kept.append(session.where)


class _Stepwise(keras.callbacks.Callback):
    """Tells a session when training begins and when steps end."""

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session

    def on_train_begin(self, logs: Any = None) -> None:
        self._session.begin()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self._session.end_step(dict(logs or {}))


@contextmanager
def _first_adapter(session: Session) -> Iterator[None]:
    """Inside, the data adapter that is made first, which is the training's, hands its batches out through the session."""
    owner, name = keras_private.adapter_maker()
    made: list[Any] = []

    def make(original: Callable[..., Any]) -> Callable[..., Any]:
        def get_data_adapter(*args: Any, **kwargs: Any) -> Any:
            adapter = original(*args, **kwargs)
            if made:
                return adapter
            made.append(adapter)
            return session.feed.through(adapter)

        return get_data_adapter

    with replaced(owner, name, make):
        yield


def _around(method: Callable[..., Any], original: Any) -> Any:
    def replacement(model: Any, *args: Any, **kwargs: Any) -> Any:
        return method(original, model, *args, **kwargs)

    replacement.__wrapped__ = original  # type: ignore[attr-defined]  # `Watch` binds arguments by the signature
    return replacement


def _first_number(result: Any) -> Any:
    if isinstance(result, dict):
        return result.get("loss")
    return result[0] if isinstance(result, (list, tuple)) else result
