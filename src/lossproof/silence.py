"""Keeps what the audit makes the user's code print out of the script's own output."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def silence() -> Iterator[None]:
    """Inside, nothing reaches stdout and stderr, backends that print from C++ included, and nothing warns."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = os.dup(1), os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    streams = sys.stdout, sys.stderr
    logging.disable(logging.CRITICAL)
    with open(os.devnull, "w", encoding="utf-8") as null, warnings.catch_warnings():  # noqa: PTH123 - no path
        warnings.simplefilter("ignore")
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
        sys.stdout = sys.stderr = null
        try:
            yield
        finally:
            sys.stdout, sys.stderr = streams
            os.dup2(kept[0], 1)
            os.dup2(kept[1], 2)
            logging.disable(logging.NOTSET)
            for descriptor in (*kept, nowhere):
                os.close(descriptor)
