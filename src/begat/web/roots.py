"""Which paths may be read: those below the roots that whoever started the server named, links followed.

Enters: a path typed into a form, or a model's source as the index has it; both are a stranger's.  Leaves: a path that lies
below a root, or an InputError that does not say whether anything lies elsewhere.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from begat.errors import InputError

#: files of a model's folder that are looked at for links
_MOST_FILES = 20_000
_LONGEST = 4096


class Roots:
    """The folders that may be read. Raises InputError when one is no folder."""

    def __init__(self, roots: Sequence[str | Path] = ()) -> None:
        found = []
        for root in roots:
            try:
                place = Path(root).expanduser().resolve(strict=True)
            except (OSError, ValueError, RuntimeError):
                raise InputError("is not there", file=root, fix="name a folder that exists after --root") from None
            if not place.is_dir():
                raise InputError("is not a folder", file=root, fix="name a folder after --root")
            found.append(place)
        self.folders = tuple(found)

    def __bool__(self) -> bool:
        return bool(self.folders)

    def find(self, text: str) -> Path:
        """The model at `text`, absolute or relative to a root, with every link followed.

        Raises:
            InputError: no root allows it, or nothing is there; the same words for both.
        """
        if not self.folders:
            raise InputError("paths cannot be searched", fix="start begat serve with --root DIR to allow paths below DIR")
        refused = InputError("is not below an allowed folder, or is not there", file=text[:_LONGEST],
                             expected=" or ".join(str(f) for f in self.folders), fix="check the path; --root allows another folder")  # fmt: skip
        if not text or len(text) > _LONGEST or "\0" in text:
            raise refused
        for place in (Path(text),) if Path(text).is_absolute() else tuple(f / text for f in self.folders):
            try:
                real = place.resolve(strict=True)
            except (OSError, ValueError, RuntimeError):
                continue
            if self.holds(real):
                self._links(real, refused)
                return real
        raise refused

    def allows(self, text: str) -> bool:
        """Could `find` read this?"""
        try:
            self.find(text)
        except InputError:
            return False
        return True

    def holds(self, real: Path) -> bool:
        """Does this resolved path lie below a root?"""
        return any(real == f or real.is_relative_to(f) for f in self.folders)

    def _links(self, real: Path, refused: InputError) -> None:
        """Links inside a model's folder must not lead out either."""
        seen = 0
        for folder, folders, files in os.walk(real):
            for name in (*folders, *files):
                seen += 1
                if seen > _MOST_FILES:
                    raise InputError("holds too many files to be one model", file=str(real), fix="name the model's own folder")
                entry = Path(folder, name)
                if entry.is_symlink() and not self.holds(entry.resolve()):
                    raise refused
