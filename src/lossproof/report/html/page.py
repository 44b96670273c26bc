"""A page from a template: one file that needs no network, with the charts' library inside where there are charts."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from lossproof.report.html.chart import Chart
from lossproof.report.html.extra import require
from lossproof.report.wording import printable


@cache
def _environment() -> Any:
    import jinja2

    # Everything is escaped, and a name that the template misspells raises.
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("lossproof.report.html"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: printable(value) if isinstance(value, str) and not hasattr(value, "__html__") else value,
    )
    environment.policies["json.dumps_kwargs"] = {"sort_keys": False, "allow_nan": False}
    return environment


def page(template: str, charts: Sequence[Chart], **content: Any) -> str:
    """The page of a template.

    Args:
        template: Its name in `templates`.
        charts: Every chart of the page: the library is put in if there is one.
        content: What the template asks for.

    Raises:
        MissingExtra: Jinja2 or Plotly is not installed.
    """
    require()
    library = ""
    if charts:
        from plotly.offline import get_plotlyjs

        library = get_plotlyjs()
    rendered: str = _environment().get_template(template).render(charts=charts, charts_library=library, **content)
    return rendered
