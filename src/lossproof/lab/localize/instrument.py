"""Rewrites the statements of a module, and by `expressions` what they hold."""

from __future__ import annotations

import ast
from typing import Any

from lossproof.lab.localize.expressions import Expressions, Parts
from lossproof.lab.localize.sites import Part, Site, span_of

_NEVER_EVALUATED: tuple[type, ...] = (ast.TypeAlias,) if hasattr(ast, "TypeAlias") else ()  # Python 3.12


class Instrumenter(Expressions):
    """Rewrites a module in place; what runs when the module is imported stays as it is."""

    def visit(self, node: ast.AST) -> Any:
        """Rewrite a node and all that it holds: an expression becomes another one, a statement one or several."""
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                return self._function(node)
            case ast.ClassDef():
                return self._class(node)
            case ast.AugAssign():
                return self._augmented(node)
            case ast.If() | ast.While() | ast.Assert():
                self.tests.add(node.test)
            case ast.match_case():  # patterns have a syntax of their own and are left alone
                node.guard = self._optional(node.guard, test=True)
                node.body = self._block(node.body)
                return node
            case ast.ExceptHandler():  # classes of exceptions are no values of a loss
                node.body = self._block(node.body)
                return node
            case ast.AnnAssign():  # the annotation may never be evaluated
                node.target = self.visit(node.target)
                node.value = self._optional(node.value)
                return node
        if isinstance(node, _NEVER_EVALUATED):
            return node
        return super().visit(node)

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> ast.stmt:
        # Decorators and defaults are evaluated in the scope around. Annotations may never be evaluated: left alone.
        node.decorator_list = [self.callee(each)[0] for each in node.decorator_list]
        self.defaults(node.args)
        node.body = self._body(node.name, True, node.body)
        return node

    def _class(self, node: ast.ClassDef) -> ast.ClassDef:
        node.decorator_list = [self.callee(each)[0] for each in node.decorator_list]
        node.bases = [self.visit(each) for each in node.bases]
        for keyword in node.keywords:
            keyword.value = self.visit(keyword.value)
        node.body = self._body(node.name, False, node.body)
        return node

    def _augmented(self, node: ast.AugAssign) -> ast.AST | list[ast.stmt]:
        # The old and the new value of the target are reported, which is still read and written once.
        if not isinstance(node.target, ast.Name):
            return self._update(node, node.target)
        node.value, parts = self.expression(node.value)
        if not self.scopes or not self.scopes[-1][1]:
            return node  # reading a name again has no effect in a function; the namespace of a class may be anything
        old = self.site("name", span_of(node.target), ())
        new = self.site("augassign", span_of(node), (Part(old.span, old), *parts))
        return [self._read(node.target, node.target, old), node, self._read(node.target, node, new)]

    def _read(self, name: ast.Name, where: ast.expr | ast.stmt, site: Site) -> ast.stmt:
        load = ast.copy_location(ast.Name(name.id, ast.Load()), where)
        return ast.copy_location(ast.Expr(self.probe("value", where, site, load)), where)

    def _update(self, node: ast.AugAssign, target: ast.Attribute | ast.Subscript) -> ast.AugAssign:
        # `a[i] += b` becomes `probe.item(old, new, a)[i] += b`: a stand-in for `a` that reports what passes through.
        span = span_of(target)
        parts: Parts
        target.value, parts = self.expression(target.value)
        if isinstance(target, ast.Subscript):
            if isinstance(target.slice, ast.Tuple):
                self.bare.add(target.slice)
            target.slice, index = self.expression(target.slice)
            parts += index
        node.value, operands = self.expression(node.value)
        if self.inside:
            item = isinstance(target, ast.Subscript)
            old = self.site("subscript" if item else "attribute", span, parts)
            new = self.site("augassign", span_of(node), (Part(old.span, old), *operands))
            target.value = self.probe("item" if item else "attribute", target.value, old, new, target.value)
        return node

    def _body(self, name: str, function: bool, body: list[ast.stmt]) -> list[ast.stmt]:
        self.scopes.append((name, function))
        body = self._block(body)
        self.scopes.pop()
        return body

    def _optional(self, node: ast.expr | None, *, test: bool = False) -> ast.expr | None:
        if node is None:
            return None
        if test:
            self.tests.add(node)
        return self.expression(node)[0]

    def _block(self, body: list[ast.stmt]) -> list[ast.stmt]:
        out: list[ast.stmt] = []
        for statement in body:
            new = self.visit(statement)
            out += new if isinstance(new, list) else [new]
        return out
