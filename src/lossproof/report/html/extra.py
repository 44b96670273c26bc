"""What HTML pages need beyond the core: Jinja2 for the pages, Plotly for the charts."""

from __future__ import annotations

import importlib.util

NEEDED = ("jinja2", "plotly")


class MissingExtra(Exception):  # noqa: N818 - shown to the user as one line
    """A package of the extra `html` is not installed; the text is one line for the user."""


def require() -> None:
    """Raise where a page could not be written, before any work is done for it.

    Raises:
        MissingExtra: With the command that installs what is missing.
    """
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        names = " and ".join(missing)
        raise MissingExtra(f"HTML pages need {names}, not installed here: pip install 'lossproof[html]'")
