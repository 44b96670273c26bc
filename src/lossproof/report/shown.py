"""What a report does with itself in a terminal, in a notebook and as text."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar

from rich.text import Text

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult


class Shown:
    """A report that prints itself. It shows the same everywhere, as far as there is room."""

    text_width: ClassVar[int] = 100
    """Cells of a line, where there is no terminal to ask."""

    @abstractmethod
    def render(self, console: Console) -> None:
        """Write it to `console`; nothing of it is read as rich markup."""

    def __str__(self) -> str:
        from io import StringIO

        from lossproof.report.typeset import console_for

        text = StringIO()
        self.render(console_for(text, width=self.text_width))
        return text.getvalue().rstrip("\n")

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        with console.capture() as captured:
            self.render(console)
        yield Text.from_ansi(captured.get())

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        from html import escape

        return f"<pre style='line-height:1.3'>{escape(str(self))}</pre>"
