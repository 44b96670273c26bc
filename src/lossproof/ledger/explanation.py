"""What `lossproof.explain` returns: an account, what Keras reports of the same batch, and why the bar shows otherwise."""

from __future__ import annotations

import io
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from lossproof.ledger.entry import TOLERANCE, Entry
from lossproof.ledger.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console, ConsoleOptions, RenderResult

FORMAT = 1
"""The version of `to_dict`."""


@dataclass(frozen=True)
class Explanation:
    """Where every digit of a loss comes from, on one batch."""

    model: str
    backend: str
    entry: Entry
    """The account in training mode."""
    tested: Entry | None
    """The same as `evaluate` runs the model; None where a `test_step` of the user's hides it."""
    reported: dict[str, float]
    """What `fit` and `train_on_batch` log of this batch; empty where the step cannot be run."""
    evaluated: dict[str, float]
    """What `evaluate` logs of it."""
    reasons: tuple[Reason, ...]
    left_out: int = 0
    """How many rows of the arrays are not part of the batch."""

    @property
    def total(self) -> float:
        """What training minimises on the batch."""
        return self.entry.total

    @property
    def residual(self) -> float:
        """What the parts leave over of the number that Keras reports; of the total where it reports none."""
        loss = self.reported.get("loss")
        return self.entry.residual if loss is None else loss - self.entry.explained

    @property
    def closes(self) -> bool:
        """Whether the parts add up to the number that Keras reports, to one part in a million."""
        return abs(self.residual) <= TOLERANCE * max(self.entry.magnitude, abs(self.reported.get("loss", 0.0)))

    @property
    def cause(self) -> str | None:
        """Where the residual comes from; None if it is rounding."""
        if self.closes:
            return None
        if self.entry.cause is not None:
            return self.entry.cause
        return "the step reports another number than the one that it minimises"

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain dicts, lists and numbers; `version` counts changes of the form."""
        return {
            "version": FORMAT,
            "model": self.model,
            "backend": self.backend,
            "rows": self.entry.rows,
            "left_out": self.left_out,
            "account": account_dict(self.entry),
            "evaluation": None if self.tested is None else account_dict(self.tested),
            "reported": dict(self.reported),
            "evaluated": dict(self.evaluated),
            "total": self.total,
            "residual": self.residual,
            "closes": self.closes,
            "cause": self.cause,
            "reasons": [
                {"name": one.name, "text": one.text, "numbers": [{"label": k, "value": v} for k, v in one.numbers]}
                for one in self.reasons
            ],
        }

    def to_pandas(self) -> Any:
        """The account as a `pandas.DataFrame`, one row for each part; its column `contribution` adds up to the total.

        The last row is the residual, with its cause.

        Raises:
            ImportError: pandas is not installed.
        """
        try:
            import pandas as pd
        except ImportError as error:
            raise ImportError(
                "to_pandas() needs pandas, which is not installed: `pip install pandas`, or use to_dict()"
            ) from error
        return pd.DataFrame(list(_rows(self.entry)))

    # Display ------------------------------------------------------------------------------------------------------

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        from rich.text import Text

        yield Text.from_ansi(self._text(width=options.max_width, colour=console.color_system is not None))

    def __str__(self) -> str:
        import shutil

        return self._text(width=shutil.get_terminal_size((80, 24)).columns, colour=False).rstrip("\n")

    __repr__ = __str__

    def _repr_html_(self) -> str:
        from lossproof.ledger.page import to_html

        return to_html(self)

    def _text(self, width: int, colour: bool) -> str:
        from rich.console import Console

        from lossproof.ledger.terminal import render

        console = Console(
            file=io.StringIO(),
            width=width,
            highlight=False,
            markup=False,
            emoji=False,
            force_jupyter=False,
            force_terminal=colour,
            color_system="standard" if colour else None,
        )
        render(self, console)
        text: str = console.file.getvalue()  # type: ignore[attr-defined]
        return text


def account_dict(entry: Entry) -> dict[str, Any]:
    """An entry as plain dicts and lists, with whether it closes."""
    plain: dict[str, Any] = asdict(entry)
    return {**plain, "closes": entry.closes}


def _rows(entry: Entry) -> Iterator[dict[str, Any]]:
    for term in entry.terms:
        yield {
            "part": "term",
            "name": term.name,
            "what": term.loss,
            "raw": term.raw,
            "masked": term.masked,
            "weighted": term.weighted,
            "reduction": term.reduction,
            "value": term.value,
            "weight": term.weight,
            "contribution": term.contribution,
        }
    for one in entry.penalties:
        yield {
            "part": one.kind,
            "name": one.name,
            "what": one.what,
            "value": one.value,
            "weight": one.weight,
            "contribution": one.contribution,
        }
    yield {"part": "residual", "name": "residual", "what": entry.cause, "contribution": entry.residual}
