"""Run the examples and write docs/examples.md: each with its source and what it prints.

python scripts/examples.py            run them all and write the page
python scripts/examples.py --check    exit with 1 if the page shows another source than the files (nothing is run)
"""

from __future__ import annotations

import argparse
import ast
import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "examples" / "objectives"
PAGE = ROOT / "docs" / "examples.md"
BACKEND = "torch"
HEAD = f"""<!-- Written by scripts/examples.py; edit the examples instead. -->

# Examples of objectives

Each is a script of its own in `examples/objectives`, the same on TensorFlow, JAX and PyTorch; `tests/objective/test_examples.py`
compares the weights after 20 steps with those of a step written by hand. What they print is of {BACKEND}; the others differ
in the random numbers that they draw.
"""


def section(path: Path, printed: str) -> str:
    """The part of the page for one example."""
    source = path.read_text(encoding="utf-8")
    title, *rest = (ast.get_docstring(ast.parse(source)) or path.stem).split("\n\n")
    code = source.split('"""', 2)[2].strip()
    parts = [f"## {' '.join(title.split()).rstrip('.')}", *rest, f"```python\n{code}\n```"]
    parts.append(f"`KERAS_BACKEND={BACKEND} python {path.relative_to(ROOT)}` prints\n\n```\n{printed.strip()}\n```")
    return "\n\n".join(parts) + "\n"


def run(path: Path) -> str:
    """What the example prints.

    Raises:
        RuntimeError: It failed.
    """
    environment = os.environ | {"KERAS_BACKEND": BACKEND}
    done = subprocess.run(
        [sys.executable, path.name], cwd=path.parent, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{path} failed:\n{done.stderr}")
    return done.stdout


def printed_before() -> dict[str, str]:
    """What the page says that each example prints."""
    text = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
    found = re.findall(r"python examples/objectives/(\w+)\.py` prints\n\n```\n(.*?)\n```", text, re.DOTALL)
    return dict(found)


def page(printed: dict[str, str]) -> str:
    """The whole page."""
    sections = [section(path, printed.get(path.stem, "")) for path in sorted(FOLDER.glob("*.py"))]
    return "\n".join([HEAD, *sections])


def stale() -> bool:
    """Whether the page shows another source than the files."""
    return not PAGE.exists() or PAGE.read_text(encoding="utf-8") != page(printed_before())


def main() -> int:
    """Write or check the page; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="run and write nothing")
    if parser.parse_args().check:
        if stale():
            print("docs/examples.md is not up to date: run python scripts/examples.py")
        return int(stale())
    PAGE.write_text(page({path.stem: run(path) for path in sorted(FOLDER.glob("*.py"))}), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
