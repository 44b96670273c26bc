"""How numbers, places, fixes and totals are put into words, the same in every format."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Sequence

from lossproof.findings.finding import Finding, Fix, Place, Severity
from lossproof.report.report import Report

Value = float | str | None

SEVERITIES = (Severity.ERROR, Severity.WARNING, Severity.NOTE)

# Within these decimal exponents a number is written out; beyond, with an exponent of ten.
_PLAIN = range(-4, 6)
# Numbers of one table share their decimals, so that they line up, when their exponents differ by no more than this.
_SHARED = 2


def _exponent(value: float) -> int:
    """The decimal exponent after rounding to four digits: 1 for 9.9999."""
    return int(f"{value:.3e}".partition("e")[2])


def number(value: Value, *, trim: bool = False) -> str:
    """`value` to four significant digits: `8.119`, `12.74`, `1.234e-05`, `NaN`, `-inf`; `-` for None.

    Whole numbers of type int and strings stay as they are. With `trim`, zeros at the end are left out (`0.5`).
    """
    if value is None:
        return "-"
    if isinstance(value, (str, int)):
        return str(value)
    value = float(value)
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    if value == 0:
        return "0"
    exponent = _exponent(value)
    if exponent in _PLAIN:
        text = f"{value:.{max(0, 3 - exponent)}f}"
        return text.rstrip("0").rstrip(".") if trim and "." in text else text
    mantissa, _, power = f"{value:.3e}".partition("e")
    return f"{mantissa.rstrip('0').rstrip('.') if trim else mantissa}e{power}"


def numbers(values: Sequence[Value]) -> list[str]:
    """The values of one table: with common decimals if all have a similar size, else each by itself as in `number`.

    The smallest keeps four significant digits: `8.119`, `12.744`, `0.000`.
    """
    floats = [v for v in values if isinstance(v, float) and math.isfinite(v)]
    exponents = [_exponent(v) for v in floats if v != 0]
    if not exponents or max(exponents) - min(exponents) > _SHARED or not {*exponents} <= {*_PLAIN}:
        return [number(v) for v in values]
    decimals = max(0, 3 - min(exponents))
    return [f"{v:.{decimals}f}" if isinstance(v, float) and math.isfinite(v) else number(v) for v in values]


def printable(text: str) -> str:
    """`text` without characters that steer a terminal or reorder a line; they are spelled out, as in `\\x1b`.

    Newlines and tabs stay.
    """
    if text.isprintable():
        return text
    return "".join(_spelled(c) if _steers(c) else c for c in text)


def _steers(char: str) -> bool:
    if char in "\n\t":
        return False
    # Cc: control, Cs: half of a surrogate pair, Zl and Zp: line and paragraph separators. Of the invisible formatting
    # characters only those that reorder text are dangerous; others, like the joiner of emoji, are wanted.
    return unicodedata.category(char) in {"Cc", "Cs", "Zl", "Zp"} or unicodedata.bidirectional(char) in {
        "LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"
    }  # fmt: skip


def _spelled(char: str) -> str:
    return f"\\x{ord(char):02x}" if ord(char) < 0x100 else f"\\u{ord(char):04x}"


def place(where: Place) -> str:
    """`train.py:12`, or `nb.ipynb cell 3:2` for line 2 of cell 3."""
    return f"{where.file} cell {where.cell}:{where.line}" if where.cell is not None else f"{where.file}:{where.line}"


def sentence(text: str) -> str:
    """`text` with a capital letter and a full stop, unless it has them or begins with a name in code."""
    text = text.strip()
    first = text.split(" ", 1)[0]
    if first.isalpha() and first.islower():
        text = text[0].upper() + text[1:]
    return text if not text or text[-1] in ".?!:" else text + "."


def fix_text(fix: Fix) -> str:
    """The fix in words, with its place and, on a line of its own, its code."""
    words = f"At {place(fix.where)}: {fix.text}" if fix.where else fix.text
    return f"{words}\n{fix.code}" if fix.code else words


def message(finding: Finding) -> str:
    """A finding in a few plain lines, for formats without a layout: what, the measured change, the fix."""
    proof = finding.counterfactual
    lines = [" ".join(filter(None, (sentence(finding.title), finding.explanation.strip())))]
    if finding.where is not None and finding.where.cell is not None:
        lines.append(f"Place: {place(finding.where)}")
    if proof.before is not None or proof.after is not None:
        before, after = numbers([proof.before, proof.after])
        change = f" ({proof.change})" if proof.change else ""
        lines.append(f"{proof.label}: {before} {proof.columns[0]}, {after} {proof.columns[1]}{change}")
    advice = fix_text(finding.fix)
    lines.append(f"Fix at {advice.removeprefix('At ')}" if finding.fix.where else f"Fix: {advice}")
    return printable("\n".join(lines))


def last_line(trace: str) -> str:
    """What went wrong, of a traceback."""
    return trace.strip().rpartition("\n")[2].strip() or "unknown error"


def count(n: int, noun: str) -> str:
    """`1 error`, `2 errors`."""
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def totals(report: Report) -> str:
    """`2 errors, 1 warning, 3 notes; 14 rules checked, 2 not applicable`."""
    found = [(sum(f.severity == s for f in report.findings), s.value) for s in SEVERITIES]
    first = [count(n, noun) for n, noun in found if n] or ["no findings"]
    second = [f"{count(len(report.checked), 'rule')} checked"]
    if report.skipped:
        second.append(f"{len(report.skipped)} not applicable")
    if report.crashed:
        second.append(f"{len(report.crashed)} crashed")
    parts = [", ".join(first), ", ".join(second)]
    if report.script_error is not None:
        parts.append("the script failed")
    return "; ".join(parts)
