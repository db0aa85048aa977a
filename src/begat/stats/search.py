"""What a search over counterparts costs: e-values over layers, experts or units whose counterpart in the other model is not known.

Enters: hits of every unit set ("lottery") of one model with every candidate of the other.  Leaves: one log e-value.  The tests:
`begat.pipeline.search`.

Null and assumption. X's lotteries are drawn independently of each other and of Y (copies inside X are left out beforehand, by X alone). Fix Y.
Then for one lottery of X the e-value of its test with *any* candidate of Y has mean at most 1, so the mean over its candidates has, and as the
lotteries of X are independent given Y the product over them has mean at most 1. The other way about, a product over Y's layers of means over X's,
would count a lottery of X twice wherever Y holds two copies of it. The mean over all tests needs no independence at all.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TypeVar

from begat.stats.order import log_mean_exp

Lottery = TypeVar("Lottery")


def log_e_search(tests: Mapping[Lottery, Sequence[float]]) -> float:
    """Natural log of the e-value of a search.

    Args:
        tests: for every lottery of X the log e-values of its tests with each candidate of Y, all of them, none left out by its outcome.

    The mean of the product over lotteries of the mean over candidates, and of the mean over all tests, which survives lotteries that were lost.
    """
    groups = [list(logs) for logs in tests.values() if len(logs)]
    if not groups:
        return 0.0
    product = math.fsum(log_mean_exp(logs) for logs in groups)
    return log_mean_exp([product, log_mean_exp([x for logs in groups for x in logs])])
