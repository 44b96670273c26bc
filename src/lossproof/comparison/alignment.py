"""Which training of run A belongs to which of run B."""

from __future__ import annotations

from lossproof.comparison.recording import Recording


def pairs(a: Recording, b: Recording, fit_a: int | None, fit_b: int | None) -> list[tuple[int, int]]:
    """Numbers (from 0) of trainings that belong together, in order.

    Those that were asked for; else one by one; where one run trains more often, the last ones belong together, since
    what comes out of a run comes out of its last training.

    Raises:
        ValueError: A run has no training of that number.
    """
    counts = len(a.trainings), len(b.trainings)
    for number, count, run in ((fit_a, counts[0], a), (fit_b, counts[1], b)):
        if number is not None and not 1 <= number <= count:
            raise ValueError(f"{run.name} trains {count} times, found no training number {number}")
    if fit_a is not None or fit_b is not None:
        return [((fit_a or counts[0]) - 1, (fit_b or counts[1]) - 1)]
    common = min(counts)
    return [(counts[0] - common + k, counts[1] - common + k) for k in range(common)]
