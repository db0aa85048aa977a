"""A deeper look by ScanCode, where its package is installed and asked for: licences of texts that begat's table and `licenseclassifier` do not know.

Enters: a folder, licence texts.  Leaves: the texts, unknown ones identified by ScanCode (state "scancode"), and a caveat. It is never required: it is
large (0.7 GB), slow (seconds to load, a second a file), and its `identified` is not `unedited`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from importlib.util import find_spec

from begat.audit.folder import Tree
from begat.audit.licences.table import TABLE
from begat.audit.types import LicenceText

_MAX_FILES = 50


def look_deeper(tree: Tree, texts: Sequence[LicenceText]) -> tuple[tuple[LicenceText, ...], str]:
    """(texts, caveat). The caveat says what ScanCode was asked, or why it was not."""
    unknown = [t.file for t in texts if t.state == "unknown"][:_MAX_FILES]
    if find_spec("scancode") is None:
        return tuple(texts), "ScanCode was not asked: the package scancode-toolkit is not installed."
    if tree.root is None or not unknown:
        return tuple(texts), "ScanCode was not asked: every licence text was recognised without it."
    try:
        found = {name: _expression(str(tree.root / name)) for name in unknown}
    except Exception as err:  # a broken installation fails in ways of its own (plugins, its index, its cache)
        return tuple(texts), f"ScanCode could not be asked: {type(err).__name__}: {str(err)[:160]}."
    out = tuple(dataclasses.replace(t, licence=found[t.file], state="scancode") if found.get(t.file) else t for t in texts)
    return out, f"ScanCode looked at {len(unknown)} unrecognised licence texts and named {sum(map(bool, found.values()))}."


def _expression(location: str) -> str:
    """The one licence that ScanCode names for a file, by its id in begat's table or its SPDX key; "" for none or several."""
    from scancode.api import get_licenses

    expression = get_licenses(location).get("detected_license_expression_spdx") or ""
    if not expression or " " in expression or "unknown" in expression:
        return ""
    return TABLE.of_spdx(expression) or str(expression)
