from __future__ import annotations

import pytest

from lossproof.capture.script import End, run_script

# Each is a folder of files; `train.py` is run, with the words after "$" as its arguments.
SCRIPTS: dict[str, dict[str, str | bytes]] = {
    "prints": {"train.py": "print('hello')\nprint('é', 1 + 1)\n"},
    "what it sees": {
        "train.py $ a --b=c 'x'": """
            import sys
            print(sys.argv, __file__, __name__, sys.path[0], sys.path[1:] == sys.path[1:])
            print(list(globals()))
            print(__spec__, __package__, __doc__, __cached__, __builtins__, __annotations__, type(__loader__))
            print(__loader__.name, __loader__.path, sys.modules["__main__"].__dict__ is globals())
            import __main__
            print(__main__.sys is sys, __main__.__dict__ is globals())
            """
    },
    "docstring": {"train.py": '"""Trains."""\nprint(__doc__)\nx: int = 1\nprint(__annotations__)\n'},
    "no future of ours": {"train.py": "def f(x: Missing): pass\n"},
    "a future of its own": {
        "train.py": "from __future__ import annotations\ndef f(x: Missing): pass\nprint(f.__annotations__)\n"
    },
    "sibling": {
        "train.py": "import os, helper_a, package_a.inner\nprint(helper_a.X, package_a.inner.Y)\n",
        "helper_a.py": "X = 1\n",
        "package_a/__init__.py": "",
        "package_a/inner.py": "from . import other\nY = other.Z\n",
        "package_a/other.py": "Z = 2\n",
    },
    "error": {
        "train.py": """
            def f(x):
                return x / (x - 1)

            if __name__ == '__main__':
                print(f(2))
                print(f(
                    1
                ))
            """
    },
    "error in a sibling": {
        "train.py": "import helper_b\n\nclass A:\n    def run(self):\n        return helper_b.f([1])\n\nA().run()\n",
        "helper_b.py": "def f(x):\n    return [g(y) for y in x]\n\ndef g(y):\n    return {}[y]\n",
    },
    "error while importing a sibling": {
        "train.py": "import helper_c\n",
        "helper_c.py": "import helper_d\n",
        "helper_d.py": "1 / 0\n",
    },
    "syntax error in a sibling": {"train.py": "import helper_e\n", "helper_e.py": "x = (\n"},
    "missing module": {"train.py": "import helper_f\n", "helper_f.py": "import no_such_module_at_all\n"},
    "missing name": {"train.py": "from helper_g import nothing\n", "helper_g.py": ""},
    "suggestion": {"train.py": "import math\nlearning_rate = 1\nprint(learning_rat)\n"},
    "suggestion of an attribute": {"train.py": "import math\nmath.sqr(1)\n"},
    "cause": {
        "train.py": """
            def f():
                try:
                    {}['a']
                except KeyError as error:
                    raise ValueError('no a') from error

            try:
                f()
            except ValueError:
                raise RuntimeError('while handling')
            """
    },
    "no context": {"train.py": "try:\n    1 / 0\nexcept ZeroDivisionError:\n    raise ValueError('x') from None\n"},
    "group": {
        "train.py": """
            def make(text):
                try:
                    raise ValueError(text)
                except ValueError as error:
                    error.add_note('a note\\nof two lines')
                    return error

            try:
                raise KeyError('inner') from make('cause')
            except KeyError as error:
                raise ExceptionGroup('several', [make('a'), ExceptionGroup('more', [error, TypeError('b')])])
            """
    },
    "notes": {
        "train.py": "error = ValueError('x')\nerror.add_note('try this')\nerror.add_note('or é that')\nraise error\n"
    },
    "own exception": {
        "train.py": "class Trouble(Exception):\n    class Inner(Exception):\n        pass\n\nraise Trouble.Inner\n"
    },
    "exception of a sibling": {
        "train.py": "import helper_h\nraise helper_h.Trouble('x', 2)\n",
        "helper_h.py": "class Trouble(Exception): pass\n",
    },
    "exception that cannot be shown": {
        "train.py": "class Bad(Exception):\n    def __str__(self): return 1 / 0\n\nraise Bad\n"
    },
    "exception of several lines": {"train.py": "raise ValueError('one\\n  two\\n')\n"},
    "not an exception": {"train.py": "raise 3\n"},
    "base exception": {"train.py": "class Quit(BaseException): pass\nraise Quit('enough')\n"},
    "assertion": {"train.py": "x = [1, 2]\nassert len(x) == 3, f'{len(x)} rows'\n"},
    "in generated code": {"train.py": "exec('def f():\\n  1 / 0')\nf()\n"},
    "in a generator": {
        "train.py": """
            def rows():
                yield 1
                raise OSError(2, 'gone', 'data.csv')

            print(sum(x for x in rows()))
            """
    },
    "in a with": {
        "train.py": """
            import contextlib

            @contextlib.contextmanager
            def opened():
                try:
                    yield 1
                finally:
                    {}.missing

            with opened() as x:
                raise ValueError(x)
            """
    },
    "in the library": {"train.py": "import json\njson.loads('[1,')\n"},
    "stop iteration": {"train.py": "next(iter([]))\n"},
    "unicode": {"train.py": "größe = 'ß' * 3\nprint(ascii(größe)); größe + 1; 'äöü'\n"},
    "latin-1": {"train.py": "# -*- coding: latin-1 -*-\nx = 'é'\nprint(ascii(x))\nx + 'é' + 1\n".encode("latin-1")},
    "byte order mark": {"train.py": b"\xef\xbb\xbfx = 1\nprint(x)\n1 / 0\n"},
    "windows lines": {"train.py": b"x = 1\r\nif x:\r\n    print(x)\r\n    1 / 0\r\n"},
    "no encoding": {"train.py": b"x = 1\ny = 'caf\xe9'\n"},
    "no last newline": {"train.py": "1 / 0"},
    "empty": {"train.py": ""},
    "syntax: never closed": {"train.py": "x = 1\nprint((x)\n"},
    "syntax: after an accent": {"train.py": "x = 'é'; y = 'é' 3\n"},
    "syntax: indentation": {"train.py": "def f():\n  pass\n x\n"},
    "syntax: tabs": {"train.py": "def f():\n\tpass\n        x\n"},
    "syntax: string": {"train.py": "x = '''abc\n"},
    "syntax: print": {"train.py": "print 'x'\n"},
    "syntax: return": {"train.py": "x = 1\nreturn x\n"},
    "syntax: future": {"train.py": "from __future__ import braces\n"},
    "syntax: name": {"train.py": "def f():\n  x = 1\n  global x\n"},
    "syntax: in eval": {"train.py": "eval('1 +')\n"},
    "exit": {"train.py": "import sys\nprint(1)\nsys.exit()\nprint(2)\n"},
    "exit 0": {"train.py": "import sys\nsys.exit(0)\n"},
    "exit 3": {
        "train.py": "import sys\ndef f():\n    try:\n        sys.exit(3)\n    finally:\n        print('last')\n\nf()\n"
    },
    "exit -1": {"train.py": "import sys\nsys.exit(-1)\n"},
    "exit 1000": {"train.py": "import sys\nsys.exit(1000)\n"},
    "exit huge": {"train.py": "import sys\nsys.exit(2**70)\n"},
    "exit True": {"train.py": "import sys\nsys.exit(True)\n"},
    "exit text": {"train.py": "import sys\nsys.exit('no data: é')\n"},
    "exit object": {
        "train.py": "import sys\ntry:\n    1 / 0\nexcept ZeroDivisionError as error:\n    sys.exit(error)\n"
    },
    "exit tuple": {"train.py": "raise SystemExit(1, 2)\n"},
    "exit bad text": {"train.py": "import sys\nclass A:\n    def __str__(self): return 1 / 0\nsys.exit(A())\n"},
    "exit of its own": {"train.py": "class Done(SystemExit): pass\nraise Done(7)\n"},
    "exit in a handler": {"train.py": "import sys\ntry:\n    1 / 0\nexcept Exception:\n    sys.exit(4)\n"},
    "exit in a group": {"train.py": "raise BaseExceptionGroup('g', [SystemExit(3), ValueError(1)])\n"},
    "main returns": {
        "train.py": "import sys\ndef main():\n    return 5\nif __name__ == '__main__':\n    sys.exit(main())\n"
    },
    "quit": {"train.py": "quit(2)\n"},
    "argparse": {
        "train.py $ --rate 0.1 data": """
            import argparse
            parser = argparse.ArgumentParser(description='trains')
            parser.add_argument('data')
            parser.add_argument('--rate', type=float)
            print(parser.parse_args())
            """
    },
    "argparse help": {"train.py $ -h": "import argparse\nargparse.ArgumentParser(description='trains').parse_args()\n"},
    "argparse wrong": {
        "train.py $ --rate": """
            import argparse
            p = argparse.ArgumentParser()
            p.add_argument('--rate')
            p.parse_args()
            """
    },
    "deletes its arguments": {
        "train.py $ a": """
            import sys
            del sys.argv
            try:
                sys.argv
            except AttributeError as error:
                print(error)
            """
    },
    "deletes its module": {"train.py": "import sys\ndel sys.modules['__main__']\n1 / 0\n"},
    "rebinds everything": {
        "train.py": """
            import sys, io, os
            sys.argv = ['other']; sys.path = []; sys.stdout = io.StringIO(); sys.modules['__main__'] = sys
            os.makedirs('sub/sub'); os.chdir('sub/sub')
            print('nobody sees this')
            sys.stdout = sys.__stdout__
            raise ValueError('here')
            """
    },
    "pickle": {
        "train.py": """
            import copy, dataclasses, pickle

            @dataclasses.dataclass(frozen=True)
            class Config:
                rate: float = 0.1

            def loss(): return 3

            print(pickle.loads(pickle.dumps(Config(0.5))), pickle.loads(pickle.dumps(loss))(), Config.__module__)
            """
    },
    "typing and enum": {
        "train.py": """
            import enum, typing

            class Kind(enum.Enum):
                A = 1

            class Row(typing.NamedTuple):
                kind: 'Kind'

            print(Kind.A, Row(Kind.A), typing.get_type_hints(Row))
            """
    },
    "source": {
        "train.py": """
            import inspect

            def f(x):
                return x  # twice

            class A:
                x = 1

            g = lambda y: y + 1
            print(inspect.getsource(f), inspect.getsource(A), inspect.getsource(g), inspect.getsourcefile(f))
            """
    },
    "doctest": {
        "train.py": """
            def f():
                '''
                >>> f()
                2
                '''
                return 1

            import doctest
            print(doctest.testmod().failed)
            """
    },
    "in a subfolder": {
        "sub/../sub/./train.py": "import sys, helper_i\nprint(sys.argv, __file__, sys.path[0])\n1 / 0\n",
        "sub/helper_i.py": "",
    },
    "no suffix": {"train": "print(__file__)\n1 / 0\n"},
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_like_python(name, folder, write, python, capfd):
    """Output, exit status and traceback are those of `python SCRIPT`."""
    first, *_ = SCRIPTS[name]
    script, _, words = first.partition(" $ ")
    files = {key.partition(" $ ")[0]: content for key, content in SCRIPTS[name].items()}
    args = words.split()
    write(files)
    expected = python(script, *args)
    for made in folder.glob("sub/sub"):
        made.rmdir()
    write(files)
    capfd.readouterr()

    outcome = run_script(script, args)

    out, err = capfd.readouterr()
    assert out == expected.stdout
    assert err + (outcome.traceback or "") == expected.stderr
    assert outcome.status == expected.returncode
    assert (outcome.traceback is None) == (outcome.end in (End.FINISHED, End.EXITED))
    assert (outcome.exception is None) == (outcome.traceback is None)
