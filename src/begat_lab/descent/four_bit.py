"""Four-bit copies: round to nearest, symmetric, one scale for each group of 32 inputs; written back as ordinary numbers.

Enters: a model.  Leaves: a model whose matrices lie on the grid scale * q, q in -7..7.  A scale keeps 8 significant bits and q
needs 3, so scale * q is *exact* in F16 (11 bits) and the grid can be read back from the stored file.  Gains, embedding and head
stay, as GPTQ and AWQ leave them.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from begat import InputError
from begat_lab.descent.base import EVERY, Child, Job, kind
from begat_lab.models import architecture_of
from begat_lab.models.architecture import LanguageModel

GROUP = 32  # G: inputs that share a scale
LEVELS = 7  # largest q
_SMALLEST_NORMAL_F16 = 2.0**-14  # below it F16 loses bits and scale * q would no longer be exact


@kind("four-bit", "four-bit grid, stored as F16", knows=EVERY, expects=frozenset({"re-encoded"}))
def rounded(job: Job) -> Child:
    """The parent on the grid."""
    if job.dtype != torch.float16:
        raise InputError("kind four-bit is exact in one number type", expected='dtype = "float16"', found=str(job.dtype))
    return job.store(four_bit(job.parent()))


def four_bit(parent: LanguageModel) -> LanguageModel:
    """A copy of `parent` with every attention and MLP matrix on a four-bit grid."""
    child, architecture = copy.deepcopy(parent), architecture_of(parent.config)
    with torch.no_grad():
        for name, weight in child.named_parameters():
            if architecture.is_matrix(name):
                weight_OI = architecture.turned(weight)
                weight_OI.copy_(round_to_grid(weight_OI))
    return child


def round_to_grid(weight_OI: Tensor) -> Tensor:
    """The nearest point of the grid, group by group along the input axis I (O outputs, I inputs)."""
    outputs, inputs = weight_OI.shape
    if inputs % GROUP:
        raise InputError(f"inputs of a matrix are not whole groups of {GROUP}", found=inputs)
    weight_OGI = weight_OI.float().reshape(outputs, -1, GROUP)
    scale_OG1 = (weight_OGI.abs().amax(-1, keepdim=True) / LEVELS).bfloat16().float()  # bfloat16 has 8 significant bits
    if bool(((scale_OG1 > 0) & (scale_OG1 < _SMALLEST_NORMAL_F16)).any()):
        raise InputError("a group of weights is too small for its four-bit grid to be exact in F16")
    q_OGI = (weight_OGI / scale_OG1.clamp_min(_SMALLEST_NORMAL_F16)).round().clamp(-LEVELS, LEVELS)
    return (scale_OG1 * q_OGI).view(outputs, inputs)
