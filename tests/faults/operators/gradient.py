"""Faults of the gradient: LP201 to LP207."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from ..script import Edit, Operator, Script, called, expression, is_small, keyword

BLIND = ("LP202", "LP206")
INFINITE = ("LP203", "LP204")
"""What a prediction that is exactly 0 or 1 may do to a loss."""


def decided(script: Script) -> Iterator[Edit]:
    for function in script.losses:
        yield script.beginning(function, "y_pred = ops.round(y_pred)")
        yield script.beginning(function, 'y_pred = ops.cast(ops.cast(y_pred, "int32"), "float32")')
        if script.kind in ("binary", "masks"):
            yield script.beginning(function, 'y_pred = ops.cast(y_pred > 0.5, "float32")')
        if script.kind in ("one-hot", "shares"):
            yield script.beginning(
                function, f"y_pred = ops.one_hot(ops.argmax(y_pred, axis=-1), {script.columns}, axis=-1)"
            )
        if script.kind in ("real", "signs"):
            yield script.beginning(function, "y_pred = ops.sign(y_pred)")


def stopped(script: Script) -> Iterator[Edit]:
    for function in script.losses:
        yield script.beginning(function, "y_pred = ops.stop_gradient(y_pred)")
        yield from script.returning(function, "ops.stop_gradient({})")
    for function in (one for one in script.own if one not in script.losses):
        for node in ast.walk(function):
            if isinstance(node, ast.Subscript) and ast.unparse(node.value) == "y_pred":
                yield script.replacing(node, "ops.stop_gradient({})")


def through_numpy(script: Script) -> Iterator[Edit]:
    for function in script.losses:
        yield script.beginning(function, "y_pred = ops.convert_to_tensor(ops.convert_to_numpy(y_pred))")
        yield from script.returning(function, "ops.convert_to_tensor(np.array(ops.convert_to_numpy({})))")


def epsilon_dropped(script: Script) -> Iterator[Edit]:
    for function in script.own:
        for node in ast.walk(function):
            if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add) and is_small(node.right):
                yield script.putting(node, node.left)
            elif isinstance(node, ast.Call) and called(node) in ("maximum", "clip") and is_small(node.args[1]):
                yield script.putting(node, node.args[0])


def epsilon_too_small(script: Script) -> Iterator[Edit]:
    """One that float32 cannot hold: 1 - 1e-12 is 1."""
    for function in script.own:
        for node in ast.walk(function):
            if isinstance(node, ast.Call) and called(node) == "clip" and is_small(node.args[1]):
                yield lambda node=node: node.args.__setitem__(
                    slice(1, 3), [expression("1e-12"), expression("1.0 - 1e-12")]
                )


def made_unsafe(script: Script) -> Iterator[Edit]:
    """Roots and logarithms of what reaches zero."""
    for function in script.losses:
        yield from script.returning(function, "ops.log({})")
        yield from script.returning(function, "ops.sqrt({})")
        if script.kind in ("binary", "one-hot", "shares", "masks"):
            yield script.beginning(
                function, "y_pred = y_pred / ops.max(y_pred * (y_true * 0.0 + 1.0), axis=-1, keepdims=True)"
            )


def missing_values(script: Script) -> Iterator[Edit]:
    if script.fit is not None and script.kind in ("real", "positive"):
        yield lambda: script.tree.body.insert(
            script.tree.body.index(_statement_of(script, script.fit)), ast.parse("x[::7, 0] = np.nan").body[0]
        )
        if isinstance(script.target, ast.Name):
            yield lambda: script.tree.body.insert(
                script.tree.body.index(_statement_of(script, script.fit)),
                ast.parse(f"{script.target.id}[::9] = np.nan").body[0],
            )


def _statement_of(script: Script, node: ast.AST) -> ast.stmt:
    return next(one for one in script.tree.body if any(inner is node for inner in ast.walk(one)))


def sign_turned(script: Script) -> Iterator[Edit]:
    for function in script.losses:
        for node in ast.walk(function):
            if isinstance(node, ast.Return) and node.value is not None:
                value = node.value
                if isinstance(value, ast.UnaryOp) and isinstance(value.op, ast.USub):
                    yield lambda node=node, value=value: setattr(node, "value", value.operand)
                elif (
                    isinstance(value, ast.BinOp) and ast.unparse(value.left) == "1.0" and isinstance(value.op, ast.Sub)
                ):
                    yield lambda node=node, value=value: setattr(node, "value", value.right)
                else:
                    yield script.replacing(value, "-{}")


def swapped(script: Script) -> Iterator[Edit]:
    if script.kind == "shares":
        return  # the divergence the other way round is one, too
    for function in script.losses:
        if _only_difference(function):
            continue  # and so is a distance that is dearer on the other side
        for call in ast.walk(function):
            names = [ast.unparse(one) for one in call.args[:2]] if isinstance(call, ast.Call) else []
            if any("y_true" in one for one in names[:1]) and any("y_pred" in one for one in names[1:]):
                yield lambda call=call: call.args.__setitem__(slice(0, 2), call.args[1::-1])
        if function.args.args[-2].arg == "y_true":
            yield lambda function=function: function.args.args.__setitem__(slice(-2, None), function.args.args[:-3:-1])


def _only_difference(function: ast.FunctionDef) -> bool:
    """Whether a loss is made of the difference between targets and predictions, and of nothing else of theirs."""
    names = {"y_true", "y_pred"}
    used = sum(isinstance(node, ast.Name) and node.id in names for node in ast.walk(function))
    differences = [
        node
        for node in ast.walk(function)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Sub)
        if {ast.unparse(node.left), ast.unparse(node.right)} == names
    ]
    return used == 2 * len(differences) > 0


def flattened(script: Script) -> Iterator[Edit]:
    """A clip beyond which nothing is learned."""
    for function in script.losses:
        if script.kind == "real":
            yield script.beginning(function, "y_pred = ops.clip(y_pred, -0.05, 0.05)")
            yield script.beginning(function, "y_pred = ops.relu(y_pred - 1.0)")
        if script.kind in ("binary", "masks"):
            yield script.beginning(function, "y_pred = ops.clip(y_pred, 0.49, 0.51)")
        if script.kind in ("one-hot", "shares") and "softmax" in script.subject.source:
            yield script.beginning(function, "y_pred = ops.clip(y_pred, 0.9, 1.0)")
        yield from script.returning(function, "ops.minimum({}, 0.001)")


def output_activation(script: Script) -> Iterator[Edit]:
    """A last layer that cannot give what the targets are."""
    if script.kind == "real":
        last = script.calls("Dense")[-1:]
        for call in last:
            if keyword(call, "activation") is None and len(call.args) == 1:
                yield lambda call=call: call.keywords.extend(
                    [
                        ast.keyword("activation", ast.Constant("relu")),
                        ast.keyword("bias_initializer", expression("keras.initializers.Constant(-30.0)")),
                    ]
                )
                yield lambda call=call: call.keywords.extend(
                    [
                        ast.keyword("activation", ast.Constant("sigmoid")),
                        ast.keyword("bias_initializer", expression("keras.initializers.Constant(-200.0)")),
                    ]
                )


def cut_off(script: Script) -> Iterator[Edit]:
    """A gradient stopped, or a value rounded, in the middle of the model."""
    for code in ("layers.Lambda(ops.stop_gradient)", "layers.Lambda(ops.round)"):
        for call in script.calls("Sequential"):
            if call.args and isinstance(call.args[0], ast.List) and len(call.args[0].elts) > 2:
                yield lambda call=call, code=code: call.args[0].elts.insert(-1, expression(code))
        for call in script.calls("Dense", "Conv2D"):
            outer = next((one for one in ast.walk(script.tree) if isinstance(one, ast.Call) and one.func is call), None)
            if outer is not None and outer.args and ast.unparse(outer.args[0]) != "inputs":
                yield script.replacing(outer.args[0], code + "({})")
    for function in script.functions:
        if function.name == "call" and "inputs" in {a.arg for a in function.args.args}:
            for node in ast.walk(function):
                of_layer = isinstance(node, ast.Call) and ast.unparse(node.func).startswith("self.")
                if (
                    of_layer
                    and node.args
                    and (isinstance(node.args[0], ast.Call) or ast.unparse(node.args[0]) == "hidden")
                ):
                    yield script.replacing(node.args[0], "ops.stop_gradient({})")


def term_dropped(script: Script) -> Iterator[Edit]:
    """One of several terms is left out, and with it all that trains some weights."""
    for function in script.own:
        for node in ast.walk(function):
            if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
                yield script.putting(node, node.left)
                yield script.putting(node, node.right)


def half_precision(script: Script) -> Iterator[Edit]:
    """The loss of large numbers is computed in float16."""
    for function in script.losses:
        if script.kind in ("real", "positive", "counts"):
            large = "ops.cast(1000.0 * {0}, 'float16')"
            pair = f"({large.format('y_true')}, {large.format('y_pred')})"
            yield script.beginning(function, f"y_true, y_pred = {pair}")


GRADIENT = (
    Operator("decided", (*BLIND, *INFINITE), "predictions are rounded or turned into decisions", decided),
    Operator("stopped", BLIND, "the gradient is stopped", stopped, needs="dead"),
    Operator("through-numpy", ("LP202", "LP306", "LP201"), "a detour through NumPy", through_numpy),
    Operator("epsilon-dropped", ("LP203", "LP204"), "no epsilon", epsilon_dropped, needs="non-finite"),
    Operator(
        "epsilon-too-small",
        ("LP203", "LP204", "LP301"),
        "an epsilon that float32 cannot hold",
        epsilon_too_small,
        needs="non-finite",
    ),
    Operator(
        "made-unsafe",
        ("LP203", "LP204", "LP301"),
        "a root or logarithm of what reaches zero",
        made_unsafe,
        needs="non-finite",
    ),
    Operator(
        "half-precision",
        ("LP307", *INFINITE),
        "a loss of large numbers in float16",
        half_precision,
        needs="non-finite",
    ),
    Operator("missing-values", ("LP204", "LP203"), "NaN among the data", missing_values),
    Operator("sign-turned", ("LP205",), "a minus dropped or added", sign_turned),
    Operator("swapped", ("LP205", "LP406", "LP203", "LP204", "LP202"), "y_true and y_pred exchanged", swapped),
    Operator("flattened", ("LP207", "LP202", "LP206"), "clipped where predictions are wrong", flattened),
    Operator(
        "output-activation",
        ("LP207", "LP202", "LP206", *INFINITE),
        "an output that starts on the flat part of its activation",
        output_activation,
    ),
    Operator("cut-off", ("LP206", "LP202"), "the gradient ends in the middle of the model", cut_off, needs="dead"),
    Operator(
        "term-dropped", ("LP206", "LP402", "LP404"), "a term that alone trains some weights", term_dropped, needs="dead"
    ),
)
