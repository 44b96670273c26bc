from __future__ import annotations

import inspect
import json
import linecache
import os
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from lossproof.capture.notebook import UnreadableNotebook, read_cells, run_notebook
from lossproof.capture.place import place_of_function
from lossproof.capture.script import End


def notebook(*cells, **metadata):
    """A notebook of format 4: texts are code cells, pairs are other cells."""
    entries = []
    for cell in cells:
        kind, text = cell if isinstance(cell, tuple) else ("code", cell)
        source = dedent(text).strip("\n").splitlines(keepends=True)  # as Jupyter writes it
        entry = {"cell_type": kind, "metadata": {}, "source": source}
        entries.append(entry | ({"outputs": [], "execution_count": None} if kind == "code" else {}))
    kernel = {"kernelspec": {"name": "python3", "language": "python"}}
    return json.dumps({"cells": entries, "metadata": kernel | metadata, "nbformat": 4, "nbformat_minor": 5})


@pytest.fixture
def run(write):
    def run(*cells, args=()):
        write({"nb.ipynb": notebook(*cells)})
        return run_notebook("nb.ipynb", args)

    return run


def test_cells_share_one_namespace(run, capfd):
    outcome = run(
        ("markdown", "# Title"),
        "import pickle\nclass A:\n    x = 1\n",
        ("raw", "1 / 0"),
        "",
        "def f(): return pickle.loads(pickle.dumps(A)).x\nf()",
        "print(f(), __name__)",
    )

    assert outcome.end is End.FINISHED
    assert outcome.module.f
    assert capfd.readouterr() == ("1 __main__\n", "")


def test_what_it_sees(folder, run, capfd):
    run("import sys, os\nprint(sys.argv, os.getcwd(), sys.path[0], '__file__' in globals())", args=["a"])

    assert capfd.readouterr().out == f"{['nb.ipynb', 'a']} {folder} {folder} False\n"


def test_it_runs_in_its_own_folder(folder, write, capfd):
    """As in Jupyter, whence notebooks find their data and neighbours; places are relative to where we are."""
    cell = "import pathlib, helper_nb\nprint(pathlib.Path('data.txt').read_text())\nhelper_nb.fail()"
    write(
        {
            "work/nb.ipynb": notebook(cell),
            "work/data.txt": "data",
            "work/helper_nb.py": "def fail():\n    1 / 0\n",
        }
    )

    outcome = run_notebook("work/nb.ipynb")

    assert capfd.readouterr().out == "data\n"
    assert (outcome.where.file, outcome.where.line) == (str(Path("work/helper_nb.py")), 2)
    assert Path.cwd() == folder


def test_the_traceback_names_cell_and_line(folder, run):
    outcome = run("def f(x):\n    return 1 / x", ("markdown", "text"), "\n\ny = f(1)\ny = [f(0), 1]")

    assert outcome.end is End.RAISED
    assert outcome.status == 1
    assert outcome.traceback == dedent(f"""\
        Traceback (most recent call last):
          File "{folder}/nb.ipynb cell 2", line 2, in <module>
            y = [f(0), 1]
                 ^^^^
          File "{folder}/nb.ipynb cell 1", line 2, in f
            return 1 / x
                   ~~^~~
        ZeroDivisionError: division by zero
        """)
    where = outcome.where
    assert (where.file, where.cell, where.line, where.scope) == ("nb.ipynb", 1, 2, "f")
    assert (where.column, where.end_column, where.expression) == (11, 16, "1 / x")
    assert where.source == "    return 1 / x"


def test_a_syntax_error_comes_when_its_cell_does(folder, run, capfd):
    outcome = run("print('first')", "x = 1\nx = (2 3)")

    assert capfd.readouterr().out == "first\n"
    assert outcome.traceback.startswith(f'  File "{folder}/nb.ipynb cell 2", line 2\n    x = (2 3)\n         ^^^\n')
    where = outcome.where
    assert (where.file, where.cell, where.line, where.column) == ("nb.ipynb", 2, 2, 5)


@pytest.mark.parametrize(
    ("end", "status", "err"), [("sys.exit(3)", 3, ""), ("sys.exit('no')", 1, "no\n"), ("sys.exit()", 0, "")]
)
def test_exit_ends_it(end, status, err, run, capfd):
    outcome = run(f"import sys\n{end}", "print('never')")

    assert (outcome.end, outcome.status) == (End.EXITED, status)
    assert capfd.readouterr() == ("", err)


def test_functions_of_a_cell_have_source_and_place(run):
    outcome = run("x = 1", "# my loss\ndef loss(y_true, y_pred):\n    return y_true - y_pred")
    linecache.checkcache()
    loss = outcome.module.loss

    assert inspect.getsource(loss) == "def loss(y_true, y_pred):\n    return y_true - y_pred\n"
    place = place_of_function(loss)
    assert (place.file, place.cell, place.line, place.expression) == ("nb.ipynb", 2, 2, "loss")


def test_magics_shift_nothing(run, capfd, monkeypatch):
    monkeypatch.setenv("LOSSPROOF_TEST", "before")
    outcome = run(
        "%%time\n%matplotlib inline\n!exit 1\n%env LOSSPROOF_TEST=after\nif True:\n    !pip install x\n\nprint('ran')",
        "%%bash\nexit 1",
        "?print\n%time y = 3\nfiles = !ls\n1 / 0",
    )

    assert os.environ["LOSSPROOF_TEST"] == "after"
    assert outcome.module.y == 3
    assert outcome.module.files == []
    assert (outcome.where.cell, outcome.where.line) == (3, 4)
    assert capfd.readouterr() == ("ran\n", "")
    [notice] = outcome.notices
    assert notice == (
        "nb.ipynb: these lines are not Python and were not run: cell 1, line 3: !exit 1; "
        "cell 1, line 6: !pip install x; cell 2, line 1: %%bash; cell 3, line 3: files = !ls"
    )


def test_a_notebook_of_plain_python_has_no_notice(run):
    assert run("%matplotlib inline\nx = 1").notices == ()


def test_ipythons_own_functions_do_nothing(run, capfd):
    outcome = run(
        "display(1, display_id=True)\nget_ipython().run_line_magic('matplotlib', 'inline')\n"
        "get_ipython().system('exit 1')\nx = get_ipython().getoutput('ls')\nprint(hasattr(get_ipython(), '__len__'))"
    )

    assert outcome.exception is None
    assert capfd.readouterr() == ("False\n", "")


def test_a_future_holds_for_later_cells_and_none_of_ours_is_in(run):
    assert type(run("def f(x: Y): pass").exception) is NameError
    outcome = run("from __future__ import annotations", "def f(x: Y): pass")
    assert outcome.module.f.__annotations__ == {"x": "Y"}


def test_the_host_is_as_before(run):
    before = (sys.argv, list(sys.path), sys.modules["__main__"], Path.cwd())

    run("import os, sys\nsys.argv = []\nsys.path.append('x')\nos.chdir('/')\n1 / 0")

    assert (sys.argv, list(sys.path), sys.modules["__main__"], Path.cwd()) == before


def test_source_may_be_one_string_and_the_file_may_have_a_mark(folder):
    cells = [{"cell_type": "code", "source": "x = 1\ny = 'é'"}]
    text = json.dumps({"nbformat": 4, "nbformat_minor": 0, "cells": cells}, ensure_ascii=False)
    Path("nb.ipynb").write_text(text, encoding="utf-8-sig")

    [cell] = read_cells("nb.ipynb")

    assert (cell.number, cell.python.source) == (1, "x = 1\ny = 'é'")


V3 = {"nbformat": 3, "worksheets": []}
R = {"kernelspec": {"name": "ir", "language": "R"}}
JULIA = {"kernelspec": {"name": "julia"}, "language_info": {"name": "julia"}}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{'cells': 1}", "nb.ipynb is not a notebook: it is not JSON (line 1: Expecting property name"),
        ("", "nb.ipynb is not a notebook: it is not JSON (line 1: Expecting value)"),
        ("[" * 100_000, "nb.ipynb is not a notebook: it is not JSON"),
        (b"\xff\xfe\x00", "nb.ipynb is not a notebook: it is not UTF-8"),
        ("[1]", "nb.ipynb is not a notebook: its JSON has no nbformat"),
        ("{}", "nb.ipynb is not a notebook: its JSON has no nbformat"),
        (json.dumps(V3), "nb.ipynb has notebook format 3, only 4 can be read: jupyter nbconvert"),
        (notebook("x <- 1", **R), "nb.ipynb is a notebook in r, not in Python"),
        (notebook("x = 1", **JULIA), "nb.ipynb is a notebook in julia, not in Python"),
        (notebook(("markdown", "x")), "nb.ipynb has no code cells"),
        (notebook(" "), "nb.ipynb has no code cells"),
        (json.dumps({"nbformat": 4}), "nb.ipynb has no code cells"),
        (json.dumps({"nbformat": 4, "cells": [1, None, {}]}), "nb.ipynb has no code cells"),
    ],
)
def test_what_is_no_notebook_is_said_in_one_line(content, message, folder):
    Path("nb.ipynb").write_bytes(content if isinstance(content, bytes) else content.encode())

    with pytest.raises(UnreadableNotebook) as raised:
        run_notebook("nb.ipynb")

    assert str(raised.value).startswith(message)
    assert "\n" not in str(raised.value)


def test_a_missing_notebook_is_the_callers_error(folder):
    with pytest.raises(FileNotFoundError):
        run_notebook("nb.ipynb")
