"""Strict tables: a TOML table becomes a frozen dataclass, or an error says which key of which table is wrong.

Enters: a table as `tomllib` reads it and a dataclass.  Leaves: an instance.  An unknown key, a missing one and a wrong type are
errors; nothing is guessed.  Who reads pedigrees with it: `pedigree.py`.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping
from dataclasses import MISSING, fields, replace
from typing import Any, TypeVar

from begat import InputError

T = TypeVar("T")


def fill(cls: type[T], table: Mapping[str, Any], where: str, base: T | None = None) -> T:
    """An instance of the dataclass `cls` with the values of `table`; what is absent comes from `base` or from the defaults."""
    hints = typing.get_type_hints(cls)
    known = {field.name: field for field in fields(cls)}  # type: ignore[arg-type]  # cls is a dataclass
    refuse_unknown(table, known, where)
    values = {key: _as(hints[key], value, f"{where}, {key}") for key, value in table.items()}
    if base is not None:
        return replace(base, **values)  # type: ignore[type-var]
    for key, field in known.items():
        if key not in values and field.default is MISSING and field.default_factory is MISSING:
            raise InputError(f"{where} lacks {key}", fix=f"add {key} = …")
    return cls(**values)


def refuse_unknown(table: Mapping[str, Any], known: typing.Iterable[str], where: str) -> None:
    """An error for the first key of `table` that is not `known`."""
    names = sorted(known)
    for key in table:
        if key not in names:
            raise InputError(
                f"{where} has an unknown key", expected=", ".join(names) or "no key", found=key, fix="remove or rename it"
            )


def _as(hint: Any, value: Any, where: str) -> Any:
    """`value` as the annotated type, or an error. An int is a float; a list is a tuple; a bool is no number."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):  # X | None: TOML has no null, so what is written is an X
        return _as(next(one for one in inner if one is not type(None)), value, where)
    if origin is tuple and isinstance(value, list):
        hints = inner[:1] * len(value) if inner[-1] is Ellipsis else inner
        if len(hints) != len(value):
            raise InputError(f"{where} has the wrong length", expected=f"{len(hints)} values", found=f"{len(value)} values")
        return tuple(_as(one, item, where) for one, item in zip(hints, value, strict=True))
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    plain = hint if isinstance(hint, type) else origin
    if not isinstance(value, plain) or (isinstance(value, bool) and plain is not bool):
        raise InputError(
            f"{where} has the wrong type",
            expected=_words(hint),
            found=f"{value!r}",
            fix="begat_lab/pedigree.py explains the format",
        )
    return value


def _words(hint: Any) -> str:
    if typing.get_origin(hint) is tuple:
        return f"a list of {_words(typing.get_args(hint)[0])}"
    return {int: "a whole number", float: "a number", str: "a string", bool: "true or false"}.get(hint, str(hint))
