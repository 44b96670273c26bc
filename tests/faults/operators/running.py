"""Faults that exist only while a script runs: LP3xx, LP5xx, LP6xx."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from ..script import Edit, Operator, Script, called, expression, keyword

COMPILED = ("tensorflow", "jax")


def python_schedule(script: Script) -> Iterator[Edit]:
    """A Python number where a weight of the model was."""
    assigned = [one for one in script.calls("assign") if isinstance(one.func, ast.Attribute)]
    made = [
        one
        for one in ast.walk(script.tree)
        if isinstance(one, ast.Assign) and isinstance(one.value, ast.Call) and called(one.value) == "add_weight"
    ]
    for call in assigned:
        statement = next(s for s in ast.walk(script.tree) if isinstance(s, ast.Expr) and s.value is call)

        def edit(call: ast.Call = call, statement: ast.Expr = statement) -> None:
            target = ast.unparse(call.func.value)  # type: ignore[attr-defined]
            script.replace(statement, ast.parse(f"{target} = {ast.unparse(call.args[0])}").body[0])
            for one in made:
                one.value = ast.Constant(0.0)

        yield edit


def python_weight(script: Script) -> Iterator[Edit]:
    """A Python number before the loss, which a callback lowers from epoch to epoch."""
    if script.fit is None or keyword(script.fit, "callbacks") or keyword(script.fit, "epochs"):
        return
    for function in script.losses:
        found = list(script.returning(function, "{} * schedule['now']"))
        if len(found) != 1:
            continue

        def edit(function: ast.FunctionDef = function, scale: Edit = found[0]) -> None:
            scale()
            first = _statement_of(script, function)
            script.tree.body.insert(script.tree.body.index(first), ast.parse("schedule = {'now': 1.0}").body[0])
            lower = "keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: schedule.update(now=0.5**epoch))"
            given = (ast.keyword("epochs", ast.Constant(3)), ast.keyword("callbacks", expression(f"[{lower}]")))
            script.fit.keywords.extend(given)  # type: ignore[union-attr]

        yield edit


def _statement_of(script: Script, node: ast.AST) -> ast.stmt:
    return next(one for one in script.tree.body if any(inner is node for inner in ast.walk(one)))


def _once_more(script: Script, model: str, optimizer: str, before: bool = False) -> Iterator[Edit]:
    """A second model is made after the first was trained, or `before` it is compiled, and trained as it was."""
    compiled, fit = script.compiled, script.fit
    if compiled is None or fit is None or keyword(compiled, "loss") is None or "(keras.Model)" in script.subject.source:
        return

    def edit() -> None:
        rest = [ast.unparse(one) for one in compiled.keywords if one.arg != "optimizer"]
        arguments = [ast.unparse(one) for one in (*fit.args, *fit.keywords)]
        made = ast.parse(f"again = {model}").body
        code = f"again.compile(optimizer={optimizer}, {', '.join(rest)})\nagain.fit({', '.join(arguments)})"
        at = script.tree.body.index(_statement_of(script, fit)) + 1
        script.tree.body[at:at] = ast.parse(code).body
        at = script.tree.body.index(_statement_of(script, compiled)) if before else at
        script.tree.body[at:at] = made

    yield edit


def trained_layers(script: Script) -> Iterator[Edit]:
    yield from _once_more(script, "keras.Model(model.inputs, model.outputs)", "keras.optimizers.SGD(0.05)")


def one_optimizer(script: Script) -> Iterator[Edit]:
    if "Lambda(" not in script.subject.source:  # Keras clones none of a Python function
        yield from _once_more(script, "keras.models.clone_model(model)", "model.optimizer", before=True)


def numpy_noise(script: Script) -> Iterator[Edit]:
    for function in script.losses:
        yield script.beginning(function, "y_pred = y_pred + float(np.random.normal(0.0, 0.1))")
        yield from script.returning(function, "{} * float(np.random.uniform(0.5, 1.5))")
    for call in script.calls("normal"):
        if keyword(call, "seed") is not None:
            yield script.replacing(call, "ops.convert_to_tensor(np.random.normal(size=(1, 1)).astype('float32'))")


def python_branch(script: Script) -> Iterator[Edit]:
    for function in script.losses:
        yield script.beginning(function, "if float(ops.mean(y_pred)) > 1e6:\n    y_pred = y_pred * 2.0")
        yield from script.returning(function, "{} * (2.0 if ops.convert_to_numpy(ops.mean(y_pred)) > 1e6 else 1.0)")


def without_metrics(script: Script) -> Iterator[Edit]:
    """The tracker is not listed, or nobody updates it."""
    for node in ast.walk(script.tree):
        if isinstance(node, ast.ClassDef):
            for function in node.body:
                if isinstance(function, ast.FunctionDef) and function.name == "metrics":
                    yield lambda node=node, function=function: setattr(
                        next(s for s in function.body if isinstance(s, ast.Return)), "value", expression("[]")
                    )


def plain_logs(script: Script) -> Iterator[Edit]:
    for function in script.functions:
        if function.name == "train_step":
            for node in ast.walk(function):
                if isinstance(node, ast.Call) and called(node) in ("update_state", "stateless_update_state"):
                    yield lambda node=node: node.args.__setitem__(-1, expression("loss * 100.0"))
                if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "logs['root_loss']":
                    yield lambda node=node: node.targets.__setitem__(0, _stored("logs['loss']"))


def _stored(code: str) -> ast.expr:
    target = expression(code)
    target.ctx = ast.Store()  # type: ignore[attr-defined]
    return target


def batch_metric(script: Script) -> Iterator[Edit]:
    metrics = keyword(script.compiled, "metrics") if script.compiled is not None else None
    if script.kind == "real" and metrics is not None and isinstance(metrics.value, ast.List):
        yield lambda: metrics.value.elts.append(
            expression("lambda t, p: 1.0 - ops.sum(ops.square(t - p)) / ops.sum(ops.square(t - ops.mean(t)))")
        )
        yield lambda: metrics.value.elts.append(
            expression("lambda t, p: ops.sum(ops.abs(t - p)) / ops.sum(ops.abs(t - ops.mean(t)))")
        )


def forgotten(script: Script) -> Iterator[Edit]:
    """The loss cannot be saved with its model, or comes back with other settings."""
    if "load_model" not in script.subject.source:
        return
    for node in ast.walk(script.tree):
        if isinstance(node, ast.ClassDef) and node.decorator_list:
            yield lambda node=node: node.decorator_list.clear()
            for function in node.body:
                if isinstance(function, ast.FunctionDef) and function.name == "get_config":
                    yield lambda node=node, function=function: node.body.remove(function)


RUNNING = (
    Operator(
        "python-schedule", ("LP302",), "a Python number for a weight", python_schedule, COMPILED, "as written", True
    ),
    Operator(
        "python-weight",
        ("LP302",),
        "a Python number before the loss, lowered by a callback",
        python_weight,
        COMPILED,
        "as written",
        True,
    ),
    Operator(
        "trained-layers",
        ("LP501",),
        "a second model of the layers of the first",
        trained_layers,
        needs="as written",
        training=True,
    ),
    Operator(
        "one-optimizer",
        ("LP502",),
        "a second model with the optimizer of the first",
        one_optimizer,
        ("tensorflow", "torch"),  # on JAX the plain descent of the originals carries nothing over
        "as written",
        True,
    ),
    Operator("numpy-noise", ("LP303",), "noise from NumPy", numpy_noise, COMPILED, "as written", True),
    Operator("python-branch", ("LP306",), "a Python branch on a tensor", python_branch, COMPILED, "as written", True),
    Operator(
        "without-metrics", ("LP503",), "the tracker is not listed", without_metrics, needs="as written", training=True
    ),
    Operator(
        "plain-logs", ("LP506", "LP503"), "another number is reported", plain_logs, needs="as written", training=True
    ),
    Operator(
        "batch-metric",
        ("LP504",),
        "a metric whose mean over batches is not the epoch's",
        batch_metric,
        needs="as written",
        training=True,
    ),
    Operator(
        "forgotten",
        ("LP601", "LP602"),
        "not registered, or no get_config",
        forgotten,
        needs="as written",
        training=True,
    ),
)
