"""Standard output for the report alone."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def own_stdout(alone: bool) -> Iterator[io.TextIOBase]:
    """The stream for the report. `alone`: everything else that is written to stdout meanwhile goes to stderr.

    The file descriptor is diverted, not `sys.stdout`, because backends print from C++.
    """
    if not alone:
        yield sys.stdout  # type: ignore[misc]
        return
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        with os.fdopen(os.dup(kept), "w", encoding=sys.stdout.encoding or "utf-8", errors="backslashreplace") as stream:
            yield stream
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)
