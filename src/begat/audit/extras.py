"""The packages that `begat audit` needs beside the core's."""

from __future__ import annotations

from importlib.util import find_spec

from begat.errors import MissingExtraError

_PACKAGES = {"yaml": "pyyaml", "license_expression": "license-expression", "licenseclassifier": "licenseclassifier"}


def require_extra(find: object = find_spec) -> None:
    """Raises MissingExtraError, one line, when a package of the extra is missing."""
    missing = [package for module, package in _PACKAGES.items() if find(module) is None]  # type: ignore[operator]
    if missing:
        raise MissingExtraError(f"begat audit needs {', '.join(missing)}", fix="pip install 'begat[audit]'")
