"""Faults of shape and reduction: LP101 to LP107."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from ..script import Edit, Operator, Script, called, keyword


def reductions(script: Script) -> Iterator[ast.Call]:
    """The reductions over the last axes whose result a loss returns, possibly with a factor or a sign."""
    for function in script.losses:
        for node in ast.walk(function):
            if isinstance(node, ast.Return) and node.value is not None:
                found = [one for one in script.calls("mean", "sum", within=node.value) if keyword(one, "axis")]
                yield from found[:1]


def without_axis(call: ast.Call, name: str) -> str:
    """The same reduction over everything."""
    return f"ops.{name}({ast.unparse(call.args[0])})"


def targets_as_vector(script: Script) -> Iterator[Edit]:
    if script.columns == 1 and script.target is not None:
        yield script.replacing(script.target, "{}[:, 0]")


def targets_as_row(script: Script) -> Iterator[Edit]:
    for function in script.losses:
        if script.columns == 1:
            yield script.beginning(function, "y_true = ops.transpose(y_true)")
            yield script.beginning(function, "y_true = ops.reshape(y_true, (-1,))")
            yield script.beginning(function, "y_pred = ops.reshape(y_pred, (-1,))")
        if script.columns > 1:
            yield script.beginning(function, "y_true = ops.expand_dims(y_true, 1)")
            yield script.beginning(function, "y_pred = ops.expand_dims(y_pred, 1)")


def one_column(script: Script) -> Iterator[Edit]:
    if script.columns > 1 and script.target is not None and script.kind not in ("one-hot", "shares"):
        yield script.replacing(script.target, "{}[:, :1]")


def mean_of_everything(script: Script) -> Iterator[Edit]:
    for call in reductions(script):
        if called(call) == "mean":
            yield script.replacing(call, without_axis(call, "mean"))
    for function in script.losses:
        yield from script.returning(function, "ops.mean({})")


def sum_of_everything(script: Script) -> Iterator[Edit]:
    for call in reductions(script):
        yield script.replacing(call, without_axis(call, "sum"))
    for function in script.losses:
        yield from script.returning(function, "ops.sum({})")
    for function in (one for one in script.own if one not in script.losses):
        for call in script.calls("mean", within=function):
            if keyword(call, "axis") is None and len(call.args) == 1:
                yield script.replacing(call, without_axis(call, "sum"))
    for call in script.calls("add_loss"):
        for inner in script.calls("mean", within=call):
            yield script.replacing(inner, without_axis(inner, "sum"))


def batch_axis(script: Script) -> Iterator[Edit]:
    for call in reductions(script):
        axis = keyword(call, "axis")
        if axis is not None:
            yield script.replacing(axis.value, "0")


def by_the_batch(script: Script) -> Iterator[Edit]:
    for function in script.losses:
        if script.kind in ("real", "positive", "counts"):
            yield from script.returning(function, "{} / (ops.var(y_true) + 0.001)")
            yield from script.returning(function, "{} / (ops.max(ops.abs(y_true)) + 0.001)")
            yield from script.returning(function, "ops.mean({}) / (ops.std(y_true) + 0.001)")


def far_targets(script: Script) -> Iterator[Edit]:
    """Numbers as large as seconds since 1970, of which float32 keeps every hundredth."""
    if script.kind == "real" and script.columns and script.target is not None:
        yield script.replacing(script.target, "1700000000 + np.round(10.0 * {}).astype('int64')")


SHAPE = (
    Operator("targets-as-vector", ("LP101", "LP102"), "fit gets y[:, 0]", targets_as_vector),
    Operator(
        "targets-as-row", ("LP101", "LP102", "LP104"), "one of the two gets another rank in the loss", targets_as_row
    ),
    Operator("one-column", ("LP102",), "one column is held against several", one_column),
    Operator(
        "mean-of-everything", ("LP103", "LP408"), "a scalar mean where sample weights or a mask act", mean_of_everything
    ),
    Operator("sum-of-everything", ("LP105", "LP103"), "a sum over the batch for a mean", sum_of_everything),
    Operator("batch-axis", ("LP104", "LP103", "LP105", "LP106"), "axis=0 for axis=-1", batch_axis),
    Operator("by-the-batch", ("LP106", "LP103"), "divided by a maximum or a spread of the batch", by_the_batch),
    Operator("far-targets", ("LP107",), "targets too large for float32", far_targets),
)
