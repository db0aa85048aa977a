"""Number types and packed layouts of equal weights, with scales of any name; and strangers packed
the same way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from begat_lab.cases.architectures import gpt_oss, llama
from begat_lab.cases.edits import encoded as edit
from begat_lab.cases.edits.parts import sliced
from begat_lab.cases.edits.training import finetuned
from begat_lab.cases.model import Toy
from begat_lab.cases.registry import Case, pairs, situation

_SIZES: dict[str, Any] = {"layers": 3, "units": 192, "width": 64}


def _packed() -> Iterator[tuple[str, str, str, Callable[[Toy], Toy]]]:
    yield "bfloat16", "stored in bfloat16", "float32", lambda t: edit.cast(t, "bfloat16")
    yield "float16", "stored in float16", "float32", lambda t: edit.cast(t, "float16")
    yield "float32", "stored wider", "bfloat16", lambda t: edit.cast(t, "float32")
    yield "written-back-4", "rounded to 4 bits, written back as floats", "bfloat16", lambda t: edit.written_back(t, 4, 32)
    yield "written-back-8", "rounded to 8 bits, written back as floats", "float32", lambda t: edit.written_back(t, 8, 64)
    yield (
        "written-back-tuned",
        "rounded to 4 bits, then trained on",
        "bfloat16",
        lambda t: finetuned(edit.written_back(t, 4, 32), 811, 0.05),
    )
    for suffix in (".weight_scale_inv", ".weight_scale", ".scale"):
        for power in (False, True):
            name = f"fp8{suffix.replace('.', '-').replace('_', '-')}{'-e8m0' if power else ''}"
            yield (
                name,
                f"fp8, scales named {suffix}{' in E8M0' if power else ''}",
                "bfloat16",
                partial(edit.fp8, suffix=suffix, power=power),
            )
    yield "int8", "int8, a scale a row", "bfloat16", edit.int8
    yield "gptq", "GPTQ's layout, 4 bits", "float16", edit.gptq
    yield "nf4", "bitsandbytes' NF4 layout", "bfloat16", edit.nf4


@situation("encoded")
def build() -> Iterator[Case]:
    """One pair a layout."""
    for name, about, dtype, child in _packed():
        yield from pairs(
            f"encoded/{name}",
            about,
            partial(llama, 800, dtype=dtype, **_SIZES),
            child,
            partial(llama, 801, dtype=dtype, **_SIZES),
        )
    yield from pairs(
        "encoded/mxfp4",
        "gpt-oss with its experts in MXFP4, against the plain one",
        lambda: gpt_oss(802),
        edit.mxfp4,
        lambda: gpt_oss(803),
    )
    yield from pairs(
        "encoded/sliced",
        "one rank's share of a tensor-parallel run",
        lambda: llama(804, **_SIZES),
        lambda t: sliced(t, 2, 0),
        lambda: llama(805, **_SIZES),
    )
    yield from pairs(
        "encoded/sliced-second",
        "the other rank's share",
        lambda: llama(804, **_SIZES),
        lambda t: sliced(t, 2, 1),
        lambda: llama(805, **_SIZES),
    )
