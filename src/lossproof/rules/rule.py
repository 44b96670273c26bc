"""The contract of a rule: what it says of itself, its two examples, and its check."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from lossproof.findings.finding import Finding, Severity

if TYPE_CHECKING:
    from lossproof.lab.lab import Lab

ALL_BACKENDS = ("tensorflow", "jax", "torch")


class NotApplicable(Exception):  # noqa: N818 - an answer, not an error
    """Raised by a check that has nothing to test in this capture; its text is the reason, in a few words."""


class Rule(ABC):
    """One kind of objective bug.

    A subclass stands alone in its file; `registry.rules()` finds it. `tests/contracts` holds it to this contract: the
    examples are run, on each backend of `backends`, as scripts of their own. In `guilty`, the line that the finding
    must point at ends in `# expect: CODE`. `innocent` is the nearest healthy relative of `guilty`.
    """

    code: ClassVar[str]
    name: ClassVar[str]
    severity: ClassVar[str]
    """The usual severity, as shown in the list of rules."""
    summary: ClassVar[str]
    """Completes "The objective ...", without a full stop."""
    explanation: ClassVar[str]
    """Markdown: what happens, why nothing raises, how it is proven, what to do."""
    source: ClassVar[tuple[str, ...]]
    """Where the facts come from: a Keras file, a paper, a thread."""
    guilty: ClassVar[str]
    innocent: ClassVar[str]
    backends: ClassVar[tuple[str, ...]] = ALL_BACKENDS
    """Where the guilty example is guilty. The innocent one is innocent everywhere."""
    asked: ClassVar[Mapping[str, Any]] = {}
    """What the two examples are checked with, as arguments of `pipeline.check_script`: for what is checked on request."""
    note_only: ClassVar[bool] = False
    yields_to: ClassVar[tuple[str, ...]] = ()
    """Codes that name the same bug more exactly: where one of them is found in the same capture, this one is left out."""

    @abstractmethod
    def check(self, lab: Lab) -> Iterator[Finding]:
        """Yield the findings that the capture of `lab` proves.

        Raises:
            NotApplicable: There is nothing to test, with the reason.
        """

    @classmethod
    def usual(cls) -> Severity:
        """The first severity named in `severity`."""
        return Severity(cls.severity.split()[0].strip(",/"))
