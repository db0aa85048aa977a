"""What flows into each matrix when a model reads text: the statistics that GPTQ and AWQ quantise by.

Enters: a model and windows of text.  Leaves: per attention and MLP matrix the second moments of its inputs (GPTQ's Hessian, but for a
factor) and their mean magnitudes.  Kinds: `gptq.py`, `awq.py`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from begat_lab.descent.base import Job
from begat_lab.text import within
from begat_lab.training import draw_windows


@dataclass(slots=True)
class Inputs:
    """Of one matrix, over all tokens, in float64."""

    moment_II: Tensor  # mean of x x^T
    magnitude_I: Tensor  # mean of |x|


def calibration_windows(job: Job, vocab_size: int) -> list[Tensor]:
    """`steps` batches of windows, as a training would draw them."""
    tokens_N, recipe = job.text()
    chance, text = job.generator("window_seed"), within(tokens_N, vocab_size)
    return [draw_windows(text, recipe, chance)[:, :-1] for _ in range(recipe.steps)]


def matrices(module: nn.Module) -> dict[str, nn.Linear]:
    """The attention and MLP matrices in a module, by name."""
    return {name: part for name, part in module.named_modules() if name.endswith("_proj") and isinstance(part, nn.Linear)}


def inputs_of(model: nn.Module, parts: dict[str, nn.Linear], windows: Iterable[Tensor]) -> dict[str, Inputs]:
    """Run the model over the windows and watch what these matrices are given."""
    found = {
        name: Inputs(torch.zeros(part.in_features, part.in_features, dtype=torch.float64),
                     torch.zeros(part.in_features, dtype=torch.float64))
        for name, part in parts.items()
    }  # fmt: skip
    tokens = 0

    def watch(name: str) -> object:
        def hook(_: nn.Module, given: tuple[Tensor, ...]) -> None:
            x_NI = given[0].flatten(0, -2).double()
            found[name].moment_II += x_NI.T @ x_NI
            found[name].magnitude_I += x_NI.abs().sum(0)

        return parts[name].register_forward_pre_hook(hook)

    hooks = [watch(name) for name in parts]
    with torch.no_grad():
        for ids_BT in windows:
            model(ids_BT)
            tokens += ids_BT.numel()
    for hook in hooks:
        hook.remove()  # type: ignore[attr-defined]
    for one in found.values():
        one.moment_II /= tokens
        one.magnitude_I /= tokens
    return found
