"""Questions to a trace, answered by hand."""

from __future__ import annotations

import numpy as np
import pytest

from lossproof.findings.finding import Label
from lossproof.lab.localize.batches import compare_batches
from lossproof.lab.localize.queries import (
    births_of_nonfinite,
    first_broadcast,
    first_nonfinite,
    labels_for,
    last_differentiable,
)
from lossproof.lab.localize.recorder import Recorder


@pytest.fixture
def record(load):
    """Runs `f` of a source text, in which `np` is known: its trace."""
    modules = {}

    def record(source, *args, **options):
        if source not in modules:
            modules[source] = load(f"import numpy as np\n{source}")
        module = modules[source]
        return Recorder(lambda file: file == module.__file__, **options).trace(module.f, *args)

    return record


def expression(event):
    return None if event is None else event.place.expression


MSE = "def f(t, p):\n    return np.mean(np.square(t - p), axis=-1)\n"


def test_broadcast_is_found_where_it_happens(record):
    event = first_broadcast(record(MSE, np.ones(32), np.ones((32, 1))), 32)
    assert expression(event) == "t - p"
    assert [o.expression for o in event.operands] == ["t", "p"]
    assert event.value.shape == (32, 32)


def test_labels_show_the_shapes(record):
    # As in the sample of a finding: `(32,)` and `(32, 1)` under the operands, `gives (32, 32)` for both.
    event = first_broadcast(record(MSE, np.ones(32), np.ones((32, 1))), 32)
    start = event.place.source.index("t - p")
    assert labels_for(event) == (
        Label(start, start + 1, "(32,)"),
        Label(start + 4, start + 5, "(32, 1)"),
        Label(start, start + 5, "gives (32, 32)"),
    )


def test_labels_leave_out_what_has_no_shape_or_stands_elsewhere(record):
    source = "def f(t):\n    return np.stack([t, t], axis=0) + np.sum(\n        t)\n"
    trace = record(source, np.ones(3))
    stack = next(e for e in trace.events if expression(e) == "np.stack([t, t], axis=0)")
    column = stack.place.column
    assert labels_for(stack) == (
        Label(column + 9, column + 15, "(3,), (3,)"),
        Label(column, column + 24, "gives (2, 3)"),
    )
    total = next(e for e in trace.events if expression(e).startswith("np.sum("))
    assert [label.text for label in labels_for(total)] == ["gives ()"]
    assert labels_for(record("def f(t):\n    return t + 1\n", 1).events[-1]) == ()


@pytest.mark.parametrize(
    ("t", "p"), [((32, 1), (32, 1)), ((32,), (32,)), ((1,), (32, 1)), ((32, 32), (32, 32)), ((), (32, 1))]
)
def test_no_broadcast(record, t, p):
    assert first_broadcast(record(MSE, np.ones(t), np.ones(p)), 32) is None


def test_broadcast_in_a_callee_and_of_listed_operands(record):
    source = "def g(a, b):\n    return np.einsum('i,j->ij', *[a, b])\n\ndef f(t, p):\n    return g(t, p).sum()\n"
    event = first_broadcast(record(source, np.ones(5), np.ones(5)), 5)
    assert (expression(event), event.depth) == ("np.einsum('i,j->ij', *[a, b])", 1)


def test_a_batch_of_one_proves_nothing(record):
    with pytest.raises(ValueError, match="at least 2 samples"):
        first_broadcast(record(MSE, np.ones(1), np.ones((1, 1))), 1)


def test_a_second_batch_size_tells_chance_from_broadcast(record):
    # Weights of 4 features times one number per sample: (4, 4) for 4 samples, though no samples are paired.
    def run(batch):
        return record("def f(t, w):\n    return t * w\n", np.ones((batch, 1)), np.ones(4))

    trace = run(4)
    assert expression(first_broadcast(trace, 4)) == "t * w"
    axes = compare_batches(trace, run(3))
    assert axes.unmatched == ()
    assert axes.of(trace.events[-1]) == (1, (1, 0))
    assert first_broadcast(trace, axes) is None


def test_a_second_batch_size_finds_the_broadcast(record):
    def run(batch):
        return record(MSE, np.ones(batch), np.ones((batch, 1)))

    trace = run(4)
    axes = compare_batches(trace, run(3))
    event = first_broadcast(trace, axes)
    assert expression(event) == "t - p"
    assert axes.of(event) == (2, (1, 1))


def test_flattened_axes_follow_the_batch_too(record):
    source = "def f(t, p):\n    return np.reshape(t, -1)[:, None] - np.reshape(p, -1)[1:]\n"

    def run(batch):
        return record(source, np.ones((batch, 3)), np.ones((batch, 3)))

    trace = run(4)
    assert first_broadcast(trace, 4) is None
    event = first_broadcast(trace, compare_batches(trace, run(6)))
    assert event.kind == "binop"
    assert event.value.shape == (12, 11)


def test_events_are_matched_by_place_and_order(record):
    source = "def f(t):\n    out = []\n    for row in t:\n        out.append(row * 2)\n    return np.stack(out) - 1\n"
    trace, other = record(source, np.ones((4, 2))), record(source, np.ones((3, 2)))
    axes = compare_batches(trace, other)
    assert {e.place.line for e in axes.unmatched} == {5}
    assert [e.kind for e in axes.unmatched if e.kind == "binop"] == ["binop"]
    last = trace.events[-1]
    assert axes.of(last) == (1, (1, 0))
    rows = [e for e in trace.events if expression(e) == "row * 2"]
    assert [axes.of(e) for e in rows] == [(0, (0, 0))] * 4


def test_rounds_of_a_loop_are_matched_in_order(record):
    source = "def f(t):\n    for k in range(1, len(t)):\n        t[:k] * 2\n"
    trace = record(source, np.ones(4))
    axes = compare_batches(trace, record(source, np.ones(3)))
    assert [axes.of(e) for e in trace.events if e.kind == "binop"] == [(0, (0, 0))] * 3
    assert [e.value.shape for e in axes.unmatched if e.kind == "binop"] == [(3,)]


def test_where_a_nan_is_born(record):
    source = "def f(t, p):\n    q = p - t\n    r = np.log(q)\n    s = r * 2\n    return np.mean(s)\n"
    with np.errstate(all="ignore"):
        trace = record(source, np.array([1.0, 2.0]), np.array([2.0, 1.0]))
    event = first_nonfinite(trace, np.asarray)
    assert expression(event) == "np.log(q)"
    assert [expression(e) for e in births_of_nonfinite(trace, np.asarray)] == ["np.log(q)"]
    assert first_nonfinite(record(source, np.array([1.0]), np.array([2.0])), np.asarray) is None


def test_what_was_brought_in_is_named_as_such(record):
    trace = record("def f(t):\n    return t + 1\n", np.array([np.nan]))
    event = first_nonfinite(trace, np.asarray)
    assert (event.kind, expression(event), event.operands) == ("name", "t", ())


def test_a_mask_of_inf_is_not_the_birth_of_a_nan(record):
    source = "def f(t):\n    masked = np.where(t > 0, t, -np.inf)\n    return masked - masked.min()\n"
    with np.errstate(all="ignore"):
        trace = record(source, np.array([1.0, -1.0]))
    assert expression(first_nonfinite(trace, np.asarray)) == "np.inf"
    assert expression(first_nonfinite(trace, np.asarray, nan_only=True)) == "masked - masked.min()"


def test_a_nan_inside_a_list(record):
    source = "def f(t):\n    out = []\n    for x in t:\n        out.append(np.sqrt(x))\n    return sum(out)\n"
    with np.errstate(all="ignore"):
        trace = record(source, [1.0, -1.0])
    assert [expression(e) for e in births_of_nonfinite(trace, np.asarray)] == ["np.sqrt(x)"]


def test_values_that_cannot_be_converted_count_as_finite(record):
    def refuse(value):
        raise RuntimeError("symbolic")

    trace = record("def f(t):\n    return t + 1, 'text', [None], np.array(['a'])\n", np.array([np.nan]))
    assert first_nonfinite(trace, refuse) is None
    assert first_nonfinite(trace, np.asarray) is not None


def test_in_place_changes_need_a_copy(record):
    source = "def f(t):\n    out = np.zeros(2)\n    out[:1] = np.log(t)\n    return out * 1\n"
    with np.errstate(all="ignore"):
        trace = record(source, np.array([0.0]), keep=lambda v: v.copy() if isinstance(v, np.ndarray) else v)
    assert expression(first_nonfinite(trace, np.asarray)) == "np.log(t)"


class Linked:
    """A tensor that knows whether it still depends on the predictions."""

    def __init__(self, linked, shape=(4,)):
        self.linked, self.shape = linked, shape

    def __add__(self, other):
        return Linked(self.linked or getattr(other, "linked", False))

    __mul__ = __radd__ = __sub__ = __add__

    def __gt__(self, other):
        return Linked(False)

    def rounded(self):
        return Linked(False)

    def item(self):
        return 1.5

    def __iter__(self):
        return iter([Linked(self.linked, ()), Linked(self.linked, ())])


def linked(value):
    return getattr(value, "linked", False)


@pytest.mark.parametrize(
    ("body", "dies"),
    [
        ("return p - t", None),
        ("return (p.rounded() - t) * 2", "p.rounded()"),
        ("mask = p > 0\n    return mask * (p - t)", None),
        ("mask = p > 0\n    q = p + 1\n    r = q.rounded()\n    return r * t", "q.rounded()"),
        ("n = p.shape[0]\n    q = p.rounded()\n    return q * n", "p.rounded()"),
        ("return (p - t).item() * 2.0", "(p - t).item()"),
        (
            "out = []\n    for k in range(2):\n        out.append((p + k).rounded())\n    return sum(out[1:], out[0])",
            "(p + k).rounded()",
        ),
        ("return g(p) + t", "x.rounded()"),
        ("a, b = (p + 1), (p > 0)\n    return b + t", "p > 0"),
        ("return t", None),
    ],
)
def test_where_the_gradient_dies(record, body, dies):
    source = f"def g(x):\n    return x.rounded()\n\ndef f(t, p):\n    {body}\n"
    trace = record(source, Linked(False), Linked(True))
    assert trace.error is None
    assert expression(last_differentiable(trace, linked)) == dies


def test_where_the_gradient_dies_if_the_run_failed(record):
    trace = record("def f(p):\n    q = p.rounded()\n    return q.missing\n", Linked(True))
    assert isinstance(trace.error, AttributeError)
    assert expression(last_differentiable(trace, linked)) == "p.rounded()"


def test_where_the_gradient_dies_if_the_result_was_made_elsewhere(record):
    # As `keras.losses.Loss.__call__` does with what the user's `call` returns.
    trace = record("def f(p):\n    mask = p > 0\n    return p.rounded()\n", Linked(True))
    from dataclasses import replace

    outside = replace(trace, result=Linked(False))
    assert expression(last_differentiable(outside, linked)) == "p.rounded()"


class Unwilling:
    """Shapes of symbolic tensors: unknown sizes, and no rank at all."""

    def __init__(self, shape):
        self._shape = shape

    @property
    def shape(self):
        if self._shape is None:
            raise ValueError("unknown rank")
        return self._shape


def test_symbolic_shapes(record):
    source = "def f(a, b):\n    return a, b\n"
    trace = record(source, Unwilling((None, 3)), Unwilling(None))
    assert [label.text for label in labels_for(trace.events[-1])] == ["(None, 3)", "gives (None, 3)"]
    assert first_broadcast(trace, 3) is None
