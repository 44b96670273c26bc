"""`Pace` against a training whose steps and accounts take a known time."""

from __future__ import annotations

import pytest

from lossproof.ledger.pace import Pace


def simulated(pace: Pace, step_seconds: float, cost: float, steps: int, start: int = 0, many: int = 1) -> list[int]:
    """The steps at which accounts are kept; the clock is that of the simulation."""
    now, kept = 0.0, []
    pace.start(start)
    for step in range(start, start + steps, many):
        last = step + many - 1
        if pace.reached(last) and pace.due(step, last, now):
            now += cost + (100 * cost if not kept else 0.0)  # the first one is compiled
            pace.took(cost)
            pace.done(step, last, now, cost)
            kept.append(step)
        now += many * step_seconds
    return kept


def test_a_fixed_interval_is_kept_to_whatever_it_takes() -> None:
    assert simulated(Pace(7), 0.001, 1.0, 30) == [0, 7, 14, 21, 28]
    assert simulated(Pace(7), 0.001, 1.0, 20, start=5) == [7, 14, 21]
    assert simulated(Pace(4), 0.001, 1.0, 20, many=3) == [0, 3, 6, 12, 15, 18]  # that hold 0, 4, 8, ...


@pytest.mark.parametrize(("cost", "interval"), [(0.5, 100), (1.0, 100), (1.01, 200), (2.5, 400), (25.0, 3200)])
def test_the_interval_is_the_least_that_the_share_allows(cost: float, interval: int) -> None:
    """A step of 1 s and a share of 1 %: an account of c seconds may be kept every 100 c steps."""
    pace = Pace(100, 0.01)
    kept = simulated(pace, 1.0, cost, 20_000)
    assert pace.interval == interval
    assert kept == list(range(0, 20_000, interval))
    assert len(kept[1:]) * cost <= 0.01 * 20_000


def test_one_slow_account_does_not_decide() -> None:
    pace = Pace(100, 0.01)
    simulated(pace, 1.0, 0.5, 1000)
    pace.took(1000.0)
    assert pace.interval == 100


def test_a_second_fit_does_not_count_what_lies_between() -> None:
    pace = Pace(100, 0.01)
    simulated(pace, 1.0, 2.0, 2000)
    assert simulated(pace, 1.0, 2.0, 1000, start=2000) == [2000, 2200, 2400, 2600, 2800]
