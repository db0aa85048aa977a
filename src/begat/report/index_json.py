"""What `begat index` commands say, as JSON.

Enters: a result of `begat.index.manage`.  Leaves: JSON text: the result's fields after a header that names the command. How values become JSON:
`json.py`; for people: `index_text.py`.
"""

from __future__ import annotations

from typing import Any

from begat import __version__
from begat.report.json import as_text, plain

SCHEMA_VERSION = 1


def dumps(result: Any, command: str) -> str:
    """A result of `begat.index.manage` as JSON text; `command` as in `begat index COMMAND`."""
    head = {"schema_version": SCHEMA_VERSION, "tool": "begat", "version": __version__, "command": f"index {command}"}
    return as_text(head | plain(result, command))
