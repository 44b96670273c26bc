"""Does the account of `lossproof.explain` close on the scripts of examples/ and tests/cases? (`scripts/closes.py`)

Each script runs unmodified, in a copy of its folder, with its fits cut to a few steps; nothing in it knows of the account.
Of the last model that it trained and the first batch of that `fit` (or its last `train_on_batch`), with its sample and
class weights, `lossproof.explain` is asked. What Keras reports is measured apart, by `train_on_batch` and `evaluate` of
that batch. A row is

    closes   the parts add up to what `train_on_batch` reports, to 1e-6 of the largest amount
    named    they leave something over, and the account says where it comes from
    OPEN     they leave something over that nothing explains
    WRONG    what the account takes for Keras's number is not what Keras reports
    FAILED   `explain` raised
    untrained   the script ends before a `fit` has made a step, or calls none: there is nothing to account for

One process for each backend imports Keras once; each script runs in a fork of it.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import sys
import tempfile
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
TOLERANCE = 1e-6
SECONDS = 600.0
"""For one script with its account."""


@dataclass(frozen=True)
class Row:
    """One script on one backend."""

    script: str
    backend: str
    mark: str
    total: float | None = None
    """What training minimises, as the account has it."""
    explained: float | None = None
    """The sum of its parts."""
    reported: float | None = None
    """The loss that `train_on_batch` reports."""
    evaluated: float | None = None
    """The loss that `evaluate` reports."""
    tested: float | None = None
    """The total of the account in inference mode."""
    why: str | None = None
    """The cause of a residual, or what went wrong."""


def scripts_of(backend: str) -> list[Path]:
    """All scripts that run on a backend."""
    found = sorted((ROOT / "examples").rglob("*.py"))
    for toml in sorted((ROOT / "tests" / "cases").glob("*/case.toml")):
        if backend in tomllib.loads(toml.read_text(encoding="utf-8"))["backends"]:
            found += [toml.parent / "train.py", toml.parent / "fixed.py"]
    return found


def named(script: Path) -> str:
    """A script from the root of the project."""
    path = script.relative_to(ROOT)
    return str(path.relative_to("tests/cases") if path.is_relative_to("tests/cases") else path)


# In the process of one script ---------------------------------------------------------------------------------------


class Watched:
    """Shortens every `fit`, and keeps the last one that made a step."""

    def __init__(self) -> None:
        self.last: tuple[Any, dict[str, Any]] | None = None

    def fit(self, original: Callable[..., Any]) -> Callable[..., Any]:
        """A `fit` to stand in for Keras's."""
        import inspect

        from tests.ledger.first_batch import first_batch

        from lossproof.capture.observer import accompanied, own_callbacks
        from lossproof.capture.shorten import Shortened, renumbered

        signature = inspect.signature(original)

        def fit(model: Any, *args: Any, **kwargs: Any) -> Any:
            given = dict(signature.bind(model, *args, **kwargs).arguments)
            given.pop("self")
            callbacks = given.get("callbacks")
            batch = first_batch(given)
            cut = Shortened(given, own_callbacks(callbacks))
            with (
                renumbered(own_callbacks(callbacks), cut),
                accompanied(callbacks, [cut.stopper], model) as together,
            ):
                history = original(model, **{**cut.arguments, "callbacks": together})
            cut.stopper.release(model)
            cut.fill(history)
            self.last = (model, batch)
            return history

        return fit

    def train_on_batch(self, original: Callable[..., Any]) -> Callable[..., Any]:
        """The same for a loop of the script's own."""
        import inspect

        signature = inspect.signature(original)

        def train_on_batch(model: Any, *args: Any, **kwargs: Any) -> Any:
            given = signature.bind(model, *args, **kwargs)
            given.apply_defaults()
            logs = original(model, *args, **kwargs)
            keys = ("x", "y", "sample_weight", "class_weight")
            self.last = (model, {key: given.arguments[key] for key in keys})
            return logs

        return train_on_batch


def account_of(script: Path, name: str, backend: str) -> Row:
    """Run a script and account for the last objective that it trained."""
    import keras
    from tests.ledger.first_batch import as_tensors

    import lossproof as lp
    from lossproof.capture.batch import count_rows
    from lossproof.capture.copies import copy_of
    from lossproof.capture.script import run_script
    from lossproof.lab.backends import running_backend

    watched = Watched()
    fit, step = keras.Model.fit, keras.Model.train_on_batch
    keras.Model.fit, keras.Model.train_on_batch = watched.fit(fit), watched.train_on_batch(step)
    try:
        outcome = run_script(script)
    finally:
        keras.Model.fit, keras.Model.train_on_batch = fit, step
    if watched.last is None:
        error = outcome.exception
        why = (
            "calls neither fit nor train_on_batch"
            if error is None
            else f"{type(error).__name__}: {str(error).strip().splitlines()[0][:90]}"
        )
        return Row(name, backend, "untrained", why=why)
    model, batch = watched.last
    try:
        explanation = lp.explain(model, **batch)
    except Exception as error:
        return Row(name, backend, "FAILED", why=short(error))
    data = {key: as_tensors(batch[key]) for key in ("x", "y", "sample_weight")}
    size = count_rows((batch["x"], batch["y"]))
    variables = state_variables(model)
    before = [copy_of(one) for one in variables]
    try:
        reported = step_loss(model, data, batch["class_weight"])
    except Exception as error:
        return Row(name, backend, "untrained", why=f"Keras refuses a further step: {short(error)}")
    for variable, value in zip(variables, before, strict=True):
        variable.assign(value)
    try:
        evaluated = model.evaluate(**data, batch_size=size, verbose=0, return_dict=True).get("loss")
    except Exception:  # a `test_step` of the user's
        evaluated = None
    row = judged(name, backend, explanation, reported, evaluated)
    if row.mark == "WRONG" and running_backend().strategy_of(model) is not None:
        return replace(
            row, mark="named", why="the account is of the whole batch on one device, tf.distribute splits it"
        )
    return row


def step_loss(model: Any, data: dict[str, Any], class_weight: Any) -> Any:
    """What `train_on_batch` reports as the loss; None if it reports none."""
    import keras

    from lossproof import keras_private

    model.reset_metrics()
    if keras.backend.backend() != "torch" or class_weight is not None:
        try:
            return model.train_on_batch(**data, class_weight=class_weight, return_dict=True).get("loss")
        except ValueError:  # a step that takes no `None` for sample weights, which `fit` leaves out
            history = model.fit(**data, class_weight=class_weight, batch_size=len(data["x"]), shuffle=False, verbose=0)
            return history.history.get("loss", [None])[0]
    items = [data["x"], data["y"], data["sample_weight"]]
    while items[-1] is None:  # as in `fit`; `train_on_batch` on torch hands over `None` to a step of the user's
        items.pop()
    model.make_train_function()
    return keras_private.reported_logs(model, model.train_function([tuple(items)])).get("loss")


def short(error: BaseException) -> str:
    """An error in one line."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:100] if lines else ''}"


def state_variables(model: Any) -> list[Any]:
    """The variables of a model and its optimizer, and the state of the generator behind `keras.random`."""
    from keras.src.random.seed_generator import global_seed_generator

    optimizer = [] if model.optimizer is None else model.optimizer.variables
    return [*model.variables, *optimizer, global_seed_generator().state]


def judged(name: str, backend: str, explanation: Any, reported: Any, evaluated: Any) -> Row:
    """The row of an account, given what Keras reports."""
    entry = explanation.entry
    number = None if reported is None else float(reported)
    claimed = explanation.reported.get("loss")
    mark, why = "closes", None
    if number is not None and not near(number, claimed, entry.magnitude):
        mark, why = "WRONG", f"the account takes {claimed} for what is reported"
    elif not near(entry.total if number is None else number, entry.explained, entry.magnitude):
        why = explanation.cause
        mark = "OPEN" if why is None or why.startswith("unknown") else "named"
    elif explanation.tested is not None and evaluated is not None:
        tested = explanation.tested
        if not near(float(evaluated), tested.explained, tested.magnitude):
            said = [one.text for one in explanation.reasons if one.name == "report of evaluate"]
            why = f"in evaluate: {tested.cause or ''.join(said)}"
            mark = "named" if tested.cause or said else "OPEN"
    return Row(
        name,
        backend,
        mark,
        total=entry.total,
        explained=entry.explained,
        reported=number,
        evaluated=None if evaluated is None else float(evaluated),
        tested=None if explanation.tested is None else explanation.tested.total,
        why=why,
    )


def near(a: float, b: float | None, magnitude: float) -> bool:
    """Whether two numbers are the same to one part in a million of what went into them (or both not finite alike)."""
    if b is None or math.isnan(a) or math.isnan(b):
        return b is not None and math.isnan(a) and math.isnan(b)
    return a == b or abs(a - b) <= TOLERANCE * max(abs(a), abs(magnitude))


# One process for each backend ---------------------------------------------------------------------------------------


def _answer(script: Path, backend: str, pipe: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for number in (1, 2):
            os.dup2(os.open(os.devnull, os.O_WRONLY), number)
        here = Path(folder) / script.parent.name
        shutil.copytree(script.parent, here, ignore=shutil.ignore_patterns("__pycache__"))
        os.chdir(here)
        sys.path.insert(0, str(here))
        try:
            row = account_of(here / script.name, named(script), backend)
        except BaseException as error:  # said of the script, not of this program
            row = Row(named(script), backend, "FAILED", why=short(error))
        pipe.send(row)


def rows_of(backend: str, only: list[str], part: int = 0, parts: int = 1) -> Iterator[Row]:
    """The rows of the backend of this process, or one of several equal parts of them."""
    import keras  # noqa: F401 - once, for all forks

    import lossproof.ledger.examination  # noqa: F401
    from lossproof.lab.backends import running_backend

    running_backend()

    context = get_context("fork")
    wanted = [one for one in scripts_of(backend) if not only or any(text in named(one) for text in only)]
    for script in wanted[part::parts]:
        ours, theirs = context.Pipe()
        process = context.Process(target=_answer, args=(script, backend, theirs))
        process.start()
        theirs.close()
        try:
            yield ours.recv() if ours.poll(SECONDS) else Row(named(script), backend, "FAILED", why="no answer in time")
        except EOFError:
            yield Row(named(script), backend, "FAILED", why="the process died")
        process.kill()
        process.join()


if __name__ == "__main__":
    for one in rows_of(os.environ["KERAS_BACKEND"], sys.argv[3:], int(sys.argv[1]), int(sys.argv[2])):
        sys.stdout.write(json.dumps(asdict(one)) + "\n")
        sys.stdout.flush()
