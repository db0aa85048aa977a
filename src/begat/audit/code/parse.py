"""Python source → its units: classes, functions and methods, each with the stretch of tokens that is its own.

Enters: source text, or bytes of unknown encoding.  Leaves: a `Parsed` file, or one line that says why there is none. Only `ast.parse` sees the text: nothing is
compiled to code, imported or executed. Hostile text (nesting, size, null bytes, encodings) ends in that one line.

A function or method owns its tokens, nested functions included. A class owns those of its methods and of the statements in its body.
"""

from __future__ import annotations

import ast
import io
import tokenize
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

from begat.audit.code.stream import Stream, is_docstring, walk
from begat.errors import printable

MAX_BYTES = 4 << 20
MAX_UNITS = 5_000
MAX_TOKENS = 100_000


@dataclass(frozen=True, slots=True)
class Unit:
    """A class, function or method, and the pieces of the stream that belong to it (`pieces`: numbers into `Parsed.bounds`)."""

    name: str
    kind: str
    lines: tuple[int, int]
    pieces: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Parsed:
    """One file's units and tokens; `bounds[i]` is where piece i begins and ends in `stream`; `note` says what was left out."""

    units: tuple[Unit, ...]
    stream: Stream
    bounds: tuple[tuple[int, int], ...]
    note: str = ""


def decode(data: bytes) -> str:
    """Source bytes as text, by byte-order mark or encoding line (PEP 263).

    Raises:
        ValueError: one line that says what is wrong.
    """
    if len(data) > MAX_BYTES:
        raise ValueError(f"{len(data):,} bytes, more than the {MAX_BYTES:,} that are read")
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
        text = data.decode(encoding)
    except (SyntaxError, UnicodeError, LookupError) as e:
        raise ValueError(f"its encoding cannot be read ({printable(e, 100)})") from None
    if not isinstance(text, str):
        raise ValueError("its encoding is no text encoding")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def parse(text: str) -> Parsed:
    """The units of one file.

    Raises:
        ValueError: one line that says why the text cannot be read.
    """
    if len(text) > MAX_BYTES:
        raise ValueError(f"{len(text):,} characters, more than the {MAX_BYTES:,} that are read")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(text)
    except SyntaxError as e:
        raise ValueError(f"line {e.lineno or 0} does not parse as Python ({printable(e.msg, 100)})") from None
    except (ValueError, MemoryError, RecursionError) as e:
        raise ValueError(
            f"does not parse as Python ({printable(e, 100) or type(e).__name__}; nested too deeply, or not text)"
        ) from None
    return _units(tree)


def _units(tree: ast.Module) -> Parsed:
    stream, bounds, units, note = Stream(), [], [], ""
    hidden = _package_classes(tree)

    def piece(nodes: list[ast.AST]) -> int:
        nonlocal note
        begin = len(stream.code)
        if not walk(nodes, stream, hidden, MAX_TOKENS):
            note = f"a unit has more than {MAX_TOKENS:,} tokens; the rest of it is not compared"
        bounds.append((begin, len(stream.code)))
        return len(bounds) - 1

    own: dict[str, list[int]] = {}
    found: list[tuple[str, str, tuple[int, int]]] = []
    for name, kind, node, owner in _definitions(tree):
        if len(found) >= MAX_UNITS:
            note = f"more than {MAX_UNITS:,} units; the rest are not compared"
            break
        first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
        found.append((name, kind, (first, node.end_lineno or node.lineno)))
        if isinstance(node, ast.ClassDef):
            body: list[ast.AST] = [
                n
                for n in node.body
                if not isinstance(n, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)) and not is_docstring(n)
            ]
            number = piece(body)
        else:
            number = piece([node.args, *node.body])
        own[name] = [number]
        for outer in owner:
            own[outer].append(number)
    for name, kind, lines in found:
        units.append(Unit(name, kind, lines, tuple(own[name])))
    return Parsed(tuple(units), stream, tuple(bounds), note)


def _definitions(
    tree: ast.Module,
) -> Iterator[tuple[str, str, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef, tuple[str, ...]]]:
    """Name, kind, node and enclosing classes of every unit, in order; a name used again gets a running number."""
    seen: dict[str, int] = {}
    stack: list[tuple[ast.AST, tuple[str, ...]]] = [(n, ()) for n in tree.body[::-1]]
    while stack:
        node, owner = stack.pop()
        if isinstance(node, (ast.If, ast.Try, ast.With)):  # definitions under `if is_torch_available():`
            inner = [*node.body, *getattr(node, "orelse", []), *getattr(node, "finalbody", [])]
            inner += [n for h in getattr(node, "handlers", []) for n in h.body]
            stack += [(n, owner) for n in inner[::-1]]
            continue
        if not isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        name = f"{owner[-1]}.{node.name}" if owner else node.name
        seen[name] = seen.get(name, 0) + 1
        if seen[name] > 1:
            name = f"{name}#{seen[name]}"
        if isinstance(node, ast.ClassDef):
            yield name, "class", node, owner
            stack += [(n, (*owner, name)) for n in node.body[::-1]]
        else:
            yield name, "method" if owner else "function", node, owner


def _package_classes(tree: ast.Module) -> frozenset[str]:
    """Classes that this file defines or imports by name: theirs are the names that carry the model's name, and they are no evidence."""
    names: set[str] = set()
    stack: list[ast.AST] = list(tree.body)
    while stack:
        node = stack.pop()
        if isinstance(node, ast.ClassDef):
            names.add(node.name)
            stack += [n for n in node.body if isinstance(n, ast.ClassDef)]
        elif isinstance(node, ast.ImportFrom):
            names.update(n for a in node.names if (n := a.asname or a.name)[:1].isupper() and not n.isupper())
        elif isinstance(node, (ast.If, ast.Try)):
            stack += [*node.body, *node.orelse]
    return frozenset(names)
