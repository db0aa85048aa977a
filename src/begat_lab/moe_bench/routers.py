"""Three routers to measure under: one that spreads evenly, one with favourites, and the worst there is.

Enters: a layer or a number of tokens.  Leaves: a layer whose gate routes so, or logits.  The first feature of every token is 1, and the
gate's first column is what all tokens think of each expert.
"""

from __future__ import annotations

import torch
from torch import Tensor

from begat_lab.moge import MoGE

ROUTERS = ("random", "skewed", "adversarial")
ABOUT = ("Routers: random (logits are standard normal), skewed (each expert's logits are shifted by a standard normal favour of its own), "
         "adversarial (every token likes the experts in the same order, so all rows go to the first that may be chosen).")  # fmt: skip


def opinions(router: str, experts: int, generator: torch.Generator) -> tuple[Tensor, float]:
    """What all tokens think of each expert (favour_N), and the standard deviation of what each token adds of its own."""
    if router == "adversarial":  # a step of 1 keeps 64 experts' probabilities apart in float32
        return -torch.arange(float(experts)), 0.01
    return (torch.randn(experts, generator=generator) if router == "skewed" else torch.zeros(experts)), 1.0


def logits(router: str, tokens: int, experts: int, generator: torch.Generator) -> Tensor:
    """Router logits_TN of random tokens."""
    favour_N, own = opinions(router, experts, generator)
    return own * torch.randn(tokens, experts, generator=generator) + favour_N


def tokens_for(count: int, hidden: int, device: str, dtype: torch.dtype, seed: int = 1) -> Tensor:
    """Random x_TD with a first feature of 1."""
    x_TD = torch.randn(count, hidden, generator=torch.Generator(device).manual_seed(seed), device=device)
    x_TD[:, 0] = 1.0
    return x_TD.to(dtype)


@torch.no_grad()  # type: ignore[untyped-decorator]
def aim(layer: MoGE, router: str, seed: int = 2) -> None:
    """Make the gate of `layer` route so, on the tokens of `tokens_for`."""
    weight, chance = layer.gate.weight, torch.Generator().manual_seed(seed)
    favour_N, own = opinions(router, weight.shape[0], chance)
    weight.copy_(torch.randn(weight.shape, generator=chance) * own / weight.shape[1] ** 0.5)
    weight[:, 0] = favour_N.to(weight)
