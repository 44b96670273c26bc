"""Faults of wiring: LP401 to LP413."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from ..script import Edit, Operator, Script, called, expression, keyword

LABELS = ("LP407", "LP201", "LP203", "LP204", "LP205", "LP101", "LP406")
"""What labels in another encoding may do to a loss."""
TAKES_LOGITS = (
    "BinaryCrossentropy", "CategoricalCrossentropy", "SparseCategoricalCrossentropy", "BinaryFocalCrossentropy",
    "CategoricalFocalCrossentropy", "binary_crossentropy", "categorical_crossentropy", "sparse_categorical_crossentropy",
    "binary_focal_crossentropy", "categorical_focal_crossentropy",
)  # fmt: skip


def logits_flipped(script: Script) -> Iterator[Edit]:
    for call in script.calls(*TAKES_LOGITS):
        given = keyword(call, "from_logits")
        if given is not None:
            yield lambda call=call, given=given: call.keywords.remove(given)
        else:
            yield lambda call=call: call.keywords.append(ast.keyword("from_logits", ast.Constant(True)))


def output_flipped(script: Script) -> Iterator[Edit]:
    """The activation of the output left out, or put in twice."""
    for call in script.calls("Dense", "Conv2D")[-1:]:
        given = keyword(call, "activation")
        if given is not None and ast.unparse(given.value) in ("'softmax'", "'sigmoid'"):
            yield lambda call=call, given=given: call.keywords.remove(given)
        on_logits = script.kind in ("one-hot", "shares", "ids", "binary") and "from_logits" in script.subject.source
        if given is None and on_logits:
            name = "sigmoid" if script.kind == "binary" else "softmax"
            yield lambda call=call, name=name: call.keywords.append(ast.keyword("activation", ast.Constant(name)))
    for function in script.losses:
        if '"softmax"' in script.subject.source:
            yield script.beginning(function, "y_pred = ops.softmax(y_pred, axis=-1)")
        if '"sigmoid"' in script.subject.source and script.kind in ("binary", "masks"):
            yield script.beginning(function, "y_pred = ops.sigmoid(y_pred)")


def other_labels(script: Script) -> Iterator[Edit]:
    if script.target is None:
        return
    if script.kind == "ids":
        yield script.replacing(script.target, "{} + 1")
        yield script.replacing(script.target, "keras.utils.to_categorical({})")
        yield script.replacing(script.target, "np.where(np.arange(48).reshape({0}.shape) % 6 == 0, -1, {0})")
    if script.kind == "one-hot":
        yield script.replacing(script.target, "np.argmax({}, axis=-1)")
    if script.kind == "binary" and "keras.losses." in script.subject.source:  # a loss of one's own may mean any labels
        yield script.replacing(script.target, "2.0 * {} - 1.0")
        yield script.replacing(script.target, "{} + 1.0")
        yield script.replacing(script.target, "{} * 255.0")


def scaled_rows(script: Script) -> Iterator[Edit]:
    """Rows that sum to 255: elsewhere the same objective, 255 times as large."""
    if script.kind == "one-hot" and script.target is not None and "ategoricalC" in script.subject.source:
        yield script.replacing(script.target, "{} * 255.0")


def self_losses(script: Script) -> Iterator[Edit]:
    for function in script.own:
        for node in ast.walk(function):
            if isinstance(node, ast.BinOp) and ast.unparse(node.right) in ("sum(self.losses)", "sum(losses)"):
                yield script.putting(node, node.left)
                yield script.replacing(node, "{} + " + ast.unparse(node.right))
            if isinstance(node, ast.Assign) and ast.unparse(node.value) == "sum(self.losses)":
                yield script.replacing(node.value, "0.0")
    for call in script.calls("compute_loss"):
        yield script.replacing(call, "{} + sum(self.losses)")


def weights_dropped(script: Script) -> Iterator[Edit]:
    """All of them: a term that is not weighted beside others that are may well be meant."""
    for function in (one for one in script.own if one not in script.losses):
        given = [
            (node, keyword(node, "sample_weight"))
            for node in ast.walk(function)
            if isinstance(node, ast.Call) and keyword(node, "sample_weight") is not None
        ]
        if given:
            yield lambda given=given: [node.keywords.remove(one) for node, one in given]
        for node in ast.walk(function):
            if isinstance(node, ast.BinOp) and ast.unparse(node.right) == "sample_weight":
                yield script.putting(node, node.left)


def mask_lost(script: Script) -> Iterator[Edit]:
    if "padded" not in script.subject.name:
        return
    for call in script.calls("Dense")[:1]:
        outer = next((one for one in ast.walk(script.tree) if isinstance(one, ast.Call) and one.func is call), None)
        if outer is not None:
            yield script.replacing(outer.args[0], "layers.Conv1D(3, 1)({})")
            yield script.replacing(outer.args[0], "layers.Lambda(lambda t: t)({})")
    for call in script.calls("Sequential"):
        if isinstance(call.args[0], ast.List):
            yield lambda call=call: call.args[0].elts.insert(2, expression("layers.Conv1D(5, 1)"))
            yield lambda call=call: call.args[0].elts.insert(2, expression("layers.Lambda(lambda t: t * 1.0)"))
    for function in script.own:
        for node in ast.walk(function):
            if isinstance(node, ast.BinOp) and ast.unparse(node.right) == "mask":
                yield script.putting(node, node.left)


def _dicts(script: Script) -> Iterator[ast.Dict]:
    for call, names in ((script.compiled, ("loss", "loss_weights")), (script.fit, ())):
        if call is not None:
            yield from (k.value for k in call.keywords if k.arg in names and isinstance(k.value, ast.Dict))
            yield from (one for one in call.args[1:2] if isinstance(one, ast.Dict))


def output_left_out(script: Script) -> Iterator[Edit]:
    loss = keyword(script.compiled, "loss") if script.compiled is not None else None
    if loss is not None and isinstance(loss.value, ast.Dict):
        for i in range(len(loss.value.keys)):
            yield lambda i=i: _without(loss.value, i)
    if loss is not None and isinstance(loss.value, ast.List):
        yield lambda: loss.value.elts.__delitem__(-1)


def targets_in_order(script: Script) -> Iterator[Edit]:
    """Targets as a list, in the order in which the outputs were declared or another."""
    target = script.target
    if isinstance(target, ast.Dict):
        yield lambda: script.replace(target, ast.List(target.values, ast.Load()))
        yield lambda: script.replace(target, ast.List(target.values[::-1], ast.Load()))
    loss = keyword(script.compiled, "loss") if script.compiled is not None else None
    if loss is not None and isinstance(loss.value, ast.Dict) and isinstance(target, ast.Dict):
        yield lambda: _listed(script, target, loss)


def _without(found: ast.Dict, i: int) -> None:
    del found.keys[i], found.values[i]


def _listed(script: Script, target: ast.Dict, loss: ast.keyword) -> None:
    script.replace(target, ast.List(target.values, ast.Load()))
    loss.value = ast.List(loss.value.values, ast.Load())


def other_keys(script: Script) -> Iterator[Edit]:
    for found in list(_dicts(script)):
        yield lambda found=found: found.keys.__setitem__(0, ast.Constant(found.keys[0].value + "_out"))


def several_losses(script: Script) -> Iterator[Edit]:
    loss = keyword(script.compiled, "loss") if script.compiled is not None else None
    if "_function" in script.subject.name or "_own" in script.subject.name:
        return  # the same bug whatever the loss is
    if loss is not None and not isinstance(loss.value, (ast.Dict, ast.List)):
        yield script.replacing(loss.value, '[{}, "mae"]')
        yield script.replacing(loss.value, '["mae", {}]')


def wrong_mode(script: Script) -> Iterator[Edit]:
    """A model called in inference mode by a step, or a flag that is not passed on (which only JAX needs)."""
    for function in script.functions:
        for node in ast.walk(function):
            given = keyword(node, "training") if isinstance(node, ast.Call) else None
            if given is None or called(node) == "compute_loss":
                continue
            if function.name == "objective":
                yield lambda given=given: setattr(given, "value", ast.Constant(False))
            if function.name in ("call", "objective"):
                yield lambda node=node, given=given: node.keywords.remove(given)


def recompiled(script: Script) -> Iterator[Edit]:
    """Weights of the losses given to a second compile that gets no loss."""
    statement = next((one for one in script.tree.body if any(n is script.compiled for n in ast.walk(one))), None)
    weights = keyword(script.compiled, "loss_weights") if script.compiled is not None else None
    if statement is not None and weights is not None:
        changed = ast.unparse(weights.value).replace("1.0", "7.0")
        code = f"model.compile(optimizer=keras.optimizers.SGD(0.05), loss_weights={changed})"
        yield lambda: script.tree.body.insert(script.tree.body.index(statement) + 1, ast.parse(code).body[0])


WIRING = (
    Operator("logits-flipped", ("LP406", "LP207", "LP203", "LP204"), "from_logits says the opposite", logits_flipped),
    Operator("output-flipped", ("LP406", "LP207", "LP203", "LP204", "LP205"), "one activation more or less", output_flipped),
    Operator("other-labels", LABELS, "labels in another encoding", other_labels),
    Operator("scaled-rows", ("LP201", "LP407"), "one-hot rows times 255", scaled_rows, ("tensorflow",)),
    Operator("self-losses", ("LP404",), "self.losses dropped or counted twice", self_losses),
    Operator("weights-dropped", ("LP405",), "sample weights dropped in a compute_loss or step", weights_dropped),
    Operator("mask-lost", ("LP408",), "padding counts", mask_lost),
    Operator("output-left-out", ("LP402", "LP412", "LP401"), "an output without a loss", output_left_out),
    Operator("targets-in-order", ("LP403", "LP401"), "targets listed, not named", targets_in_order),
    Operator("other-keys", ("LP401", "LP402", "LP403"), "keys that are no outputs, or exchanged", other_keys),
    Operator("several-losses", ("LP412",), "a list of losses on one output", several_losses, needs="as written"),
    Operator("wrong-mode", ("LP410",), "training=False in training", wrong_mode),
    Operator("recompiled", ("LP413",), "loss_weights to a second compile without a loss", recompiled, needs="as written"),
)  # fmt: skip
