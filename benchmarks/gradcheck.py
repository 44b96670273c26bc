"""The numeric proof of a gradient against `torch.autograd.gradcheck(fast_mode=True)`, per direction, on 1e6 predictions."""

from __future__ import annotations

import statistics
import time

import numpy as np
import torch

from lossproof.capture.direct import captured_loss
from lossproof.lab.gradient.slopes import DIRECTIONS
from lossproof.lab.lab import Lab

ELEMENTS = 1_000_000
REPEATS = 5


def log_cosh(y_true, y_pred):  # noqa: ANN001, ANN201 - written as a user would
    """A smooth loss, in functions of torch: keras.ops computes in float32, on which gradcheck fails."""
    return (torch.nn.functional.softplus(2.0 * (y_pred - y_true)) - (y_pred - y_true)).mean(dim=-1)


def main() -> None:
    """Print the ratio."""
    from lossproof.lab.gradient.slopes import slopes_in_predictions

    rng = np.random.default_rng(0)
    y_true, y_pred = rng.normal(size=(2, ELEMENTS // 10, 10))
    run = captured_loss(log_cosh, y_true, y_pred, None)
    target = torch.tensor(y_true)
    ours, theirs = [], []
    for _ in range(REPEATS):
        lab = Lab(run.captures[0], run)
        [subject] = lab.subjects
        began = time.perf_counter()
        lab.once(slopes_in_predictions, subject)
        ours.append((time.perf_counter() - began) / DIRECTIONS)
        point = torch.tensor(y_pred, requires_grad=True)
        began = time.perf_counter()
        torch.autograd.gradcheck(lambda p: log_cosh(target, p).sum(), (point,), fast_mode=True)
        theirs.append(time.perf_counter() - began)
    a, b = statistics.median(ours), statistics.median(theirs)
    print("| numeric proof, 1e6 predictions | per direction |")
    print("|---|---|")
    print(f"| lossproof | {a * 1e3:.0f} ms |")
    print(f"| torch.autograd.gradcheck(fast_mode=True) | {b * 1e3:.0f} ms |")
    print(f"| ratio | {a / b:.2f} |")


if __name__ == "__main__":
    main()
