"""Training and validation loss of any model that maps ids_BT to logits_BTV.

Enters: a model, a stream of token ids, a `Recipe`, a generator that picks the windows.  Leaves: the model, changed in place.
Models: `begat_lab.models`.  Text: `begat_lab.text`.  Making a child without touching its parent: `begat_lab.descent`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Shape suffixes as in models/dense.py: B batch, T position, V vocabulary; N is the length of the token stream.

Say = Callable[[str], None]


Tick = Callable[[int], None]  # told how many steps were done since it was last told
Loss = Callable[[nn.Module, Tensor], Tensor]  # of a model on window_BT


def silent(line: str) -> None:
    """The `Say` of whoever does not want to hear."""


def still(steps: int) -> None:
    """The `Tick` of whoever does not count."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """How to train. AdamW is permutation-equivariant, which the order test needs; block-wise 8-bit optimisers are not."""

    steps: int
    batch: int = 16  # B: windows a step
    context: int = 128  # T: tokens a window
    rate: float = 3e-3  # peak learning rate
    warmup: int = 50  # steps of linear rise
    cosine: bool = True  # fall to a tenth of the peak along a cosine; False: stay at the peak, as a long fine-tune does
    weight_decay: float = 0.1  # on matrices, not on embeddings and not on gains and biases
    betas: tuple[float, float] = (0.9, 0.95)
    clip: float = 1.0  # largest gradient norm

    def rate_at(self, step: int) -> float:
        """The learning rate of step 0, 1, ..."""
        if step < self.warmup:
            return self.rate * (step + 1) / self.warmup
        if not self.cosine:
            return self.rate
        done = (step - self.warmup) / max(1, self.steps - self.warmup)
        return self.rate * (0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * done)))


def train(
    model: nn.Module,
    tokens_N: Tensor,
    recipe: Recipe,
    generator: torch.Generator,
    say: Say = silent,
    *,
    loss_of: Loss | None = None,
    tick: Tick = still,
) -> None:
    """Train `model` in place on windows that `generator` picks; it is the only source of chance.

    Weights with `requires_grad = False` stay. `loss_of` defaults to `next_token_loss`.
    """
    loss_of = loss_of or next_token_loss
    optimizer = torch.optim.AdamW(_groups(model, recipe.weight_decay), betas=recipe.betas, fused=True)
    model.train()
    for step in range(recipe.steps):
        for group in optimizer.param_groups:
            group["lr"] = recipe.rate_at(step)
        loss = loss_of(model, draw_windows(tokens_N, recipe, generator))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), recipe.clip)
        optimizer.step()
        tick(1)
        if step % 100 == 99 or step == recipe.steps - 1:
            say(f"step {step + 1}/{recipe.steps}  loss {loss.item():.3f}")
    model.eval()


def draw_windows(tokens_N: Tensor, recipe: Recipe, generator: torch.Generator) -> Tensor:
    """B windows of T + 1 neighbouring tokens, drawn with replacement."""
    length = recipe.context + 1
    if len(tokens_N) < length:
        raise ValueError(f"{len(tokens_N)} tokens of text, but one window is {length}: give more text or a shorter context")
    start_B = torch.randint(len(tokens_N) - length + 1, (recipe.batch,), generator=generator)
    return tokens_N[start_B[:, None] + torch.arange(length)]


def next_token_loss(model: nn.Module, window_BT: Tensor) -> Tensor:
    """Mean cross-entropy in nats of each token but the first, given those before it."""
    logits_BTV = model(window_BT[:, :-1])
    return F.cross_entropy(logits_BTV.flatten(0, 1), window_BT[:, 1:].flatten())


def validation_loss(
    model: nn.Module, tokens_N: Tensor, context: int = 128, windows: int = 512, loss_of: Loss = next_token_loss
) -> float:
    """Nats per predicted token over the first `windows` windows of a held-out text, end to end and none twice."""
    length = context + 1
    window_BT = tokens_N[: len(tokens_N) // length * length].view(-1, length)[:windows]
    with torch.no_grad():
        total = sum(float(loss_of(model, part_BT)) * len(part_BT) for part_BT in window_BT.split(32))
    return total / len(window_BT)


def _groups(model: nn.Module, weight_decay: float) -> list[dict[str, object]]:
    matrices: list[Tensor] = []
    others: list[Tensor] = []
    tables = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
    for weight in model.parameters():
        if not weight.requires_grad:
            continue
        (matrices if weight.dim() > 1 and id(weight) not in tables else others).append(weight)
    return [{"params": matrices, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]
