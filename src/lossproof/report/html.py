"""A report as one HTML page that needs nothing else: colours and marks as in the terminal."""

from __future__ import annotations

import io
from html import escape

from rich.console import Console
from rich.terminal_theme import DEFAULT_TERMINAL_THEME

from lossproof.report.report import Report
from lossproof.report.terminal import render

WIDTH = 100
_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body {{ margin: 2rem auto; max-width: 110ch; padding: 0 1rem; color: {{foreground}}; background: {{background}}; }}
pre {{ font-family: ui-monospace, Menlo, Consolas, monospace; line-height: 1.35; overflow-x: auto; }}
{{stylesheet}}
</style>
</head>
<body>
<h1>{title}</h1>
<pre><code>{{code}}</code></pre>
</body>
</html>
"""


def to_html(report: Report) -> str:
    """The page, with everything that the terminal shows when it is asked for all."""
    console = Console(
        file=io.StringIO(),
        record=True,
        width=WIDTH,
        force_terminal=True,
        color_system="truecolor",
        highlight=False,
        markup=False,
        emoji=False,
        force_jupyter=False,
    )
    render(report, console, verbose=True)
    title = escape(f"lossproof: {report.script or 'report'}").replace("{", "{{").replace("}", "}}")
    page = _PAGE.format(title=title)
    # rich fills the fields that are left; braces of the style sheet are doubled for it.
    page = page.replace("body {", "body {{").replace("pre {", "pre {{").replace("; }", "; }}")
    return console.export_html(theme=DEFAULT_TERMINAL_THEME, code_format=page)
