"""Rewrites the statements of a module, and by `expressions` what they hold."""

from __future__ import annotations

import ast
from typing import Any, TypeVar

from lossproof.lab.localize.expressions import Expressions, Parts
from lossproof.lab.localize.sites import Site, position

_Function = TypeVar("_Function", ast.FunctionDef, ast.AsyncFunctionDef)



class Instrumenter(Expressions):
    """Rewrites a module in place; what runs when the module is imported stays as it is."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        """Rewrite a function."""
        return self._function(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        """Rewrite a coroutine function."""
        return self._function(node)

    def _function(self, node: _Function) -> _Function:
        # Decorators and defaults are evaluated in the scope around. Annotations may never be evaluated: left alone.
        node.decorator_list = [self.callee(each)[0] for each in node.decorator_list]
        self.defaults(node.args)
        node.body = self._body(node.name, True, node.body)
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        """Rewrite a class."""
        node.decorator_list = [self.callee(each)[0] for each in node.decorator_list]
        node.bases = [self.visit(each) for each in node.bases]
        for keyword in node.keywords:
            keyword.value = self.visit(keyword.value)
        node.body = self._body(node.name, False, node.body)
        return node

    def visit_If(self, node: ast.If) -> ast.AST:
        """Rewrite a branch."""
        self.tests.add(node.test)
        return self.generic_visit(node)

    def visit_While(self, node: ast.While) -> ast.AST:
        """Rewrite a loop."""
        self.tests.add(node.test)
        return self.generic_visit(node)

    def visit_Assert(self, node: ast.Assert) -> ast.AST:
        """Rewrite an assertion."""
        self.tests.add(node.test)
        return self.generic_visit(node)

    def visit_match_case(self, node: ast.match_case) -> ast.AST:
        """Rewrite guard and body; patterns have a syntax of their own and are left alone."""
        if node.guard is not None:
            self.tests.add(node.guard)
            node.guard = self.visit(node.guard)
        node.body = self._block(node.body)
        return node

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> ast.AST:
        """Rewrite the body; the classes of exceptions are no values of a loss."""
        node.body = self._block(node.body)
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        """Rewrite target and value; the annotation may never be evaluated."""
        node.target = self.visit(node.target)
        node.value = None if node.value is None else self.visit(node.value)
        return node

    def visit_TypeAlias(self, node: ast.AST) -> ast.AST:
        """Leave a type alias (Python 3.12) alone: it may never be evaluated."""
        return node

    def visit_AugAssign(self, node: ast.AugAssign) -> ast.AST | list[ast.stmt]:
        """Report the old and the new value of the target, which is still read and written once."""
        if not isinstance(node.target, ast.Name):
            return self._update(node, node.target)
        node.value, parts = self.expression(node.value)
        if not self.scopes or not self.scopes[-1][1]:
            return node  # reading a name again has no effect in a function; the namespace of a class may be anything
        old = self.site("name", position(node.target), ())
        new = self.site("augassign", position(node), (self.part(old), *parts))
        return [self._read(node.target, node.target, old), node, self._read(node.target, node, new)]

    def _read(self, name: ast.Name, where: ast.expr | ast.stmt, site: Site) -> ast.stmt:
        load = ast.copy_location(ast.Name(name.id, ast.Load()), where)
        return ast.copy_location(ast.Expr(self.probe("value", where, site, load)), where)

    def _update(self, node: ast.AugAssign, target: ast.Attribute | ast.Subscript) -> ast.AugAssign:
        # `a[i] += b` becomes `probe.item(old, new, a)[i] += b`: a stand-in for `a` that reports what passes through.
        at = position(target)
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
            old = self.site("subscript" if item else "attribute", at, parts)
            new = self.site("augassign", position(node), (self.part(old), *operands))
            target.value = self.probe("item" if item else "attribute", target.value, old, new, target.value)
        return node

    def _body(self, name: str, function: bool, body: list[ast.stmt]) -> list[ast.stmt]:
        self.scopes.append((name, function))
        body = self._block(body)
        self.scopes.pop()
        return body

    def _block(self, body: list[ast.stmt]) -> list[ast.stmt]:
        out: list[ast.stmt] = []
        for statement in body:
            new = self.visit(statement)
            out += new if isinstance(new, list) else [new]
        return out
