from __future__ import annotations

import inspect
import linecache
import pickle
import sys
import threading
from pathlib import Path

import pytest

from lossproof.capture.script import run_script


def state():
    return (
        sys.argv,
        sys.path,
        list(sys.path),
        sys.modules["__main__"],
        sys.stdin,
        sys.stdout,
        sys.stderr,
        sys.excepthook,
        threading.excepthook,
        sys.displayhook,
        sys.getrecursionlimit(),
        Path.cwd(),
    )


@pytest.mark.parametrize("end", ["", "1 / 0", "sys.exit(2)", "raise KeyboardInterrupt", "x = ("])
def test_the_host_is_as_before(end, write):
    source = f"""
        import io, os, sys
        os.mkdir('sub')
        os.chdir('sub')
        sys.argv.append('more')
        sys.path.insert(0, '/nowhere')
        sys.path = ['/elsewhere']
        sys.stdin = sys.stdout = sys.stderr = io.StringIO()
        sys.excepthook = sys.displayhook = print
        del sys.argv, sys.modules['__main__']
        {end}
        """
    write({"train.py": source})
    before = state()

    run_script("train.py", ["a"])

    assert state() == before
    assert state()[1] is before[1]


def test_the_scripts_functions_stay_alive_and_readable(folder, write):
    write({"train.py": "import os\nRATE = 2\ndef loss(x):\n    return x * RATE\nos.remove(__file__)\n"})

    outcome = run_script("train.py")
    linecache.checkcache()

    assert outcome.module.loss(3) == 6
    assert inspect.getsource(outcome.module.loss) == "def loss(x):\n    return x * RATE\n"
    assert sys.modules["__main__"] is not outcome.module


def test_a_changed_script_is_read_anew(write):
    for number in (1, 2):
        write({"train.py": f"def f():\n    return {number}\n"})
        assert f"return {number}" in inspect.getsource(run_script("train.py").module.f)


def test_the_world_can_be_entered_again(folder, write):
    """What a script defines can be pickled only where it is `__main__`; its own changes are still there."""
    source = """
        import os, sys
        class Config:
            rate = 0.1
        os.mkdir('data')
        os.chdir('data')
        sys.argv = [*sys.argv, 'more']
        sys.path.append('/models')
        """
    write({"train.py": source})
    outcome = run_script("train.py", ["a"])
    before = state()

    with pytest.raises(pickle.PicklingError):
        pickle.dumps(outcome.module.Config)
    with outcome.world.entered():
        assert pickle.loads(pickle.dumps(outcome.module.Config)) is outcome.module.Config
        assert sys.argv == ["train.py", "a", "more"]
        assert (sys.path[0], sys.path[-1]) == (str(folder), "/models")
        assert Path.cwd() == folder / "data"

    assert state() == before


def test_a_recursion_limit_of_the_scripts_stays(write):
    """Its functions need it when they are called again."""
    write({"train.py": "import sys\nsys.setrecursionlimit(5000)\n"})
    before = sys.getrecursionlimit()

    run_script("train.py")

    assert sys.getrecursionlimit() == 5000
    sys.setrecursionlimit(before)


def test_places_are_relative_to_where_the_check_began(write):
    write({"train.py": "import os\nos.mkdir('data')\nos.chdir('data')\n1 / 0\n"})

    assert run_script("train.py").where.file == "train.py"


def test_the_import_path_is_pythons(write, python, driven, monkeypatch):
    """The whole of `sys.path`: the entry that Python made for the host's own script is not in it."""
    source = "import sys\nprint(sys.path)\n"
    for _ in range(2):
        ours = driven(source).stdout.partition("host:")[0]
        assert ours == python("train.py").stdout
        monkeypatch.setenv("PYTHONSAFEPATH", "1")


def test_a_linked_script_imports_from_where_it_lies(folder, write, python, capfd):
    write({"real/train.py": "import sys\nprint(sys.argv, __file__, sys.path[0])\n", "links/none": ""})
    (folder / "links/train.py").symlink_to("../real/train.py")

    run_script("links/train.py")

    assert capfd.readouterr().out == python("links/train.py").stdout
