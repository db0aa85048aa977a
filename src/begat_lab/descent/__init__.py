"""Kinds of descent, one file each behind one registry (`KINDS`): parents' folders enter, a child's folder leaves, parents stay untouched.

To add a kind: one file with a function under `@kind(...)` (see `base.py`; `noised.py` is the shortest), imported here; name it in a
pedigree. The contract test (`tests/lab/test_descent_contract.py`) picks it up.  Who calls them: `begat_lab.grow`.
"""

# one import per file
from begat_lab.descent import (  # noqa: F401
    awq,
    copied,
    depth,
    disguised,
    distilled,
    finetune,
    four_bit,
    fp8,
    gguf_file,
    gptq,
    int8,
    lora,
    merge_dare,
    merge_linear,
    merge_slerp,
    merge_ties,
    noised,
    prune_unstructured,
    prune_width,
    scratch,
    stitched,
    tower,
    upcycled,
    upcycled_moge,
    upcycled_split,
    vocabulary,
)
from begat_lab.descent.base import DEPENDENT, INDEPENDENT, KINDS, SEEDS, Child, Job, Kind, kind

__all__ = ["DEPENDENT", "INDEPENDENT", "KINDS", "SEEDS", "Child", "Job", "Kind", "kind"]
