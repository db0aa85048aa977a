"""Fine-tuning and continued pre-training: every weight trains on, from the parent's, on text of the caller's choice.

Enters: a model, or any Llama-shaped Hugging Face folder, token ids and a `Recipe`.  Leaves: the child; the parent stays.
The training itself: `begat_lab.training`.  Folders: `begat_lab.models.huggingface`.
"""

from __future__ import annotations

import copy
from pathlib import Path

import torch
from torch import Tensor

from begat_lab.descent.base import EVERY, Child, Job, kind
from begat_lab.models.dense import DenseLM
from begat_lab.models.huggingface import load_folder, save_folder, with_model
from begat_lab.training import Recipe, Say, silent, train, validation_loss


@kind("fine-tune", "fine-tuned", seeds=("window_seed",), trains=True, knows=EVERY)
def fine_tuned(job: Job) -> Child:
    """The parent, trained on."""
    return _trained_on(job)


@kind("continued", "continued pre-training", seeds=("window_seed",), trains=True, knows=EVERY)
def continued(job: Job) -> Child:
    """As fine-tuning; the name says that the text is large beside the parent's. A ladder of them is a chain of members."""
    return _trained_on(job)


def _trained_on(job: Job) -> Child:
    model = job.parent()
    job.train(model)
    return job.store(model)


def finetune(parent: DenseLM, tokens_N: Tensor, recipe: Recipe, generator: torch.Generator, say: Say = silent) -> DenseLM:
    """A child of `parent`, trained on `tokens_N`."""
    child = copy.deepcopy(parent)
    train(child, tokens_N, recipe, generator, say)
    return child


def finetune_folder(
    parent: Path, child: Path, tokens_N: Tensor, recipe: Recipe, generator: torch.Generator, say: Say = silent
) -> tuple[float, float]:
    """Fine-tune the checkpoint in `parent` into `child`, in the parent's layout and stored types.

    The parent is trained where it was loaded (no second copy), at 16 bytes a parameter: about 2 GB for 135 M parameters.
    `tokens_N` are ids of that model's own tokenizer; raw bytes (`begat_lab.text.byte_tokens`) train any vocabulary of 256 and up.

    Returns:
        The loss on the first 16 windows of `tokens_N` before and after.

    """
    llama = load_folder(parent)
    if int(tokens_N.max()) >= llama.model.config.vocab_size:
        raise ValueError(f"{parent}: token id {int(tokens_N.max())} is outside the vocabulary of {llama.model.config.vocab_size}")
    before = validation_loss(llama.model, tokens_N, recipe.context, windows=16)
    train(llama.model, tokens_N, recipe, generator, say)
    save_folder(with_model(llama, llama.model), child)
    return before, validation_loss(llama.model, tokens_N, recipe.context, windows=16)
