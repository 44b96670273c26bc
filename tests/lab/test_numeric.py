"""Numeric slopes against calculus, and their error bars against the truth: at kinks, edges, in stairs and in float32."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from lossproof.lab.gradient.numeric import holds_closer, noise_of, slope

SMOOTH: dict[str, tuple[Callable[[float], float], float]] = {
    "exp": (lambda t: math.exp(3.0 * t), 3.0),
    "sin": (lambda t: 5.0 + math.sin(2.0 * t), 2.0),
    "cubic": (lambda t: (t + 1.0) ** 3, 3.0),
    "log": (lambda t: math.log(1.2 + t), 1.0 / 1.2),
    "large offset": (lambda t: 1e6 + t, 1.0),
}


@pytest.mark.parametrize("name", SMOOTH)
def test_the_slope_of_a_smooth_function(name: str) -> None:
    function, truth = SMOOTH[name]
    found = slope(function, "float64", function(0.0))
    assert abs(found.value - truth) <= found.error
    assert found.error < 1e-3 * abs(truth)
    assert not found.contradicts(truth)
    assert found.contradicts(1.01 * truth)


@pytest.mark.parametrize("name", ["exp", "sin", "cubic"])
def test_in_float32_the_error_is_larger_and_still_a_bound(name: str) -> None:
    function, truth = SMOOTH[name]
    rough = slope(lambda t: float(np.float32(function(float(np.float32(t))))), "float32", function(0.0))
    exact = slope(function, "float64", function(0.0))
    assert abs(rough.value - truth) <= rough.error
    assert exact.error < rough.error < 0.2 * abs(truth)


@pytest.mark.parametrize("kink", [0.0, 1e-5, -3e-6, 1e-4])
def test_a_kink_raises_no_alarm(kink: float) -> None:
    def hinge(t: float) -> float:
        return 2.0 + abs(t - kink)

    found = slope(hinge, "float64", hinge(0.0))
    for subgradient in (-1.0, 1.0) if kink == 0.0 else (1.0 if kink < 0.0 else -1.0,):
        assert not found.contradicts(subgradient)


def test_a_kink_among_many_smooth_elements_raises_no_alarm() -> None:
    random = np.random.default_rng(0)
    at, way = random.normal(size=1000), random.normal(size=1000)

    def total(t: float) -> float:
        return float(np.abs(at + t * way).mean())

    truth = float((np.sign(at) * way).mean())
    assert not slope(total, "float64", total(0.0)).contradicts(truth)
    assert slope(total, "float64", total(0.0)).contradicts(truth + 0.5)


@pytest.mark.parametrize(
    "function",
    [lambda t: math.floor(5.0 * t + 0.5), lambda t: 3.0, lambda t: float(np.float16(2.0 + 0.3 * t))],
    ids=["stairs", "flat", "a cast to float16"],
)
def test_what_does_not_tell_neighbours_apart_has_no_slope(function: Callable[[float], float]) -> None:
    found = slope(function, "float64", function(0.0))
    assert math.isinf(found.error)
    assert not found.contradicts(1e9)


def test_at_the_edge_of_the_domain_the_step_comes_closer() -> None:
    def root(t: float) -> float:
        return math.sqrt(t + 1e-5) if t > -1e-5 else math.nan

    found = slope(root, "float64", root(0.0))
    truth = 0.5 / math.sqrt(1e-5)
    assert math.isinf(found.error) or abs(found.value - truth) <= found.error


@pytest.mark.parametrize("amplitude", [1e-9, 1e-6])
def test_the_noise_is_that_of_the_function(amplitude: float) -> None:
    def noisy(t: float) -> float:
        bits = int(np.float64(t).view("uint64"))
        return t + amplitude * float(np.random.default_rng(bits).normal())

    assert amplitude / 4.0 < noise_of(noisy, "float64") < 4.0 * amplitude


def cut_log(t: float) -> float:
    """-log(1 - p) of a p on the bound at which it is clipped, as a sigmoid near 1 in float32 gives it."""
    bound = 1.0 - 2.0**-23
    return 5.0 - math.log(1.0 - min(bound * (1.0 + t), bound)) + 30.0 * t


def stepped(t: float) -> float:
    """The same in steps of 1e-9, as a part of it may be computed in less than the rest."""
    return round(cut_log(t), 9)


@pytest.mark.parametrize("function", [cut_log, stepped])
def test_a_contradiction_at_a_kink_does_not_hold_closer(function: Callable[[float], float]) -> None:
    one_side = (1.0 - 2.0**-23) * 2.0**23 + 30.0
    noise = noise_of(function, "float64")
    found = slope(function, "float64", function(0.0), noise)
    assert found.contradicts(one_side)  # which is why the question is asked
    assert not holds_closer(function, "float64", function(0.0), noise, found, one_side)


@pytest.mark.parametrize("name", SMOOTH)
def test_a_contradiction_of_a_wrong_gradient_holds_closer(name: str) -> None:
    function, truth = SMOOTH[name]
    noise = noise_of(function, "float64")
    found = slope(function, "float64", function(0.0), noise)
    assert holds_closer(function, "float64", function(0.0), noise, found, 1.5 * truth)


@pytest.mark.parametrize("last_place", [0.0, 2.0**-24])
@pytest.mark.parametrize("gap", [2e-7, 1e-6, 3e-6])
def test_a_logarithm_cut_off_close_by_is_no_noise(gap: float, last_place: float) -> None:
    """A prediction between a clip at 1e-7 and the spacing of float32, where the noise of the loss is looked for."""

    def loss(t: float) -> float:
        value = 2.0 - math.log(1.0 - min((1.0 - gap) * (1.0 + t), 1.0 - 1e-7)) / 32.0
        return round(value / last_place) * last_place if last_place else value  # summed in float32

    truth = (1.0 - gap) / gap / 32.0
    noise = noise_of(loss, "float64")
    found = slope(loss, "float64", loss(0.0), noise)
    assert not (found.contradicts(truth) and holds_closer(loss, "float64", loss(0.0), noise, found, truth))


@pytest.mark.parametrize("slope_in_stairs", [8.0, 0.13, 8.2])
def test_stairs_that_are_met_evenly_are_noise(slope_in_stairs: float) -> None:
    """A sum in float32 whose steps are whole multiples of the last place, where third differences see nothing."""
    spacing, stair = 32.0 * 16.0 * 2.0**-23, 2.0**-24
    truth = slope_in_stairs * stair / spacing

    def total(t: float) -> float:
        return 0.9 + round(truth * t / stair) * stair

    found = slope(total, "float64", total(0.0))
    assert abs(found.value - truth) <= found.error
