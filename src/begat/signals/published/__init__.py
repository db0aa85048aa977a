"""Published statistics: one file each behind one registry. Shown beside a verdict, never part of one.

Enters: per-layer summaries of the two models (`Summaries`).  Leaves: a number or the reason there is none.  Their measured
false-alarm rates come from the lab's bench.
"""

# one import per statistic
from begat.signals.published import gain_cosine, std_correlation  # noqa: F401  # fmt: skip
from begat.signals.published.base import PUBLISHED, Published, Summaries

__all__ = ["PUBLISHED", "Published", "Summaries"]
