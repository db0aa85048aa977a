"""A pickle machine that builds plain data and nothing else.

Enters: a byte stream and two callbacks, `find(module, name)` for every global the stream names and `persistent(id)`.
Leaves: a value made of None, bool, int, float, str, bytes, list, tuple, dict and `Inert`.  The allow-list of globals and what
the torch ones mean are the neighbour's: `torch_pickle.py`.

Why not `pickle.Unpickler`: its C version allocates gigabytes for one hostile memo index, and both versions call what the stream
names, call `__setstate__`, set attributes, hash nested tuples without a bound (2**60 steps for 60 opcodes) and trust declared
lengths. Here REDUCE, NEWOBJ, INST and OBJ end in one `call` that knows the torch rebuild functions as data; every other class
becomes an `Inert` that only remembers its parts. Nothing is imported.
"""

from __future__ import annotations

import pickle
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from begat.errors import InputError

_MAX_OPS = 6_000_000  # a checkpoint spends about 35 opcodes a tensor; also bounds memory: an opcode makes one small object
_MAX_BYTES = 128 << 20
_MAX_LINE = 1 << 16
_MAX_LONG = 1024
_MARK = object()


@dataclass(frozen=True, slots=True)
class Global:
    """A name the stream refers to: allowed, never imported. `kind` and `value` say what it stands for."""

    module: str
    name: str
    kind: str
    value: Any = None


@dataclass(slots=True, eq=False)
class Inert:
    """An object that was not built: the class it names and the parts it was given."""

    cls: str
    parts: list[Any] = field(default_factory=list)


class Damaged(Exception):
    """The stream breaks the rules of pickle."""


class PickleMachine:
    """Runs one pickle stream.

    Args:
        stream: positioned at the first opcode; afterwards positioned behind STOP.
        path: for error messages.
        find: (module, name) → `Global`; raises InputError for globals that are not allowed.
        persistent: persistent id → value.
        call: (`Global`, args) → value, for REDUCE and its kin.

    """

    def __init__(
        self,
        stream: BinaryIO,
        path: Path,
        find: Callable[[str, str], Global],
        persistent: Callable[[Any], Any],
        call: Callable[[Global, tuple[Any, ...]], Any],
    ) -> None:
        self._stream, self._path = stream, path
        self._find, self._persistent, self._call = find, persistent, call
        self._stack: list[Any] = []
        self._marks: list[list[Any]] = []
        self._memo: dict[int, Any] = {}
        self._left = _MAX_BYTES
        self._odd_keys = 0

    def run(self) -> Any:
        """The pickled value. Raises InputError on damage, forbidden globals and streams without end."""
        try:
            return self._run()
        except (Damaged, IndexError, KeyError, ValueError, TypeError, OverflowError, struct.error) as err:
            why = str(err) if isinstance(err, Damaged) else type(err).__name__
            raise InputError(f"pickle is damaged ({why})", file=self._path, fix="download the file again") from None

    def _run(self) -> Any:
        for _ in range(_MAX_OPS):
            code = self._read(1)[0]
            if code == _STOP:
                return self._stack.pop()
            handler = _OPS.get(code)
            if handler is None:
                raise Damaged(f"opcode {code:#04x}")
            handler(self)
        raise InputError(
            "pickle is implausibly long",
            file=self._path,
            expected=f"at most {_MAX_OPS} opcodes",
            found="more",
            fix="re-save as safetensors",
        )

    # --- bytes -----------------------------------------------------------------------------------------------

    def _read(self, n: int) -> bytes:
        if n < 0 or n > self._left:
            raise Damaged("a length beyond the limit")
        data = self._stream.read(n)
        if len(data) != n:
            raise Damaged("it ends early")
        self._left -= n
        return data

    def _line(self) -> str:
        data = self._stream.readline(_MAX_LINE)
        self._left -= len(data)
        if not data.endswith(b"\n") or self._left < 0:
            raise Damaged("a line without end")
        return data[:-1].decode("utf-8", "backslashreplace")

    def _number(self, fmt: str) -> Any:
        return struct.unpack(fmt, self._read(struct.calcsize(fmt)))[0]

    # --- stack -----------------------------------------------------------------------------------------------

    def _push(self, value: Any) -> None:
        self._stack.append(value)

    def _mark(self) -> None:
        self._marks.append(self._stack)
        self._stack = []

    def _to_mark(self) -> list[Any]:
        items, self._stack = self._stack, self._marks.pop()
        return items

    def _pop(self) -> None:
        if self._stack:
            self._stack.pop()
        else:
            self._to_mark()

    def _pop_mark(self) -> None:
        self._to_mark()

    def _skip(self, n: int) -> None:
        self._read(n)

    def _tuple(self, n: int) -> None:
        items = [self._stack.pop() for _ in range(n)]
        self._push(tuple(reversed(items)))

    # --- containers ------------------------------------------------------------------------------------------

    def _set_items(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if len(items) % 2:
            raise Damaged("a key without value")
        if isinstance(target, Inert):  # a dict subclass, kept as its items
            target.parts.append(self._dict(items))
        elif isinstance(target, dict):
            target.update(self._dict(items))
        else:
            raise Damaged("items for what is no dict")

    def _dict(self, items: list[Any]) -> dict[Any, Any]:
        return {self._key(items[i]): items[i + 1] for i in range(0, len(items), 2)}

    def _key(self, key: Any) -> Any:
        """Only scalars are hashed: a nested tuple could take forever, or the C stack."""
        if key is None or isinstance(key, (str, int, float, bytes)):
            return key
        self._odd_keys += 1
        return f"<{type(key).__name__} key {self._odd_keys}>"

    def _extend(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if isinstance(target, Inert):
            target.parts.append(items)
        elif isinstance(target, list):
            target.extend(items)
        else:
            raise Damaged("items for what is no list")

    def _text(self, data: bytes) -> None:
        self._push(data.decode("utf-8", "backslashreplace"))

    # --- objects ---------------------------------------------------------------------------------------------

    def _global(self, module: Any, name: Any) -> None:
        if not isinstance(module, str) or not isinstance(name, str):
            raise Damaged("a global whose name is no text")
        self._push(self._find(module, name))

    def _stack_global(self) -> None:
        name, module = self._stack.pop(), self._stack.pop()
        self._global(module, name)

    def _apply(self, func: Any, args: Any) -> None:
        if not isinstance(func, Global) or not isinstance(args, (tuple, list)):
            raise Damaged("a call of what is no allowed global")
        self._push(self._call(func, tuple(args)))

    def _reduce(self) -> None:
        args, func = self._stack.pop(), self._stack.pop()
        self._apply(func, args)

    def _newobj_ex(self) -> None:
        kwargs, args, func = self._stack.pop(), self._stack.pop(), self._stack.pop()
        if kwargs != {}:
            raise Damaged("keyword arguments")
        self._apply(func, args)

    def _inst(self) -> None:
        self._global(self._line(), self._line())
        func = self._stack.pop()
        self._apply(func, self._to_mark())

    def _obj(self) -> None:
        items = self._to_mark()
        self._apply(items[0], items[1:])

    def _build(self) -> None:
        """State is kept for objects that were not built, ignored for the rest (`OrderedDict._metadata`, tensor attributes)."""
        state = self._stack.pop()
        if isinstance(self._stack[-1], Inert):
            self._stack[-1].parts.append(state)

    def _persid(self) -> None:
        self._push(self._persistent(self._stack.pop()))

    # --- numbers ---------------------------------------------------------------------------------------------

    def _int_line(self) -> None:
        text = self._line()
        self._push({"00": False, "01": True}[text] if text in ("00", "01") else int(text))

    def _long_line(self) -> None:
        self._push(int(self._line().rstrip("L")))

    def _long(self, n: int) -> None:
        if not 0 <= n <= _MAX_LONG:
            raise Damaged("an integer of absurd size")
        self._push(int.from_bytes(self._read(n), "little", signed=True))

    def _string_line(self) -> None:
        text = self._line()
        if len(text) < 2 or text[0] != text[-1] or text[0] not in "'\"":
            raise Damaged("a string without quotes")
        self._push(text[1:-1])

    def _memoize(self) -> None:
        self._memo[len(self._memo)] = self._stack[-1]

    def _put(self, at: int) -> None:
        self._memo[at] = self._stack[-1]


_STOP = pickle.STOP[0]
_M = PickleMachine
_OPS: dict[int, Callable[[PickleMachine], None]] = {
    op[0]: handler
    for op, handler in {
        pickle.PROTO: lambda m: None if m._read(1)[0] <= 5 else _bad("a protocol above 5"),
        pickle.FRAME: lambda m: m._skip(8),  # framing only groups bytes; the payload follows in line
        pickle.MARK: _M._mark,
        pickle.POP: _M._pop,
        pickle.POP_MARK: _M._pop_mark,
        pickle.DUP: lambda m: m._push(m._stack[-1]),
        pickle.NONE: lambda m: m._push(None),
        pickle.NEWTRUE: lambda m: m._push(True),
        pickle.NEWFALSE: lambda m: m._push(False),
        pickle.INT: _M._int_line,
        pickle.LONG: _M._long_line,
        pickle.BININT: lambda m: m._push(m._number("<i")),
        pickle.BININT1: lambda m: m._push(m._number("<B")),
        pickle.BININT2: lambda m: m._push(m._number("<H")),
        pickle.LONG1: lambda m: m._long(m._number("<B")),
        pickle.LONG4: lambda m: m._long(m._number("<i")),
        pickle.FLOAT: lambda m: m._push(float(m._line())),
        pickle.BINFLOAT: lambda m: m._push(m._number(">d")),
        pickle.STRING: _M._string_line,
        pickle.UNICODE: lambda m: m._push(m._line()),
        pickle.SHORT_BINSTRING: lambda m: m._text(m._read(m._number("<B"))),
        pickle.BINSTRING: lambda m: m._text(m._read(m._number("<i"))),
        pickle.SHORT_BINUNICODE: lambda m: m._text(m._read(m._number("<B"))),
        pickle.BINUNICODE: lambda m: m._text(m._read(m._number("<I"))),
        pickle.BINUNICODE8: lambda m: m._text(m._read(m._number("<Q"))),
        pickle.SHORT_BINBYTES: lambda m: m._push(m._read(m._number("<B"))),
        pickle.BINBYTES: lambda m: m._push(m._read(m._number("<I"))),
        pickle.BINBYTES8: lambda m: m._push(m._read(m._number("<Q"))),
        pickle.BYTEARRAY8: lambda m: m._push(m._read(m._number("<Q"))),
        pickle.EMPTY_TUPLE: lambda m: m._push(()),
        pickle.TUPLE1: lambda m: m._tuple(1),
        pickle.TUPLE2: lambda m: m._tuple(2),
        pickle.TUPLE3: lambda m: m._tuple(3),
        pickle.TUPLE: lambda m: m._push(tuple(m._to_mark())),
        pickle.EMPTY_LIST: lambda m: m._push([]),
        pickle.LIST: lambda m: m._push(m._to_mark()),
        pickle.APPEND: lambda m: m._extend([m._stack.pop()]),
        pickle.APPENDS: lambda m: m._extend(m._to_mark()),
        pickle.EMPTY_SET: lambda m: m._push([]),  # sets are lists here: their items need not be hashed
        pickle.FROZENSET: lambda m: m._push(m._to_mark()),
        pickle.ADDITEMS: lambda m: m._extend(m._to_mark()),
        pickle.EMPTY_DICT: lambda m: m._push({}),
        pickle.DICT: lambda m: m._push(m._dict(m._to_mark())),
        pickle.SETITEM: lambda m: m._set_items([m._stack.pop(), m._stack.pop()][::-1]),
        pickle.SETITEMS: lambda m: m._set_items(m._to_mark()),
        pickle.GLOBAL: lambda m: m._global(m._line(), m._line()),
        pickle.STACK_GLOBAL: _M._stack_global,
        pickle.REDUCE: _M._reduce,
        pickle.NEWOBJ: _M._reduce,
        pickle.NEWOBJ_EX: _M._newobj_ex,
        pickle.INST: _M._inst,
        pickle.OBJ: _M._obj,
        pickle.BUILD: _M._build,
        pickle.BINPERSID: _M._persid,
        pickle.GET: lambda m: m._push(m._memo[int(m._line())]),
        pickle.BINGET: lambda m: m._push(m._memo[m._number("<B")]),
        pickle.LONG_BINGET: lambda m: m._push(m._memo[m._number("<I")]),
        pickle.PUT: lambda m: m._put(int(m._line())),
        pickle.BINPUT: lambda m: m._put(m._number("<B")),
        pickle.LONG_BINPUT: lambda m: m._put(m._number("<I")),
        pickle.MEMOIZE: _M._memoize,
    }.items()
}


def _bad(why: str) -> NoReturn:
    raise Damaged(why)
