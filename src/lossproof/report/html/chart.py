"""Charts of a page, drawn in the browser by Plotly; each with its numbers as a table, for readers who cannot see it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lossproof.report.wording import Value, number

# Told apart by the colour-blind: Okabe and Ito 2008, without black and yellow, which one of the two themes would hide.
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9")
_HEIGHT = 320
_ROW = 44
_NAME = 18
"""Letters of a name beside an axis; the whole name stands in the table and where the pointer is."""


@dataclass(frozen=True)
class Table:
    """Numbers in rows under heads."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Chart:
    """A chart: a title, a sentence that says what it shows, Plotly's figure, and the same as a table."""

    title: str
    caption: str
    figure: Mapping[str, Any]
    table: Table


def _figure(traces: Sequence[Any], *, height: int = _HEIGHT, **layout: Any) -> Mapping[str, Any]:
    from plotly import graph_objects

    figure = graph_objects.Figure(list(traces))
    figure.update_layout(
        height=height,
        margin={"l": 8, "r": 8, "t": 8, "b": 8},
        colorway=COLOURS,
        font={"family": "inherit"},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        legend={"orientation": "h", "x": 0.0, "y": 1.0, "yanchor": "bottom"},
        **layout,
    )
    figure.update_xaxes(automargin=True)
    figure.update_yaxes(automargin=True)
    made: Mapping[str, Any] = json.loads(figure.to_json())
    made["layout"].pop("template", None)  # the page has two themes of its own
    return made


def plain_text(name: str) -> str:
    """`name` as Plotly shows it: it reads a few HTML tags in texts, which the user's names are not."""
    return name.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _labelled(names: Sequence[str]) -> dict[str, Any]:
    """An axis of names, each in its place whatever it is called."""
    texts = [
        plain_text(
            name if len(name) <= _NAME else f"{name[: _NAME // 2]}\N{HORIZONTAL ELLIPSIS}{name[-_NAME // 2 + 1 :]}"
        )
        for name in names
    ]
    return {"tickmode": "array", "tickvals": list(range(len(names))), "ticktext": texts}


def bars(title: str, caption: str, parts: Mapping[str, float], unit: str) -> Chart:
    """One bar for each part, from 0 to its value."""
    from plotly import graph_objects

    names = list(parts)
    bar = graph_objects.Bar(
        x=[parts[name] for name in names],
        y=list(range(len(names))),
        orientation="h",
        marker={"color": [COLOURS[k % len(COLOURS)] for k in range(len(names))]},
        customdata=[plain_text(name) for name in names],
        hovertemplate="%{customdata}: %{x:.4g}<extra></extra>",
    )
    figure = _figure(
        [bar],
        height=80 + _ROW * len(names),
        xaxis={"title": {"text": unit}},
        yaxis={**_labelled(names), "autorange": "reversed"},
    )
    return Chart(title, caption, figure, Table(("", unit), tuple((n, number(parts[n])) for n in names)))


def curves(
    title: str, caption: str, steps: Sequence[int], series: Mapping[str, Sequence[Value]], unit: str, *, stacked: bool
) -> Chart:
    """One line for each series over the steps; stacked on each other where `stacked`."""
    from plotly import graph_objects

    group = {"stackgroup": "all"} if stacked else {}
    traces = [
        graph_objects.Scatter(
            x=list(steps),
            y=list(values),
            name=plain_text(name),
            mode="lines",
            hovertemplate="step %{x}: %{y:.4g}",
            **group,
        )
        for name, values in series.items()
    ]
    figure = _figure(
        traces,
        xaxis={"title": {"text": "step"}},
        yaxis={"title": {"text": unit, "standoff": 12}},
        hovermode="x unified",
        showlegend=True,
    )
    rows = [
        (str(step), *(number(values[k]) for values in series.values()))
        for k, step in enumerate(steps)
        if k in _few(steps)
    ]
    return Chart(title, caption, figure, Table(("step", *series), tuple(rows)))


def _few(steps: Sequence[int], most: int = 50) -> set[int]:
    """The places of at most `most` steps, the first and the last among them."""
    n = len(steps)
    return set(range(n)) if n <= most else {round(k * (n - 1) / (most - 1)) for k in range(most)}


def heat_map(
    title: str, caption: str, rows: Sequence[str], columns: Sequence[str], values: Sequence[Sequence[float | None]],
    span: tuple[float, float], unit: str,
) -> Chart:  # fmt: skip
    """A cell for each row and column, its colour between the ends of `span`, its number written in it."""
    from plotly import graph_objects

    shown = [[number(value) for value in row] for row in values]
    # Red over neutral to blue where 0 lies between the ends; else from neutral to blue.
    scale = "RdBu" if span[0] < 0 < span[1] else [[0.0, "#e6eef5"], [1.0, COLOURS[0]]]
    cells = graph_objects.Heatmap(
        z=[list(row) for row in values],
        x=list(range(len(columns))),
        y=list(range(len(rows))),
        zmin=span[0],
        zmax=span[1],
        colorscale=scale,
        text=[["" if value is None else f"{value:z.2f}" for value in row] for row in values],
        texttemplate="%{text}",
        customdata=[[[plain_text(row), plain_text(column)] for column in columns] for row in rows],
        hovertemplate="%{customdata[0]}, %{customdata[1]}: " + unit + " %{z:.4g}<extra></extra>",
        showscale=False,  # each cell has its number in it
    )
    axes = {"xaxis": _labelled(columns), "yaxis": {**_labelled(rows), "autorange": "reversed"}}
    figure = _figure([cells], height=120 + _ROW * len(rows), **axes)
    body = tuple((name, *cells_of) for name, cells_of in zip(rows, shown, strict=True))
    return Chart(title, caption, figure, Table(("", *columns), body))
