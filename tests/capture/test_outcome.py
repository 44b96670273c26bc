from __future__ import annotations

import functools
import traceback
from pathlib import Path

import pytest

from lossproof.capture import failure
from lossproof.capture.importing import when_imported
from lossproof.capture.script import End, run_script


def test_an_interrupt_is_told_apart(write, python):
    write({"train.py": "def f():\n    raise KeyboardInterrupt\n\nf()\n"})
    expected = python("train.py")

    outcome = run_script("train.py")

    assert outcome.end is End.INTERRUPTED
    assert outcome.status == 130
    assert outcome.traceback == expected.stderr
    assert outcome.where.line == 2


@pytest.mark.parametrize(("code", "status"), [("3", 3), ("None", 0), ("'no data'", 1), ("[1]", 1)])
def test_the_code_of_an_exit(code, status, write):
    write({"train.py": f"import sys\nsys.exit({code})\n"})

    outcome = run_script("train.py")

    assert (outcome.end, outcome.status, outcome.code) == (End.EXITED, status, eval(code))
    assert (outcome.exception, outcome.traceback, outcome.where) == (None, None, None)


def test_the_exception_and_its_place(write):
    """The place is the innermost one in the user's files, however deep in the library it was raised."""
    write(
        {
            "train.py": "import helper_place\n\nhelper_place.read('[1,')\n",
            "helper_place.py": "import json\n\ndef read(text):\n    return [json.loads( text ), 1]\n",
        }
    )

    outcome = run_script("train.py")

    assert outcome.end is End.RAISED
    assert type(outcome.exception).__name__ == "JSONDecodeError"
    where = outcome.where
    assert (where.file, where.line, where.scope) == ("helper_place.py", 4, "read")
    assert where.expression == "json.loads( text )"
    assert where.source[where.column : where.end_column] == where.expression


@pytest.mark.parametrize("file", ["train.py", "helper_syntax.py"])
def test_the_place_of_a_syntax_error_is_the_wrong_code(file, write):
    write({"train.py": "import helper_syntax\n", "helper_syntax.py": ""})
    write({file: "x = 1\n\ne = f(3, 4 5)  # é\n"})

    where = run_script("train.py").where

    assert (where.file, where.line, where.column, where.source) == (file, 3, 9, "e = f(3, 4 5)  # é")


def test_a_missing_script_is_the_callers_error(folder):
    for path in ("none.py", folder):
        with pytest.raises(OSError, match=r"none\.py|project"):
            run_script(path)


def our_hook(original):
    """A wrapper of `original` whose frame counts as lossproof's own."""
    filename = str(Path(failure.__file__).with_name("hook.py"))
    namespace = {"original": original}
    exec(compile("def hook(*args):\n    return original(*args)\n", filename, "exec"), namespace)
    return namespace["hook"]


def test_nothing_of_ours_in_any_traceback(write, python, monkeypatch):
    """Frames of hooks between the user and the library vanish, those of chained and grouped exceptions included."""
    source = """
        import functools

        def loss(x, y):
            raise ValueError('x')

        def train():
            try:
                functools.reduce(loss, [1, 2])
            except ValueError as error:
                return error

        try:
            raise ExceptionGroup('all', [train(), TypeError()]) from train()
        except ExceptionGroup:
            functools.reduce(loss, [1, 2])
        """
    write({"train.py": source})
    expected = python("train.py").stderr
    monkeypatch.setattr(functools, "reduce", our_hook(functools.reduce))

    outcome = run_script("train.py")

    assert outcome.traceback == expected
    assert "hook" not in "".join(traceback.format_exception(outcome.exception))


@pytest.mark.parametrize("broken", ["1 / 0", "import no_such_module_at_all", "x = ("])
def test_the_import_hook_leaves_no_trace(broken, write, python):
    """Python hides the frames of its import system; it must not matter that ours stand among them."""
    name = f"helper_watched_{abs(hash(broken))}"
    write({"train.py": f"import {name}\n", f"{name}.py": f"{broken}\n"})
    expected = python("train.py").stderr

    with when_imported(name, lambda: None):
        outcome = run_script("train.py")

    assert outcome.traceback == expected


ENOUGH = {
    "as it is": "stop()",
    "an error in finally": "try:\n    stop()\nfinally:\n    1 / 0",
    "an error of the handler": "try:\n    stop()\nexcept BaseException as error:\n    raise ValueError from error",
    "an exit of the handler": "import sys\ntry:\n    stop()\nexcept BaseException:\n    sys.exit('interrupted')",
    "hidden": "try:\n    stop()\nexcept BaseException:\n    raise ValueError from None",
    "in a group": "try:\n    stop()\nexcept BaseException as error:\n    raise BaseExceptionGroup('g', [error])",
}


@pytest.mark.parametrize("name", ENOUGH)
def test_enough_seen_ends_the_script_quietly(name, write, capfd):
    source = f"from lossproof.capture.script import EnoughSeen\ndef stop():\n    raise EnoughSeen\n{ENOUGH[name]}\n"
    write({"train.py": source})

    outcome = run_script("train.py")

    assert outcome.stopped_early
    assert (outcome.end, outcome.status, outcome.traceback, outcome.where) == (End.STOPPED, 0, None, None)
    assert capfd.readouterr() == ("", "")


def test_enough_seen_and_survived(write):
    """A script that swallows it goes on; what ends it later is its own."""
    source = """
        from lossproof.capture.script import EnoughSeen
        try:
            raise EnoughSeen
        except BaseException:
            pass
        1 / 0
        """
    write({"train.py": source})

    outcome = run_script("train.py")

    assert not outcome.stopped_early
    assert isinstance(outcome.exception, ZeroDivisionError)


def test_enough_seen_in_a_thread_is_quiet(write, capfd):
    source = """
        import threading
        from lossproof.capture.script import EnoughSeen

        def work():
            raise EnoughSeen

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        print('done')
        """
    write({"train.py": source})

    assert run_script("train.py").end is End.FINISHED
    assert capfd.readouterr() == ("done\n", "")
