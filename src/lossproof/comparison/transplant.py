"""What a run can be given of another one."""

from __future__ import annotations

from dataclasses import dataclass

from lossproof.comparison.recording import Training

ORGANS = ("backend", "mode", "functions", "rng", "weights", "batches", "optimizer", "objective")
"""`backend` and the sources of the `objective` are given to the whole run, the others to one of its trainings."""


@dataclass(frozen=True, eq=False)
class Transplant:
    """Some things of run A, given to run B.

    Attributes:
        organs: Which of `ORGANS`.
        number: The training of run B that gets them, from 0.
        donor: The training of run A that they are taken from.
        donor_number: Its number in run A, from 0.
    """

    organs: tuple[str, ...]
    number: int
    donor: Training
    donor_number: int

    def has(self, organ: str, number: int) -> bool:
        """Whether a training of the run is given this."""
        return organ in self.organs and number == self.number
