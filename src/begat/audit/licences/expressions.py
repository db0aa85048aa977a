"""SPDX expressions, with the model licences that SPDX does not list.

Enters: a licence field as a release writes it.  Leaves: a normalised expression, or "" when it is none. `license-expression` parses; the keys are
its own index of SPDX and ScanCode licences together with those of begat's table.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from begat.audit.licences.table import TABLE

_LONGEST = 500


@cache
def licensing() -> Any:
    """A `Licensing` that knows SPDX keys, ScanCode's LicenseRefs and begat's."""
    from license_expression import LicenseSymbol, Licensing, get_license_index

    symbols: dict[str, Any] = {}
    for entry in get_license_index():
        key = entry["spdx_license_key"] or entry["license_key"]
        if key and not entry["is_deprecated"]:
            older = tuple(k for k in entry["other_spdx_license_keys"] if k.casefold() != key.casefold())
            symbols[key.casefold()] = LicenseSymbol(key, aliases=older, is_exception=bool(entry["is_exception"]))
    for one in TABLE.licences.values():
        symbols.setdefault(one.spdx.casefold(), LicenseSymbol(one.spdx))
    return Licensing(symbols.values())


def normal_expression(text: str) -> str:
    """`text` as an SPDX expression ("apache-2.0" → "Apache-2.0"); "" when it is none or names an unknown licence."""
    from license_expression import ExpressionError

    known = TABLE.of_card((text,), "")
    if known:
        return TABLE.licences[known].spdx
    if not text or len(text) > _LONGEST:
        return ""
    try:
        parsed = licensing().parse(text, validate=True)
    except (ExpressionError, ValueError, TypeError, AttributeError, RecursionError):
        return ""
    return str(parsed) if parsed is not None else ""


def ids_of(text: str) -> tuple[str, ...]:
    """Ids in begat's table (or SPDX keys outside it) of the licences that an expression names; () when it is none."""
    expression = normal_expression(text)
    if not expression:
        return ()
    keys = licensing().license_keys(expression, unique=True)
    return tuple(TABLE.of_spdx(k) or k for k in keys)
