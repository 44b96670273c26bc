"""Waits for the threads that a script leaves behind, as Python does before it exits."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Collection

from lossproof.capture.userfiles import is_user_file

_LOOK_EVERY = 0.05  # seconds


def wait_for_threads(known: Collection[threading.Thread], patience: float | None) -> tuple[str, ...]:
    """Wait for non-daemon threads while they run the user's code; returns the names of those that still do.

    Threads that merely stand ready (the workers of a ThreadPoolExecutor, joblib's manager) end when the interpreter
    exits and not before, so to join all of them would be to wait for ever.

    Args:
        known: Threads that are not the script's.
        patience: Seconds to wait at most; None to wait as long as they run.
    """
    deadline = None if patience is None else time.monotonic() + patience
    while busy := [t for t in threading.enumerate() if not t.daemon and t not in known and _runs_user_code(t)]:
        if deadline is not None and time.monotonic() >= deadline:
            break
        try:
            busy[0].join(_LOOK_EVERY)
        except KeyboardInterrupt:  # the user has waited long enough
            break
    return tuple(thread.name for thread in busy)


def _runs_user_code(thread: threading.Thread) -> bool:
    if thread is threading.current_thread():
        return False
    frame = sys._current_frames().get(thread.ident or 0)  # noqa: SLF001 - documented, there is no other way
    files = set()
    while frame is not None:
        files.add(frame.f_code.co_filename)
        frame = frame.f_back
    # Nothing but `threading` itself: the thread is only starting, or it is a Timer that waits for its time.
    return any(is_user_file(file) for file in files) or files <= {threading.__file__}
