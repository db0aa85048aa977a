"""Initial weights by a named rule: what people draw models from, beside what the architecture itself would draw.

Enters: a model whose weights are unset, an `Initial`, a generator.  Leaves: the model, drawn.  The architecture's own rule:
`architecture.draw`.  Who asks: `begat_lab.descent.scratch`.

The rules draw N(0, s²) or U(-r, r) with, for a matrix of I inputs and O outputs:

| rule            | matrices                                                                  | source                    |
|-----------------|---------------------------------------------------------------------------|---------------------------|
| normal          | s = `deviation`                                                           | GPT-2, Llama              |
| truncated       | s = `deviation`, redrawn beyond 2 s (their standard deviation is 0.88 s)  | BERT, Gemma               |
| kaiming-uniform | r = sqrt(1 / I): what `torch.nn.Linear` does when nobody draws            | He et al. 2015, a = √5    |
| kaiming-normal  | s = sqrt(2 / I)                                                           | He et al. 2015            |
| xavier-uniform  | r = sqrt(6 / (I + O))                                                     | Glorot and Bengio 2010    |
| xavier-normal   | s = sqrt(2 / (I + O))                                                     | Glorot and Bengio 2010    |
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from begat import InputError

RULES = ("usual", "normal", "truncated", "kaiming-uniform", "kaiming-normal", "xavier-uniform", "xavier-normal")
_LATE = {"late": True}  # written into a member's recipe only where it is not the default: see `Member.recipe`


@dataclass(frozen=True, kw_only=True, slots=True)
class Initial:
    """How a member's initial weights are drawn; the config says what it says.

    Attributes:
        initial: one of `RULES`; "usual" is the architecture's own.
        deviation: s of "normal" and "truncated"; 0 is the deviation that the config states, so any other makes the config wrong.
        embedding: standard deviation of embedding and head, drawn normal; 0 is the rule's own for `inputs` = hidden size.
        residual: divide what is written to the residual stream by sqrt(2 * layers), as GPT-2 does.
    """

    initial: str = field(default="usual", metadata=_LATE)
    deviation: float = field(default=0.0, metadata=_LATE)
    embedding: float = field(default=0.0, metadata=_LATE)
    residual: bool = field(default=False, metadata=_LATE)

    def __post_init__(self) -> None:
        if self.initial not in RULES:
            raise InputError("rule for initial weights", expected=" / ".join(RULES), found=self.initial)
        for name, value in (("deviation", self.deviation), ("embedding", self.embedding)):
            if not 0 <= value < 10:
                raise InputError(f"{name} of initial weights", expected="0 to 10", found=value)
        if self.initial == "usual" and (self.deviation or self.embedding or self.residual):
            raise InputError("the architecture's own initial weights take no options", fix='name a rule: initial = "normal"')


def draw_initial(model: Any, how: Initial, generator: torch.Generator) -> None:
    """Fill every weight of a dense model, in the order of the state dict, all units of an axis alike: never by index."""
    config = model.config
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.dim() == 1:
                weight.fill_(0.0 if name.endswith("bias") else 1.0)
            elif how.embedding and name.endswith(("embed_tokens.weight", "lm_head.weight")):
                weight.normal_(0.0, how.embedding, generator=generator)
            else:
                _draw(weight, how, how.deviation or config.initializer_range, generator)
                if how.residual and name.endswith(("o_proj.weight", "down_proj.weight")):
                    weight.mul_((2 * config.num_hidden_layers) ** -0.5)


def _draw(weight_OI: Tensor, how: Initial, s: float, generator: torch.Generator) -> None:
    outputs, inputs = weight_OI.shape
    if how.initial == "normal":
        weight_OI.normal_(0.0, s, generator=generator)
    elif how.initial == "truncated":
        torch.nn.init.trunc_normal_(weight_OI, 0.0, s, -2 * s, 2 * s, generator=generator)
    elif how.initial == "kaiming-uniform":
        weight_OI.uniform_(-(inputs**-0.5), inputs**-0.5, generator=generator)
    elif how.initial == "kaiming-normal":
        weight_OI.normal_(0.0, (2 / inputs) ** 0.5, generator=generator)
    elif how.initial == "xavier-uniform":
        reach = (6 / (inputs + outputs)) ** 0.5
        weight_OI.uniform_(-reach, reach, generator=generator)
    else:
        weight_OI.normal_(0.0, (2 / (inputs + outputs)) ** 0.5, generator=generator)
