"""Laundering recipes for Python modules: what someone does who hides where code comes from.

Enters: source text and a passed `random.Random`.  Leaves: source text that parses, and what its units were called (`Laundered.origin`). Recipes are made
of the steps below. Steps keep meaning where that is cheap (renaming, order, annotations, temporaries) and only look plausible where it is not (einsum
subscripts); nothing is run, and a detector that reads text cannot tell. `HELD_OUT` is never used to choose a threshold.
"""

from __future__ import annotations

import ast
import builtins
import keyword
import random
from collections.abc import Callable
from dataclasses import dataclass

_WORDS = "alpha beta gamma delta zeta theta kappa mu nu rho sigma tau phi chi psi omega node item cell slot lane band mesh grid core unit blob hub".split()  # noqa: SIM905
FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass
class Laundered:
    """A module after a recipe; `origin` maps dotted unit names to those they had."""

    text: str
    origin: dict[str, str]


# --- renaming -----------------------------------------------------------------------------------------------


class _Defined(ast.NodeVisitor):
    """Names a module gives itself: variables, arguments, functions, classes, attributes of self."""

    def __init__(self) -> None:
        self.names: set[str] = set()
        self.imported: set[str] = set()

    def visit_Name(self, node):
        if isinstance(node.ctx, ast.Store):
            self.names.add(node.id)

    def visit_arg(self, node):
        self.names.add(node.arg)

    def visit_Attribute(self, node):
        if isinstance(node.value, ast.Name) and node.value.id == "self" and isinstance(node.ctx, ast.Store):
            self.names.add(node.attr)
        self.generic_visit(node)

    def _definition(self, node):
        self.names.add(node.name)
        self.generic_visit(node)

    visit_FunctionDef = visit_AsyncFunctionDef = visit_ClassDef = _definition

    def _import(self, node):
        self.imported.update((a.asname or a.name).split(".")[0] for a in node.names)

    visit_Import = visit_ImportFrom = _import


class _Rename(ast.NodeTransformer):
    def __init__(self, new: dict[str, str]) -> None:
        self.new = new

    def visit_Name(self, node):
        node.id = self.new.get(node.id, node.id)
        return node

    def visit_arg(self, node):
        node.arg = self.new.get(node.arg, node.arg)
        return self.generic_visit(node)

    def visit_Attribute(self, node):
        node.attr = self.new.get(node.attr, node.attr)
        return self.generic_visit(node)

    def visit_keyword(self, node):
        if node.arg:
            node.arg = self.new.get(node.arg, node.arg)
        return self.generic_visit(node)

    def _definition(self, node):
        node.name = self.new.get(node.name, node.name)
        return self.generic_visit(node)

    visit_FunctionDef = visit_AsyncFunctionDef = visit_ClassDef = _definition

    def visit_Global(self, node):
        node.names = [self.new.get(n, n) for n in node.names]
        return node

    visit_Nonlocal = visit_Global


def rename(tree: ast.Module, rng: random.Random, share: float = 1.0) -> None:
    """Every name the module gives itself (or a share of them) becomes another one, the same everywhere."""
    seen = _Defined()
    seen.visit(tree)
    keep = seen.imported | set(dir(builtins)) | {"self", "cls", "forward"} | set(keyword.kwlist)
    names = sorted(n for n in seen.names if n not in keep and not n.startswith("__"))
    new = {n: f"{rng.choice(_WORDS)}_{rng.choice(_WORDS)}{i}" for i, n in enumerate(names) if rng.random() < share}
    _Rename(new).visit(tree)


# --- surface ------------------------------------------------------------------------------------------------


class _NoAnnotations(ast.NodeTransformer):
    def _function(self, node):
        node.returns = None
        return self.generic_visit(node)

    visit_FunctionDef = visit_AsyncFunctionDef = _function

    def visit_arg(self, node):
        node.annotation = None
        return node

    def visit_AnnAssign(self, node):
        if node.value is None:
            return ast.Pass()
        return ast.Assign([node.target], node.value)


def _is_doc(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def drop_annotations(tree: ast.Module, rng: random.Random) -> None:
    """No annotations, no docstrings. (Comments and layout go with `ast.unparse`.)"""
    _NoAnnotations().visit(tree)
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            node.body = [n for n in node.body if not _is_doc(n)] or [ast.Pass()]


def reorder(tree: ast.Module, rng: random.Random) -> None:
    """Functions and classes of the module, and methods of each class, in another order; other statements first."""

    def shuffled(body):
        loose = [n for n in body if not isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))]
        units = [n for n in body if isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))]
        rng.shuffle(units)
        return loose + units

    tree.body = shuffled(tree.body)
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            node.body = shuffled(node.body)


# --- operators ----------------------------------------------------------------------------------------------


class _Einsum(ast.NodeTransformer):
    """matmul, bmm and @ become einsum; einsum becomes matmul; transpose(-1, -2) becomes mT."""

    def visit_BinOp(self, node):
        self.generic_visit(node)
        return _einsum([node.left, node.right]) if isinstance(node.op, ast.MatMult) else node

    def visit_Call(self, node):
        self.generic_visit(node)
        name = node.func.attr if isinstance(node.func, ast.Attribute) else ""
        if name in ("matmul", "bmm") and len(node.args) == 2:
            return _einsum(node.args)
        if name == "einsum" and len(node.args) == 3:
            return ast.BinOp(node.args[1], ast.MatMult(), node.args[2])
        if name == "transpose" and {ast.unparse(a) for a in node.args} == {"-1", "-2"}:
            return ast.Attribute(node.func.value, "mT", ast.Load())
        if name in ("view", "reshape"):
            node.func.attr = "reshape" if name == "view" else "view"
        return node


def _einsum(args):
    return ast.Call(
        ast.Attribute(ast.Name("torch", ast.Load()), "einsum", ast.Load()), [ast.Constant("...ij,...jk->...ik"), *args], []
    )


def operators(tree: ast.Module, rng: random.Random) -> None:
    """Einsum ↔ matmul, view ↔ reshape."""
    _Einsum().visit(tree)


# --- statements ---------------------------------------------------------------------------------------------


def rewrite(tree: ast.Module, rng: random.Random, share: float) -> None:
    """That share of the statements is written another way, each in one of seven ways that fits it."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            node.body = _rewritten(node.body, rng, share)


def _rewritten(body, rng, share):
    out = []
    for node in body:
        for name in ("body", "orelse", "finalbody"):
            inner = getattr(node, name, None)
            if isinstance(inner, list) and not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                setattr(node, name, _rewritten(inner, rng, share))
        if rng.random() >= share:
            out.append(node)
            continue
        ways = [w for w in (_hoist, _swap, _invert, _via_name, _method, _guard, _named_constant) if w is not None]
        rng.shuffle(ways)
        out += next((got for w in ways if (got := w(node, rng)) is not None), [node])
    return out


def _fresh(rng):
    return f"{rng.choice(_WORDS)}_{rng.randrange(10**6)}"


def _replace_once(node, test, make):
    """Replace the first expression below `node` (not in nested statements) that passes `test`."""
    for parent in ast.walk(node):
        if isinstance(parent, ast.stmt) and parent is not node:
            continue
        for f, value in ast.iter_fields(parent):
            if isinstance(value, ast.expr) and test(value, parent):
                setattr(parent, f, make(value))
                return True
            if isinstance(value, list):
                for i, v in enumerate(value):
                    if isinstance(v, ast.expr) and test(v, parent):
                        value[i] = make(v)
                        return True
    return False


def _simple(node):
    return isinstance(node, (ast.Assign, ast.Return, ast.Expr, ast.AugAssign)) and getattr(node, "value", None) is not None


def _hoist(node, rng):
    """`x = f(g(y))` → `t = g(y); x = f(t)`."""
    if not _simple(node):
        return None
    name, kept = _fresh(rng), []

    def make(value):
        kept.append(value)
        return ast.Name(name, ast.Load())

    def inside(v, p):
        return (
            isinstance(v, (ast.Call, ast.BinOp)) and isinstance(p, (ast.Call, ast.BinOp, ast.Attribute)) and v is not node.value
        )

    return [ast.Assign([ast.Name(name, ast.Store())], kept[0]), node] if _replace_once(node, inside, make) else None


def _swap(node, rng):
    """`a + b` → `b + a`, `a < b` → `b > a`."""
    flip = {ast.Lt: ast.Gt, ast.Gt: ast.Lt, ast.LtE: ast.GtE, ast.GtE: ast.LtE, ast.Eq: ast.Eq, ast.NotEq: ast.NotEq}

    def test(v, p):
        commutes = isinstance(v, ast.BinOp) and isinstance(v.op, (ast.Add, ast.Mult))
        return commutes or (isinstance(v, ast.Compare) and len(v.ops) == 1 and type(v.ops[0]) in flip)

    def make(v):
        if isinstance(v, ast.BinOp):
            return ast.BinOp(v.right, v.op, v.left)
        return ast.Compare(v.comparators[0], [flip[type(v.ops[0])]()], [v.left])

    return [node] if _replace_once(node, test, make) else None


def _invert(node, rng):
    """`if c: A else: B` → `if not c: B else: A`; likewise for conditional expressions."""
    if isinstance(node, ast.If) and node.orelse:
        return [ast.If(ast.UnaryOp(ast.Not(), node.test), node.orelse, node.body)]
    make = lambda v: ast.IfExp(ast.UnaryOp(ast.Not(), v.test), v.orelse, v.body)  # noqa: E731
    return [node] if _replace_once(node, lambda v, p: isinstance(v, ast.IfExp), make) else None


def _via_name(node, rng):
    """`return f(x)` → `t = f(x); return t`; `x = f(y)` → `t = f(y); x = t`."""
    if not _simple(node) or isinstance(node.value, ast.Name) or isinstance(node, (ast.Expr, ast.AugAssign)):
        return None
    name = _fresh(rng)
    first = ast.Assign([ast.Name(name, ast.Store())], node.value)
    node.value = ast.Name(name, ast.Load())
    return [first, node]


def _method(node, rng):
    """`x.softmax(…)` → `torch.softmax(x, …)`."""
    test = lambda v, p: isinstance(v, ast.Call) and isinstance(v.func, ast.Attribute) and not isinstance(v.func.value, ast.Name)  # noqa: E731

    def make(v):
        return ast.Call(
            ast.Attribute(ast.Name("torch", ast.Load()), v.func.attr, ast.Load()), [v.func.value, *v.args], v.keywords
        )

    return [node] if _replace_once(node, test, make) else None


def _guard(node, rng):
    """A check before the statement."""
    if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
        name = node.targets[0].id
        return [node, ast.Assert(ast.Compare(ast.Name(name, ast.Load()), [ast.IsNot()], [ast.Constant(None)]), None)]
    return None


def _named_constant(node, rng):
    """`f(x, 2)` → `two = 2; f(x, two)`."""
    if not _simple(node):
        return None
    name, kept = _fresh(rng), []

    def make(v):
        kept.append(v)
        return ast.Name(name, ast.Load())

    test = lambda v, p: isinstance(v, ast.Constant) and isinstance(v.value, (int, float)) and not isinstance(v.value, bool)  # noqa: E731
    return [ast.Assign([ast.Name(name, ast.Store())], kept[0]), node] if _replace_once(node, test, make) else None


# --- functions ----------------------------------------------------------------------------------------------


def split(tree: ast.Module, rng: random.Random) -> None:
    """Functions of six statements and more are cut in two; the second half becomes a function of its own that the first calls."""
    owners: list[tuple[ast.AST, bool]] = [(tree, False)] + [(n, True) for n in ast.walk(tree) if isinstance(n, ast.ClassDef)]
    for owner, method in owners:
        out = []
        for node in owner.body:
            out.append(node)
            if isinstance(node, ast.FunctionDef) and len(node.body) >= 6 and not node.name.startswith("__"):
                out.append(_halve(node, rng, method))
        owner.body = out


def _halve(node: ast.FunctionDef, rng: random.Random, method: bool) -> ast.FunctionDef:
    cut = len(node.body) // 2
    rest = node.body[cut:]
    used = sorted({n.id for s in rest for n in ast.walk(s) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)})
    bound = {n.id for s in node.body[:cut] for n in ast.walk(s) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)} | {
        a.arg for a in node.args.args
    }
    names = [n for n in used if n in bound and n != "self"]
    name = f"{node.name}_{rng.choice(_WORDS)}"
    callee = ast.Attribute(ast.Name("self", ast.Load()), name, ast.Load()) if method else ast.Name(name, ast.Load())
    node.body = [*node.body[:cut], ast.Return(ast.Call(callee, [ast.Name(n, ast.Load()) for n in names], []))]
    args = ast.arguments([], [ast.arg(n) for n in ([*(["self"] if method else []), *names])], None, [], [], None, [])
    return ast.FunctionDef(name, args, rest, [], None)


def merge(tree: ast.Module, rng: random.Random) -> dict[str, str]:
    """Neighbouring short methods of a class become one whose flag says which of them runs."""
    merged: dict[str, str] = {}
    for owner in [n for n in ast.walk(tree) if isinstance(n, ast.ClassDef)]:
        out: list[ast.stmt] = []
        for node in owner.body:
            last = out[-1] if out else None
            fits = all(
                isinstance(n, ast.FunctionDef) and not n.name.startswith("__") and not n.decorator_list for n in (node, last)
            )
            if fits and len(last.body) + len(node.body) <= 40 and not hasattr(last, "merged"):
                have = {a.arg for a in last.args.args}
                last.args.args += [a for a in node.args.args if a.arg not in have]
                last.args.defaults = [ast.Constant(None)] * (len(last.args.args) - 1)
                last.body = [ast.If(ast.Name("mode", ast.Load()), last.body, node.body)]
                last.args.args.append(ast.arg("mode"))
                last.args.defaults.append(ast.Constant(True))
                last.merged = True
                continue
            out.append(node)
        owner.body = out or [ast.Pass()]
    return merged


# --- recipes ------------------------------------------------------------------------------------------------

Step = Callable[[ast.Module, random.Random], object]
RECIPES: dict[str, tuple[Step, ...]] = {
    "verbatim": (),
    "reformat": (drop_annotations,),
    "rename": (drop_annotations, rename),
    "rename+reorder": (drop_annotations, rename, reorder),
    "rename+operators": (drop_annotations, operators, rename),
    "rewrite 10 %": (drop_annotations, lambda t, r: rewrite(t, r, 0.1), rename),
    "rewrite 30 %": (drop_annotations, lambda t, r: rewrite(t, r, 0.3), rename),
    "rewrite 60 %": (drop_annotations, lambda t, r: rewrite(t, r, 0.6), rename),
    "rewrite 60 %, names kept": (drop_annotations, lambda t, r: rewrite(t, r, 0.6)),
    "split+merge": (drop_annotations, merge, split, lambda t, r: rewrite(t, r, 0.2), operators, rename, reorder),
}
HELD_OUT = "split+merge"


def launder(text: str, recipe: str, rng: random.Random) -> Laundered:
    """`text` after a recipe."""
    tree = ast.parse(text)
    for node, name in _named(tree):
        node.came_from = name
    for step in RECIPES[recipe]:
        step(tree, rng)
    if recipe == "verbatim":
        return Laundered(text, {name: name for _, name in _named(tree)})
    ast.fix_missing_locations(tree)
    origin = {name: getattr(node, "came_from", "") for node, name in _named(tree)}
    return Laundered(ast.unparse(tree), origin)


def _named(tree: ast.Module):
    """(node, dotted name) of classes, functions and methods, as far as both are plain."""
    stack: list[tuple[ast.AST, str]] = [(n, "") for n in tree.body]
    while stack:
        node, owner = stack.pop()
        if isinstance(node, (ast.If, ast.Try)):
            stack += [(n, owner) for n in [*node.body, *node.orelse]]
        elif isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            name = f"{owner}.{node.name}" if owner else node.name
            yield node, name
            if isinstance(node, ast.ClassDef):
                stack += [(n, name) for n in node.body]
