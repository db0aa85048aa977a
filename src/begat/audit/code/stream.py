"""Syntax trees of units → a stream of tokens without layout, comments, docstrings, annotations, decorators or names of units.

Enters: nodes of `ast`.  Leaves: a `Stream` of parallel lists. Walks with a stack of its own, so that depth costs memory and not recursion. What becomes of
the stream: `begat.audit.code.features`.

The order is prefix order of the tree, so parentheses, line breaks and quotes say nothing. `a += b` reads as `a = a + b`, `a: T = b` as `a = b`. Keyword
names of calls, import lines and the text of strings are left out; numbers stay.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from hashlib import blake2b
from typing import Any

_names: dict[str, int] = {}
_MEMO = 500_000


def stable(text: str) -> int:
    """63 bits of BLAKE2b: the same in every process, on every machine, under every version of Python."""
    got = _names.get(text)
    if got is None:
        if len(_names) > _MEMO:
            _names.clear()
        got = _names[text] = int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little") >> 1
    return got


IDENTIFIER, STRING, HIDDEN = stable("identifier"), stable("string"), stable("class of this package")
# Node → fields that are read, where they are not simply all of them; a node read as another one.
_FIELDS: dict[type, tuple[str, ...]] = {
    ast.FunctionDef: ("args", "body"), ast.AsyncFunctionDef: ("args", "body"), ast.ClassDef: ("bases", "body"),
    ast.arg: ("arg",), ast.AnnAssign: ("target", "value"), ast.keyword: ("value",), ast.JoinedStr: (), ast.Import: (), ast.ImportFrom: (),
    ast.Assert: ("test",), ast.Constant: (),
}  # fmt: skip
_READ_AS: dict[type, type] = {ast.AnnAssign: ast.Assign, ast.AugAssign: ast.Assign, ast.AsyncFunctionDef: ast.FunctionDef}
_SILENT = {
    ast.Expr,
    ast.arguments,
    ast.arg,
    ast.keyword,
    ast.Name,
    ast.Constant,
    ast.Pass,
    ast.Import,
    ast.ImportFrom,
    ast.Load,
    ast.Store,
    ast.Del,
}
_COMPOUND = {
    ast.Call, ast.BinOp, ast.BoolOp, ast.Compare, ast.Subscript, ast.IfExp, ast.UnaryOp, ast.Lambda,
    ast.ListComp, ast.GeneratorExp, ast.DictComp, ast.SetComp,
}  # fmt: skip
_SKIPPED = {
    "ctx",
    "type_comment",
    "type_params",
    "kind",
    "annotation",
    "returns",
    "decorator_list",
    "is_async",
    "conversion",
    "simple",
}


@dataclass(slots=True)
class Stream:
    """Tokens of the units of one file, in order.

    Attributes:
        code: what the token is; `IDENTIFIER` for every name, `STRING` for every string.
        name: the same, but a hash of the name itself where the token is a name.
        back: distance to the last token of the same name in the same unit, 0 where there is none (parameterised strings: Baker, STOC 1993).
        line: where it stands, 1-based.
        statement: running number of its statement; a compound statement's header is a statement of its own.
        statements: statements so far.
        trees: first token and number of tokens of every compound expression.
    """

    code: list[int] = field(default_factory=list)
    name: list[int] = field(default_factory=list)
    back: list[int] = field(default_factory=list)
    line: list[int] = field(default_factory=list)
    statement: list[int] = field(default_factory=list)
    statements: int = 0
    trees: list[tuple[int, int]] = field(default_factory=list)


@cache
def _plan(kind: type[ast.AST]) -> tuple[int, tuple[str, ...], bool]:
    """Token of a kind of node (0: none), the fields to read, last first, and whether a statement begins."""
    code = 0 if kind in _SILENT else STRING if kind is ast.JoinedStr else stable(_READ_AS.get(kind, kind).__name__)
    fields = _FIELDS.get(kind, tuple(f for f in kind._fields if f not in _SKIPPED))
    return code, fields[::-1], issubclass(kind, (ast.stmt, ast.ExceptHandler, ast.match_case))


def _constant(value: object) -> int:
    if isinstance(value, (str, bytes)):
        return STRING
    large = isinstance(value, int) and abs(value) >> 64
    return stable("large int" if large else f"{type(value).__name__} {value!r}")


def is_docstring(node: ast.AST) -> bool:
    """A statement that is only a string."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, (str, bytes))


def walk(nodes: Sequence[ast.AST], out: Stream, hidden: frozenset[str], limit: int) -> bool:
    """Append the tokens of `nodes`, which are one unit, to `out`.

    Args:
        nodes: arguments and statements of the unit, in order.
        out: grows.
        hidden: names that read as one and the same in the names view: classes of the package, whose names carry the model's name.
        limit: most tokens; the rest is left out.

    Returns:
        False if `limit` cut the unit.
    """
    code, name, back, line, statement = out.code, out.name, out.back, out.line, out.statement
    last: dict[str, int] = {}
    stack: list[Any] = list(nodes)[::-1]
    at, end = 1, len(code) + limit
    out.statements += 1
    while stack:
        node = stack.pop()
        if node.__class__ is int:  # an expression that began at this token ends here
            out.trees.append((node, len(code) - node))
            continue
        if isinstance(node, str):
            here = len(code)
            if here >= end:
                return False
            code.append(IDENTIFIER)
            name.append(HIDDEN if node in hidden else stable(node))
            back.append(here - last.get(node, here))
            last[node] = here
        elif not isinstance(node, ast.AST):  # the singleton of a match pattern
            code.append(_constant(node))
            name.append(code[-1])
            back.append(0)
        else:
            kind = type(node)
            token, fields, begins = _plan(kind)  # type: ignore[arg-type]
            at = getattr(node, "lineno", at)
            if begins:
                if is_docstring(node):
                    continue
                out.statements += 1
            elif kind in _COMPOUND:
                stack.append(len(code))
            if kind is ast.AugAssign:
                stack += [ast.BinOp(node.target, node.op, node.value), node.target]  # type: ignore[attr-defined]
            else:
                for f in fields:
                    value = getattr(node, f, None)
                    if value.__class__ is list:
                        stack += [v for v in value[::-1] if v is not None]
                    elif value is not None:
                        stack.append(value)
            if kind is ast.Constant:
                token = _constant(node.value)  # type: ignore[attr-defined]
            if not token:
                continue
            code.append(token)
            name.append(token)
            back.append(0)
        line.append(at)
        statement.append(out.statements)
    return True
