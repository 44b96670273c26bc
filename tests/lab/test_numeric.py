"""Numeric slopes against calculus, and their error bars against the truth: at kinks, edges, in stairs and in float32."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from lossproof.lab.numeric import holds_closer, noise_of, slope

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
    """-log(1 - p) of a p just inside of the bound at which it is clipped, as a sigmoid near 1 in float32 gives it."""
    p = (1.0 - 1.2e-7) * (1.0 + t)
    return 5.0 - math.log(1.0 - min(p, 1.0 - 1e-7)) + 30.0 * t


def test_a_contradiction_that_a_clip_explains_does_not_hold_closer() -> None:
    truth = (1.0 - 1.2e-7) / 1.2e-7 + 30.0
    noise = noise_of(cut_log, "float64")
    found = slope(cut_log, "float64", cut_log(0.0), noise)
    assert found.contradicts(truth)  # which is why the question is asked
    assert not holds_closer(cut_log, "float64", cut_log(0.0), noise, found, truth)


@pytest.mark.parametrize("name", SMOOTH)
def test_a_contradiction_of_a_wrong_gradient_holds_closer(name: str) -> None:
    function, truth = SMOOTH[name]
    noise = noise_of(function, "float64")
    found = slope(function, "float64", function(0.0), noise)
    assert holds_closer(function, "float64", function(0.0), noise, found, 1.5 * truth)
