"""begat: decides from the weights whether one open-weight model was made from another.

>>> import begat
>>> verdict = begat.compare("path/to/A", "path/to/B")          # doctest: +SKIP
>>> print(verdict.sentence)                                    # doctest: +SKIP

Public names: `compare`, `decompose`, `inspect`, `open_checkpoint`, `Verdict`, `Decomposition`, `Inspection`, `Checkpoint`, `InputError`. Heavy
modules load when used.
"""

from __future__ import annotations

__version__ = "0.1.0"
__all__ = ["Checkpoint", "Decomposition", "InputError", "Inspection", "Verdict", "__version__", "compare", "decompose", "inspect", "open_checkpoint"]

TYPE_CHECKING = False  # without the module `typing`: what is imported here cannot be interrupted in good order
if TYPE_CHECKING:
    from typing import Any

    from begat.errors import InputError
    from begat.inspection import Inspection
    from begat.pipeline.compare import compare
    from begat.pipeline.decompose import decompose
    from begat.pipeline.inspect import inspect
    from begat.recipes import Decomposition
    from begat.source import open_checkpoint
    from begat.types import Checkpoint, Verdict

_HOMES = {
    "compare": "begat.pipeline.compare",
    "decompose": "begat.pipeline.decompose",
    "inspect": "begat.pipeline.inspect",
    "Inspection": "begat.inspection",
    "open_checkpoint": "begat.source",
    "Verdict": "begat.types",
    "Checkpoint": "begat.types",
    "Decomposition": "begat.recipes",
    "InputError": "begat.errors",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'begat' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
