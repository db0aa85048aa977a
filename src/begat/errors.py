"""The one exception a user sees.

Enters: what was wrong, where.  Leaves: one line naming file, tensor, expected, found and fix.
The command line (`begat.cli`) prints that line and exits with 2; nothing here ends the process.
"""

from __future__ import annotations

import os
import unicodedata


def printable(text: object, limit: int = 200) -> str:
    """`text` on one line: control, format and surrogate characters escaped, cut at `limit` characters.

    Tensor names, paths and metadata come from untrusted files; they must not move a terminal's cursor,
    break a one-line error or flip reading direction.
    """
    out: list[str] = []
    for char in str(text):
        if unicodedata.category(char)[0] == "C" or unicodedata.category(char) in ("Zl", "Zp"):
            out.append(char.encode("unicode_escape", "backslashreplace").decode("ascii"))
        else:
            out.append(char)
    line = "".join(out)
    return line if len(line) <= limit else line[: limit - 1] + "…"


class BegatError(Exception):
    """Base of every error begat raises on purpose."""


class InputError(BegatError):
    """Something about the given files is unusable.

    Args:
        problem: what is wrong, a short clause.
        file: the file or folder it is wrong in.
        tensor: the tensor's name, where one is concerned.
        expected, found: what the format or the other tensors demand, and what is there.
        fix: what the user can do.
    """

    def __init__(
        self,
        problem: str,
        *,
        file: str | os.PathLike[str] | None = None,
        tensor: str | None = None,
        expected: object = None,
        found: object = None,
        fix: str | None = None,
    ) -> None:
        self.problem = problem
        self.file = None if file is None else os.fspath(file)
        self.tensor = tensor
        self.expected = expected
        self.found = found
        self.fix = fix
        super().__init__(self.line())

    def line(self) -> str:
        """The error on one line."""
        parts = []
        if self.file is not None:
            parts.append(printable(self.file, 400) + ":")
        if self.tensor is not None:
            parts.append(f"tensor '{printable(self.tensor)}':")
        parts.append(printable(self.problem, 400))
        if self.expected is not None and self.found is None:
            parts.append(f"(expected {printable(self.expected)})")
        elif self.expected is not None:
            parts.append(f"(expected {printable(self.expected)}, found {printable(self.found)})")
        elif self.found is not None:
            parts.append(f"(found {printable(self.found)})")
        line = " ".join(parts)
        return line if self.fix is None else f"{line}; fix: {printable(self.fix, 400)}"


class UntestableError(InputError):
    """The input is sound, but begat has no test for it: a result for programs that can show none."""

    def reason(self) -> str:
        """The error as a clause, without the file."""
        found = f" (found {printable(self.found)})" if self.found is not None else ""
        return f"it {self.problem}{found}" + ("" if self.fix is None else f"; {printable(self.fix, 400)}")


class MissingExtraError(InputError):
    """A format needs an optional package that is not installed."""
