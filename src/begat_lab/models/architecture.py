"""What the lab knows of an architecture: its config, its model, its folder, its training loss. One registry, `ARCHITECTURES`.

Enters: an `Architecture`, registered by the file that holds the model (`dense.py`, `gpt2.py`, `bert.py`, `moe.py`).  Leaves: models
from a config, and which of their tensors are matrices of attention and MLPs.  Folders: `huggingface.py`.  Who names an architecture:
`begat_lab.pedigree`.  To add one: one file beside this one, imported in `__init__.py`; `tests/lab/test_architectures.py` picks it up.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from begat import InputError
from begat.registry import Registry
from begat_lab.training import Loss, next_token_loss

#: a loss that takes what chance it needs (masks) from this generator
LossOf = Callable[[torch.Generator], Loss]


class LanguageModel(nn.Module):  # type: ignore[misc]  # torch is untyped here (pyproject: follow_imports = skip)
    """Any model of the lab: ids_BT to logits_BTV. Its weights are *unset* until they are drawn or loaded."""

    config: Any  # has `vocab_size` and `max_position_embeddings`


def next_token(generator: torch.Generator) -> Loss:
    """The loss of a decoder, which needs no chance."""
    return next_token_loss


@dataclass(frozen=True, kw_only=True, slots=True)
class Architecture:
    """One architecture."""

    title: str
    config: type  # the frozen dataclass of its shape
    model: Callable[[Any], LanguageModel]  # of a config
    initialise: Callable[[Any, torch.Generator], None]  # fill every weight, in the order of the state dict
    model_type: str  # in config.json
    write_config: Callable[[Any, torch.dtype], dict[str, Any]]  # what config.json says
    read_config: Callable[[dict[str, Any], Path], Any]  # the config of a config.json, or a ValueError that names its path
    matrices: str  # a pattern: names of the matrices of attention and MLPs, which quantisation and pruning change
    positions_end: bool = False  # positions are learned: a window longer than their table cannot be read
    inputs_first: bool = False  # these matrices lie [inputs, outputs]
    loss: LossOf = next_token  # to train by
    measure: LossOf = next_token  # to judge by: nats per predicted token

    def empty(self, config: Any) -> LanguageModel:
        """A model in float32 whose weights are whatever the memory held.

        Built on the `meta` device, which has no memory, so that torch's own random start is never drawn.
        """
        with torch.device("meta"):
            model = self.model(config)
        model.to_empty(device="cpu")
        return model

    def new(self, config: Any, generator: torch.Generator) -> LanguageModel:
        """An untrained model. The same generator state gives the same weights, which is all that twins share."""
        model = self.empty(config)
        self.initialise(model, generator)
        return model

    def is_matrix(self, name: str) -> bool:
        """Whether this tensor is a matrix of attention or of an MLP."""
        return re.fullmatch(self.matrices, name) is not None

    def turned(self, weight: Tensor) -> Tensor:
        """A matrix as it lies ↔ weight_OI (outputs, inputs), a view."""
        return weight.T if self.inputs_first else weight


ARCHITECTURES: Registry[Architecture] = Registry("architecture")


def architecture_of(config: Any) -> Architecture:
    """The architecture with this config."""
    return next(architecture for _, architecture in ARCHITECTURES.items() if architecture.config is type(config))


def whole_heads(width: int, heads: int) -> None:
    """An error when the width is not the heads' dims side by side."""
    if heads < 1 or width % heads:
        raise InputError("hidden size does not divide among the heads", expected=f"a multiple of {heads}", found=width)


def draw(model: LanguageModel, generator: torch.Generator, wide: float, narrow: float, writes: tuple[str, ...]) -> None:
    """Fill every weight, in the order of the state dict, from one generator.

    | weight                                                 | initial value                                         |
    |--------------------------------------------------------|-------------------------------------------------------|
    | gains of norms                                         | 1                                                     |
    | biases                                                 | 0                                                     |
    | matrices named in `writes` (to the residual stream)    | N(0, narrow^2), so that the residual stream grows little |
    | all others, embedding and head                         | N(0, wide^2)                                          |

    Every unit of an axis is drawn alike. That is what makes the order test exact, so never initialise by index.
    """
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.dim() == 1:
                weight.fill_(0.0 if name.endswith("bias") else 1.0)
            else:
                weight.normal_(0.0, narrow if name.endswith(writes) else wide, generator=generator)
