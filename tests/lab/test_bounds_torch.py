"""What a GPU would not survive is refused beforehand: as the CPU refuses it, and nothing else is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

pytestmark = pytest.mark.backend("torch")
torch = pytest.importorskip("torch")

from lossproof.lab.backends.bounds_torch import CHECKS, Refusing

F = torch.nn.functional
SCORES = torch.linspace(-1.0, 1.0, 12).reshape(4, 3)
CHANCES = torch.linspace(0.05, 0.95, 12).reshape(4, 3)


def index(*numbers: int) -> Any:
    return torch.tensor(numbers)


REFUSED: dict[str, Callable[[], Any]] = {
    "binary_cross_entropy": lambda: F.binary_cross_entropy(CHANCES + 0.5, CHANCES),
    "binary_cross_entropy of targets": lambda: F.binary_cross_entropy(CHANCES, CHANCES - 0.5),
    "nll_loss_forward": lambda: F.cross_entropy(SCORES, index(0, 1, 2, 3)),
    "nll_loss_forward below": lambda: F.cross_entropy(SCORES, index(0, 1, 2, -1)),
    "nll_loss2d_forward": lambda: F.nll_loss(torch.zeros(1, 3, 2, 2), torch.full((1, 2, 2), 3)),
    "gather": lambda: torch.gather(SCORES, 1, index(3)[None]),
    "gather below": lambda: torch.gather(SCORES, 1, index(-1)[None]),
    "scatter": lambda: torch.zeros(3, 3).scatter(1, index(3)[None], 1.0),
    "scatter_": lambda: torch.zeros(3, 3).scatter_(1, index(3)[None], 1.0),
    "scatter_add": lambda: torch.zeros(3).scatter_add(0, index(5), torch.ones(1)),
    "scatter_add_": lambda: torch.zeros(3).scatter_add_(0, index(5), torch.ones(1)),
    "index_select": lambda: torch.index_select(SCORES, 0, index(4)),
    "index_add": lambda: torch.zeros(3).index_add(0, index(5), torch.ones(1)),
    "take": lambda: torch.take(SCORES, index(12)),
    "embedding": lambda: F.embedding(index(4), SCORES),
    "index": lambda: SCORES[index(4)],
    "index of a column": lambda: SCORES[:, index(-4)],
    "index_put": lambda: SCORES.index_put((index(4),), torch.tensor(1.0)),
    "index_put_": lambda: SCORES.clone().index_put_((index(4),), torch.tensor(1.0)),
    "multinomial": lambda: torch.multinomial(SCORES, 1),
}
TAKEN: list[Callable[[], Any]] = [
    lambda: F.binary_cross_entropy(CHANCES, CHANCES.round()),
    lambda: F.cross_entropy(SCORES, index(0, 1, 2, -100)),
    lambda: F.cross_entropy(SCORES, CHANCES),
    lambda: SCORES[index(-4, 3)],
    lambda: SCORES[SCORES > 0.0],
    lambda: SCORES[None, index(3)],
    lambda: torch.gather(SCORES, -1, index(2)[None]),
    lambda: torch.take(SCORES, index(-12)),
    lambda: F.one_hot(index(0, 2), 3),
    lambda: torch.multinomial(CHANCES, 2),
]


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_on_the_cpu_is_refused_before_the_operation(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises((RuntimeError, IndexError)):
        REFUSED[name]()
    reached: list[str] = []
    for one, check in CHECKS.items():
        monkeypatch.setitem(CHECKS, one, _told(check, reached))
    with Refusing(), pytest.raises((RuntimeError, IndexError)):
        REFUSED[name]()
    assert reached == ["refused"]


def _told(check: Callable[..., None], reached: list[str]) -> Callable[..., None]:
    def told(*args: Any) -> None:
        try:
            check(*args)
        except Exception:
            reached.append("refused")
            raise

    return told


@pytest.mark.parametrize("call", TAKEN)
def test_what_is_in_range_has_the_same_result(call: Callable[[], Any]) -> None:
    torch.manual_seed(0)
    expected = call()
    torch.manual_seed(0)
    with Refusing():
        assert torch.equal(call(), expected)


def test_gradients_pass() -> None:
    leaf = CHANCES.clone().requires_grad_(True)
    with Refusing():
        F.binary_cross_entropy(leaf, CHANCES.round()).backward()
    expected = (leaf - CHANCES.round()) / (leaf * (1 - leaf)) / leaf.numel()
    assert torch.allclose(leaf.grad, expected.detach())
