"""No command says anything false: a fixed sample of the small cases, and (slow) all of them.

One process, the library and no subprocesses. What a failing case says, statement by statement:
`python benchmarks/claims/run.py --case NAME`.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from begat_lab.cases import Case, cases
from begat_lab.cases.ask import ask
from begat_lab.cases.registry import COMMANDS
from begat_lab.cases.tally import listed, wrong

SAMPLE = (
    "architectures/llama",
    "architectures/bert~stranger",
    "architectures/mamba~stranger",
    "architectures/cnn",
    "configs/rotary-base",
    "disguises/units",
    "disguises/heads-alone",
    "disguises/all",
    "drawn/one-key-llama-0~stranger",
    "drawn/golden-1~stranger",
    "drawn/cnn-llama~stranger",
    "encoded/gptq",
    "encoded/fp8-scale",
    "encoded/nf4~stranger",
    "encoded/mxfp4",
    "encoded/sliced",
    "experts/qwen-moe-swapped",
    "experts/qwen-moe-one-left-out-by-layer",
    "experts/mixtral-averaged~stranger",
    "heads/new",
    "heads/untied",
    "layers/swapped",
    "layers/shifted",
    "layers/repeated-tuned",
    "layers/stitched~stranger",
    "lineages/line-llama",
    "lineages/strangers-gpt2~stranger",
    "merges/opposite",
    "merges/even~stranger",
    "merges/low-rank-bfloat16",
    "merges/direction-removed-float32",
    "names/llama-unknown",
    "names/cnn-unknown~stranger",
    "releases/tuned-scratch",
    "releases/twin",
    "towers/encoder-alone",
    "towers/only-vision",
    "towers/only-embedding-bert~stranger",
    "training/noised-0.1",
    "training/twins-llama-2",
    "vocabulary/extended-4",
    "vocabulary/reordered~stranger",
    "widths/left-out",
    "widths/other-width-no-tokenizer~stranger",
)
_BY_NAME = {c.name: c for c in cases()}
#: inspect looks at one model only, so a few models of the sample say what it says
_INSPECTED = SAMPLE[::6]


def _nothing_false(case: Case, folder: Path, commands: tuple[str, ...]) -> None:
    records = ask(case, folder, case.make(folder), commands)
    assert records, "nothing was asked"
    assert not wrong(records), "\n" + listed(records, ("false", "crash"), "python benchmarks/claims/run.py --case {case}")


@pytest.mark.parametrize("name", SAMPLE)
def test_nothing_false_is_said_of_the_sample(name: str, tmp_path: Path) -> None:
    commands = tuple(c for c in COMMANDS if c != "inspect" or name in _INSPECTED)
    _nothing_false(_BY_NAME[name], tmp_path, commands)


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", [n for n in _BY_NAME if n not in SAMPLE])
def test_nothing_false_is_said_of_the_rest(name: str, tmp_path: Path) -> None:
    _nothing_false(_BY_NAME[name], tmp_path, COMMANDS)
