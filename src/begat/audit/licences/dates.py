"""Dates in the headings of licence texts, by which editions of one name are told apart.

Enters: a line.  Leaves: the line without its dates, and the dates.  English, ISO, Chinese and Japanese spellings; a part that
is not written is not compared.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTH = r"(?P<month>jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)\.?"
_DAY = r"(?P<day>\d{1,2})(?:st|nd|rd|th)?"
_YEAR = r"(?P<year>(?:19|20)\d\d)"
_FORMS = tuple(
    re.compile(form, re.IGNORECASE)
    for form in (
        rf"(?<!\w){_MONTH}\s+{_DAY}(?:\s*,?\s*{_YEAR})?(?!\w)",
        rf"(?<![\w.]){_DAY}(?:\s+of)?[\s-]+{_MONTH}(?:[\s,-]+{_YEAR})?(?!\w)",
        rf"(?<!\w){_MONTH}\s*,?\s+{_YEAR}(?!\w)",
        rf"(?<![\d.]){_YEAR}\s*[-/.年]\s*(?P<number>\d{{1,2}})(?:\s*[-/.月]\s*(?P<day>\d{{1,2}})\s*日?|\s*月)(?![\d.])",
    )
)


@dataclass(frozen=True, slots=True)
class Date:
    """A date whose unwritten parts are None; words: as written, in lower case."""

    year: int | None
    month: int | None
    day: int | None
    words: tuple[str, ...]


def cut_dates(line: str) -> tuple[str, tuple[Date, ...]]:
    """(the line without its dates, its dates)."""
    found: list[Date] = []

    def take(match: re.Match[str]) -> str:
        part = match.groupdict()
        month = _MONTHS.index(part["month"].casefold()[:3]) + 1 if part.get("month") else int(part["number"])
        day, year = part.get("day"), part.get("year")
        words = tuple(re.findall(r"[^\W_]+", match[0].casefold()))
        found.append(Date(int(year) if year else None, month, int(day) if day else None, words))
        return " "

    for form in _FORMS:
        line = form.sub(take, line)
    return line, tuple(found)


def agree(date: Date, known: Iterable[Date]) -> bool:
    """Is it one of the known dates, as far as both are written?"""
    return any(
        all(x is None or y is None or x == y for x, y in ((date.year, k.year), (date.month, k.month), (date.day, k.day)))
        for k in known
    )
