"""Numbers as words, the same in every presenter.

Enters: floats and counts of a `Verdict`.  Leaves: short strings, rounded towards caution (an e-value down, a p bound up, a cosine
towards zero).  Where they are placed: `text.py`, `layout.py`, the templates.
"""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from begat.errors import printable
from begat.types import TrainedState

#: verdict → how it is said on a badge
BADGES = {
    "identical": "identical",
    "re-encoded": "re-encoded",
    "derived": "derived",
    "shared-initialisation": "shared initialisation",
    "derived-or-shared-initialisation": "derived or shared initialisation",
    "partly-derived": "partly derived",
    "no-evidence": "no evidence of derivation",
    "cannot-test": "cannot be tested",
}
#: verdict → what kind of finding it is, for colours
TONES = {"no-evidence": "apart", "cannot-test": "open", "partly-derived": "part"}
#: part status → the words for it
STATUSES = {
    "dependent": "dependent",
    "no-evidence": "no evidence",
    "undetermined": "undetermined",
    "not-tested": "not tested",
}


@dataclass(frozen=True, slots=True)
class Power:
    """A number as `base` raised to `exponent`; exponent "" when the base says it all."""

    base: str
    exponent: str = ""

    def __str__(self) -> str:
        return f"{self.base}^{self.exponent}" if self.exponent else self.base


def e_value(log10: float | None) -> Power:
    """An e-value, rounded down."""
    if log10 is None:
        return Power("not run")
    if abs(log10) < 3:
        return Power(_significant(10**log10, down=True))
    return Power("10", str(math.floor(log10)))


def p_bound(log10: float | None) -> Power:
    """A p bound, rounded up."""
    if log10 is None:
        return Power("not run")
    if log10 > -3:
        return Power(_significant(10**log10, down=False))
    return Power("10", str(-math.floor(-log10)))


def _significant(value: float, *, down: bool) -> str:
    """Two significant digits, rounded one way."""
    unit = 10.0 ** (math.floor(math.log10(value)) - 1)
    steps = round(value / unit, 9)
    rounded = (math.floor(steps) if down else math.ceil(steps)) * unit
    return f"{rounded:.2g}" if rounded < 100 else f"{rounded:.0f}"


def powers(text: str) -> tuple[Power, ...]:
    """A sentence cut at its powers of ten: the pieces in order, those like 10^-6 with an exponent."""
    pieces = re.split(r"(?<![\w.^])10\^(-?\d+)", text)
    return tuple(Power("10", piece) if i % 2 else Power(piece) for i, piece in enumerate(pieces))


#: what `TrainedState.state` means
STATES = {"trained": "Trained weights are shared", "initial": "Only initial weights are shared", "unknown": "Undetermined"}


def log10_words(log10: float | None) -> str:
    """log10 of an e-value with one decimal, rounded down."""
    return "–" if log10 is None else f"{math.floor(log10 * 10 + 1e-9) / 10 + 0.0:,.1f}"


def ratio(value: float | None, digits: int = 3) -> str:
    """A cosine, R² or slope, cut towards zero so that 0.9999 is not shown as 1."""
    if value is None:
        return "–"
    scale = 10**digits
    return f"{math.trunc(value * scale + math.copysign(1e-9, value)) / scale + 0.0:.{digits}f}"


def count(n: float) -> str:
    """A count with thousands separators; expectations are rounded to whole hits."""
    return f"{n:,.0f}"


def size(n: int) -> str:
    """Bytes in decimal units."""
    value, units = float(n), ["B", "kB", "MB", "GB", "TB", "PB"]
    while value >= 999.5 and len(units) > 1:
        value, units = value / 1000, units[1:]
    return f"{value:.0f} {units[0]}" if units[0] == "B" or value >= 100 else f"{value:.3g} {units[0]}"


def trained_lines(t: TrainedState) -> list[str]:
    """The trained-state agreement in sentences: both numbers beside those of twins, and what follows."""
    out = []
    if t.gains is not None:
        ranks = f", their ranks at {t.ranks:.2f}" if t.ranks is not None else ""
        out.append(
            f"Norm gains about their mean correlate at {t.gains:.2f}{ranks}; those of comparable twins at most at {t.twin_gains:.2f} "
            f"(moved from one common value by training, standard deviation: A {t.moved_a:.3f}, B {t.moved_b:.3f})."
        )
    if t.share is not None:
        found = f"at least {percent(min(t.share, 1.0))}" if t.share > 0 else "no part for certain"
        most = f"at most {percent(min(t.twin_share, 1.0))} for certain" if t.twin_share > 0 else "none for certain"
        out.append(f"Of what training added to the matrices of the one that changed less, {found} is found in the other; between comparable twins {most}.")
    out.append(f"{STATES[t.state]}: {t.why}.")
    out.append(
        f"Calibrated on {plural(t.twins, 'pair')} of twins of begat's lab, from {plural(t.starts, 'draw')} of initial weights, not an exact "
        "probability; never used to find dependence."
    )
    return out


def percent(value: float) -> str:
    """A share in whole percent, cut towards zero."""
    return f"{math.trunc(100 * value)} %"


def share(part: int, whole: int) -> str:
    """part/whole in percent; "" when there is no whole."""
    if not whole:
        return ""
    percent = 100 * part / whole
    if 0 < percent < 0.01:
        return "below 0.01 %"
    return f"{percent:.0f} %" if percent >= 10 or not percent else f"{percent:.2g} %"


def of_total(read: int, total: int) -> str:
    """What was read, of how much: "of 4.94 GB (0.64 %)"."""
    if read > total:
        return f"from {size(total)} of weights, some of them more than once"
    part = share(read, total)
    return f"of {size(total)}" + (f" ({part})" if part else "")


def duration(seconds: float) -> str:
    """Seconds, or minutes and seconds."""
    if seconds >= 90:
        return f"{int(seconds // 60)} min {int(seconds % 60)} s"
    return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.2g} s" if seconds >= 0.1 else f"{seconds:.2f} s"


def plural(n: int, word: str) -> str:
    """A count with its noun: "1 test", "1,024 tests"."""
    return f"{n:,} {word}" if n == 1 else f"{n:,} {word}s"


def labels(a: str, b: str) -> tuple[str, str]:
    """Short names of the two: the last part of their paths that differs."""
    x, y = ([part for part in re.split(r"[/\\]", p) if part] or [p] for p in (a, b))
    for i in range(1, min(len(x), len(y)) + 1):
        if x[-i] != y[-i]:
            return x[-i], y[-i]
    return x[-1], y[-1]


def rerun(a: str, b: str, replay: Mapping[str, Any]) -> str:
    """The `begat compare` command that repeats a comparison."""
    words = ["begat", "compare"]
    if replay.get("map") not in (None, "auto"):
        words += ["--map", str(replay["map"])]
    if replay.get("nonce"):
        words += ["--nonce", str(replay["nonce"])]
    if replay.get("published"):
        words.append("--published")
    if not replay.get("align", True):
        words.append("--no-align")
    if replay.get("base"):
        words += ["--base", str(replay["base"])]
    paths = [a, b]
    if any(p.startswith("-") for p in paths):
        words.append("--")
    return " ".join(shlex.quote(printable(w, 400)) for w in words + paths)
