"""What depends on the process as a whole, in a process of its own."""

from __future__ import annotations

import threading

import pytest

from lossproof.capture.script import run_script

IN_A_PROCESS = {
    "warnings": """
        import warnings
        def f():
            warnings.warn('mind the gap', stacklevel=2)
        f()
        f()
        warnings.warn('old', DeprecationWarning)
        x = 1 is 1
        """,
    "a thread that goes on": """
        import threading, time
        def work():
            time.sleep(0.2)
            print('worked', __name__)
        threading.Thread(target=work).start()
        print('main is done')
        """,
    "a thread that goes on after an error": """
        import threading, time
        def work():
            time.sleep(0.2)
            print('worked')
        threading.Thread(target=work).start()
        1 / 0
        """,
    "a timer": "import threading\nthreading.Timer(0.2, lambda: print('rang')).start()\n",
    "a pool left open": """
        from concurrent.futures import ThreadPoolExecutor
        pool = ThreadPoolExecutor(2)
        print(list(pool.map(abs, [-1, 2])))
        """,
    "a daemon": "import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()\n",
    "an error in a thread": "import threading\nt = threading.Thread(target=lambda: 1 / 0)\nt.start()\nt.join()\n",
    "a fork": """
        import os, sys
        child = os.fork()
        if child:
            os.waitpid(child, 0)
        sys.stdout.write('parent\\n' if child else 'child\\n')
        """,
    "a fork that fails": """
        import os
        child = os.fork()
        if child:
            print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        else:
            raise ValueError('in the child')
        """,
    "spawned processes": """
        import multiprocessing

        def work(x):
            return x * 2

        if __name__ == '__main__':
            with multiprocessing.get_context('spawn').Pool(1) as pool:
                print(pool.map(work, [1, 2]))
        """,
    "forked processes": """
        import multiprocessing
        print(multiprocessing.get_context('fork').Pool(1).map(len, ['a']))
        """,
}


@pytest.mark.parametrize("name", IN_A_PROCESS)
def test_like_python_in_a_process(name, python, driven):
    ours = driven(IN_A_PROCESS[name])
    expected = python("train.py")

    out, host, rest = ours.stdout.partition("host:")
    assert out == expected.stdout
    assert sorted(ours.stderr.splitlines()) == sorted(expected.stderr.splitlines())
    assert host
    assert "host:" not in rest, "only the process that called us goes on after the script"


def test_exit_functions_are_left_to_the_interpreter(driven):
    ours = driven("import atexit\natexit.register(print, 'goodbye')\nprint('hello')\n")

    assert ours.stdout.splitlines() == [
        "hello",
        "host: finished 0 ()",
        "goodbye",
        "the last thing the host prints",
    ]


def blocked(end):
    return f"""
        import threading
        from lossproof.capture.script import EnoughSeen
        release = threading.Event()
        def produce():
            release.wait()
        threading.Thread(target=produce, name='producer').start()
        {end}
        """


@pytest.mark.parametrize(
    ("end", "patience"), [("", 0.1), ("raise EnoughSeen", None), ("raise KeyboardInterrupt", None)]
)
def test_a_blocked_thread_does_not_hold_us(end, patience, write):
    """A thread may wait for what the script would have done next, had it not been stopped."""
    write({"train.py": blocked(end)})

    outcome = run_script("train.py", patience=patience)

    assert outcome.threads == ("producer",)
    outcome.module.release.set()
    for thread in threading.enumerate():
        if thread.name == "producer":
            thread.join(10)
            assert not thread.is_alive()


RECURSIONS = {
    "endless": "def f(x):\n    return f(x + 1)\n\nf(0)\n",
    "mutual": "def f(x): return g(x)\ndef g(x): return f(x)\nf(0)\n",
    "deep": "def f(x):\n    return 0 if x == 0 else 1 + f(x - 1)\n\nprint(f(994))\n",
    "limited": """
        import sys
        sys.setrecursionlimit(400)
        def f(x):
            return f(x + 1)

        try:
            f(0)
        except RecursionError:
            print(1)
        """,
}


@pytest.mark.parametrize("name", RECURSIONS)
def test_recursion_is_as_deep_as_under_python(name, write, python, driven):
    """The frames of the caller do not take from the script's."""
    ours = driven(RECURSIONS[name])
    expected = python("train.py")

    assert ours.stderr == expected.stderr
    assert ours.stdout.partition("host:")[0] == expected.stdout
