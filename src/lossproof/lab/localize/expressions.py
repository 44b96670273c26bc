"""Rewrites expressions so that each one inside a function reports its value to a probe.

`y_true - y_pred` becomes `probe.value(3, probe.value(1, y_true) - probe.value(2, y_pred))`, and `f(x)` becomes
`probe.value(5, probe.callee(f)(probe.value(4, x)))`. Every operation and every call still takes place in the user's own
frame and order, so that `super()`, `locals()`, warnings and short-circuits see what they always see. The probe is a
placeholder constant in the tree, so that no name is added anywhere.
"""

from __future__ import annotations

import ast
from typing import Any

from lossproof.lab.localize.events import Kind
from lossproof.lab.localize.sites import Part, Site, Span, Text, span_of

PLACEHOLDER = "\0lossproof probe\0"
"""Stands for the probe in compiled code."""

_KINDS: dict[type[ast.expr], Kind] = {
    ast.Name: "name",
    ast.Attribute: "attribute",
    ast.Subscript: "subscript",
    ast.BinOp: "binop",
    ast.UnaryOp: "unaryop",
    ast.BoolOp: "boolop",
    ast.Compare: "compare",
    ast.IfExp: "conditional",
    ast.Call: "call",
    ast.Tuple: "collection",
    ast.List: "collection",
    ast.Set: "collection",
    ast.Dict: "collection",
    ast.ListComp: "comprehension",
    ast.SetComp: "comprehension",
    ast.DictComp: "comprehension",
    ast.NamedExpr: "assign",
}
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
_OPAQUE = (ast.Yield, ast.YieldFrom, ast.Await)

Parts = tuple[Part, ...]


class Expressions(ast.NodeTransformer):
    """Rewrites expressions in place; `sites` tells afterwards which of them report."""

    def __init__(self, text: Text) -> None:
        self.text = text
        self.sites: list[Site] = []
        self.scopes: list[tuple[str, bool]] = []  # name, and whether it is a function
        # Expressions that are only asked for their truth. Compiled code asks each leaf of `a and (b or c)` at most
        # once there; a probe around the whole would have a leaf asked again.
        self.tests: set[ast.AST] = set()
        self.bare: set[ast.AST] = set()  # expressions that have no value of their own

    @property
    def inside(self) -> bool:
        """Whether what is visited is evaluated by a function, and not when the module is imported."""
        return any(function for _, function in self.scopes)

    def visit(self, node: ast.AST) -> Any:
        """Rewrite a node and all that it holds."""
        return self.expression(node)[0] if isinstance(node, ast.expr) else super().visit(node)

    def expression(self, node: ast.expr) -> tuple[ast.expr, Parts]:
        """Rewrite an expression; also what it offers as operands to the one around it, in order of evaluation."""
        if _constant(node):
            return node, _constant_part(node)
        if isinstance(node, ast.JoinedStr):
            return node, ()  # before Python 3.12, what stands in an f-string has wrong positions
        if isinstance(node, ast.Lambda):
            return self._lambda(node), ()
        test = node in self.tests
        if isinstance(node, ast.Call):
            node.func, parts = self.callee(node.func)
            parts += self._each(node.args) + self._each(node.keywords)
        elif isinstance(node, _COMPREHENSIONS):
            parts = self._comprehension(node)
        else:
            parts = self._operands(node, test)
        kind = _KINDS.get(type(node))
        if kind is None or not self.inside or not isinstance(getattr(node, "ctx", None), ast.Load | None):
            return node, () if isinstance(node, _OPAQUE) else parts
        if node in self.bare or (test and _truth_passes_through(node)):
            return node, parts
        skipping = _truth_passes_through(node) or (isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not))
        if skipping or kind == "collection":  # a constant may not be reached, or there are many
            parts = tuple(part for part in parts if part.site is not None)
        site = self.site(kind, span_of(node), parts, skipping)
        return self.probe("value", node, site, node), (Part(site.span, site),)

    def callee(self, node: ast.expr) -> tuple[ast.expr, Parts]:
        """Rewrite what is called, so that the probe may put an instrumented twin in its place; also its receiver."""
        receiver: Parts = ()
        if isinstance(node, ast.Attribute):
            node.value, parts = self.expression(node.value)
            receiver = tuple(part for part in parts if part.site is not None)
        elif not isinstance(node, ast.Name):
            node = self.expression(node)[0]
        return (self.probe("callee", node, node) if self.inside else node), receiver

    def site(self, kind: Kind, span: Span, parts: Parts, skipping: bool = False) -> Site:
        """A new site with operands given in order of evaluation, of which some may be skipped."""
        first = parts[0].site if skipping and parts else None
        for part in parts:
            if part.site is not None:
                part.site.awaited = True
        ordered = tuple(sorted(parts, key=lambda part: part.span))
        site = Site(len(self.sites), self.text, kind, span, self._scope(), ordered, first)
        self.sites.append(site)
        return site

    def probe(self, method: str, where: ast.expr | ast.stmt, *arguments: Site | ast.expr) -> ast.expr:
        """A call of the probe, with the position of `where`."""
        given = [
            ast.copy_location(ast.Constant(one.index), where) if isinstance(one, Site) else one for one in arguments
        ]
        probe = ast.copy_location(ast.Constant(PLACEHOLDER), where)
        bound = ast.copy_location(ast.Attribute(probe, method, ast.Load()), where)
        return ast.copy_location(ast.Call(bound, given, []), where)

    def _scope(self) -> str:
        """The qualified name of the function or class visited, as Python forms it."""
        name = ""
        for k, (part, _) in enumerate(self.scopes):
            name += part if k == 0 else (".<locals>." if self.scopes[k - 1][1] else ".") + part
        return name

    def _lambda(self, node: ast.Lambda) -> ast.Lambda:
        self.defaults(node.args)
        self.scopes.append(("<lambda>", True))
        node.body = self.visit(node.body)
        self.scopes.pop()
        return node

    def defaults(self, arguments: ast.arguments) -> None:
        """Rewrite the defaults of a function, which belong to the scope around it."""
        arguments.defaults = [self.visit(each) for each in arguments.defaults]
        arguments.kw_defaults = [None if each is None else self.visit(each) for each in arguments.kw_defaults]

    def _comprehension(self, node: ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp) -> Parts:
        offered: Parts = ()
        for k, each in enumerate(node.generators):
            self.tests.update(each.ifs)
            each.iter, parts = self.expression(each.iter)
            each.target = self.visit(each.target)
            each.ifs = [self.visit(test) for test in each.ifs]
            offered = parts if k == 0 else offered  # the only one that is always evaluated, and once
        for field in ("key", "value", "elt"):
            if hasattr(node, field):
                setattr(node, field, self.visit(getattr(node, field)))
        return offered

    def _operands(self, node: ast.expr, test: bool) -> Parts:
        if isinstance(node, ast.IfExp):
            self.tests.update((node.test, node.body, node.orelse) if test else (node.test,))
            node.test, parts = self.expression(node.test)
            node.body, body = self.expression(node.body)
            node.orelse, orelse = self.expression(node.orelse)
            return parts + body + orelse
        if isinstance(node, ast.BoolOp):
            self.tests.update(node.values)
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            self.tests.add(node.operand)
        elif isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Tuple):
            self.bare.add(node.slice)  # may hold slices, which have no value outside of brackets
        offered: Parts = ()
        for field, held in ast.iter_fields(node):
            if isinstance(held, list):
                offered += self._each(held)
            elif isinstance(held, ast.expr):
                new, parts = self.expression(held)
                setattr(node, field, new)
                offered += parts
        return offered

    def _each(self, nodes: list[Any]) -> Parts:
        """Rewrite the elements of a list in place, of which some are no expressions."""
        offered: Parts = ()
        for k, node in enumerate(nodes):
            if isinstance(node, ast.expr):
                nodes[k], parts = self.expression(node)
                offered += parts
            elif isinstance(node, ast.keyword):
                node.value, parts = self.expression(node.value)
                offered += parts
        return offered


def _constant(node: ast.expr) -> bool:
    """Whether an expression is made of constants only: the compiler folds it, and nobody needs its value."""
    match node:
        case ast.Constant():
            return True
        case ast.UnaryOp(operand=operand):
            return _constant(operand)
        case ast.BinOp(left=left, right=right):
            return _constant(left) and _constant(right)
        case ast.Tuple(elts=values, ctx=ast.Load()) | ast.BoolOp(values=values):
            return all(map(_constant, values))
        case ast.Compare(left=left, comparators=others):
            return _constant(left) and all(map(_constant, others))
        case ast.IfExp(test=test, body=body, orelse=orelse):
            return _constant(test) and _constant(body) and _constant(orelse)
        case ast.Subscript(value=value, slice=index):
            return _constant(value) and _constant(index)
    return False


def _constant_part(node: ast.expr) -> Parts:
    try:
        return (Part(span_of(node), constant=ast.literal_eval(node)),)
    except (ValueError, TypeError, MemoryError, RecursionError):
        return ()  # such as `2 ** 10`


def _truth_passes_through(node: ast.expr) -> bool:
    """Whether the truth of an expression is the truth of one of its parts, or of a comparison inside it."""
    return isinstance(node, ast.BoolOp | ast.IfExp) or (isinstance(node, ast.Compare) and len(node.ops) > 1)
