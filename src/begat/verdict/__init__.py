"""ROOM 5: results → verdict. The decision table is data (`policy.toml`); `judge.py` only looks it up.

Enters: facts (booleans and words).  Leaves: verdict, sentence, exit code.  No arrays, nothing recomputed.
"""

from begat.verdict.judge import Facts, Judgement, judge
from begat.verdict.policy import POLICY, VERDICTS, Policy

__all__ = ["POLICY", "VERDICTS", "Facts", "Judgement", "Policy", "judge"]
