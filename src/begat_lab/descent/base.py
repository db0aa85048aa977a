"""What a kind of descent is: how many parents it takes, which seeds it draws from, and the function that makes the child.

Enters: a `Job` (parents' folders, options, seeds, text).  Leaves: the child's folder in Hugging Face layout and a `Child`, the model
as stored with what is worth writing into `truth.json`.  Kinds: the other files of this package, each registered in `KINDS`.
Who calls them: `begat_lab.grow`.  Who checks that a pedigree asks for what a kind can do: `begat_lab.pedigree`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from begat import InputError
from begat.registry import Registry
from begat_lab.models import ARCHITECTURES, architecture_of
from begat_lab.models.architecture import LanguageModel
from begat_lab.models.huggingface import load_folder, pack, save_folder
from begat_lab.text import within
from begat_lab.tokenizer import write_tokenizer
from begat_lab.training import Recipe, Say, Tick, silent, still, train

#: the sources of chance a member may have, each seeded in the pedigree on its own
SEEDS = {
    "initial_seed": "the lottery of the initial weights",
    "window_seed": "which windows of the text, in which order, and which of their words are masked",
    "chance_seed": "all else: masks, noise, new rows",
}
#: for kinds that know what to do with a parent of any architecture
EVERY = tuple(ARCHITECTURES)


@dataclass(frozen=True, slots=True)
class NoOptions:
    """For kinds that have none."""


@dataclass(frozen=True, slots=True)
class Child:
    """A new member: its weights as they are stored (float32), and facts for its `truth.json`."""

    model: LanguageModel
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """All that a kind may use to make one member; `folder` exists and is empty."""

    folder: Path
    parents: tuple[Path, ...]
    options: Any  # an instance of the kind's `options`
    shape: Any  # config of members that start from fresh weights; children have their parents'
    dtype: torch.dtype  # of the stored floats
    seeds: Mapping[str, int]
    training: Recipe | None = None
    tokens_N: Tensor | None = None  # the text to train on
    say: Say = silent
    tick: Tick = still

    def parent(self, number: int = 0) -> LanguageModel:
        """Parent `number` as stored, in float32. Children start from the file, rounded as it was, as anybody's would."""
        return load_folder(self.parents[number]).model

    def generator(self, name: str) -> torch.Generator:
        """A fresh generator for one of `SEEDS`."""
        return torch.Generator().manual_seed(self.seeds[name])

    def text(self) -> tuple[Tensor, Recipe]:
        """The tokens and the recipe of a kind that trains."""
        if self.tokens_N is None or self.training is None:
            raise ValueError("a kind that reads text must be registered with trains=True")
        return self.tokens_N, self.training

    def train(self, model: LanguageModel) -> None:
        """Train on the member's text, by the loss of the model's architecture."""
        tokens_N, recipe = self.text()
        windows = self.generator("window_seed")
        architecture, table = architecture_of(model.config), model.config.max_position_embeddings
        if architecture.positions_end and recipe.context > table:
            raise InputError("windows are longer than the model's table of positions", expected=f"context = {table} or less",
                             found=recipe.context, fix="shorten them, or give the shape more positions")  # fmt: skip
        loss_of = architecture.loss(windows)
        train(model, within(tokens_N, model.config.vocab_size), recipe, windows, self.say, loss_of=loss_of, tick=self.tick)

    def store(self, model: LanguageModel, **details: Any) -> Child:
        """Write `model` as plain floats, with its tokenizer; the child is what was written, not what was rounded away."""
        save_folder(pack(model, self.dtype), self.folder)
        write_tokenizer(self.folder, model.config.vocab_size)
        return Child(load_folder(self.folder).model, details)


@dataclass(frozen=True, kw_only=True, slots=True)
class Kind:
    """One kind of descent; see `kind`."""

    name: str
    title: str
    make: Callable[[Job], Child]
    parents: tuple[int, int]  # least and most
    seeds: tuple[str, ...]
    trains: bool
    options: type
    takes: tuple[str, ...]  # what each parent must store; the last holds for all that follow
    stores: str  # "model" (plain floats), "adapter", "quantised"
    inherits: bool  # False: the parents' weights do not enter (distilled)
    knows: tuple[str, ...]  # the architectures it can make or read
    expects: frozenset[str]  # the verdicts of begat about parent and child that are right


KINDS: Registry[Kind] = Registry("kind of descent")
#: verdicts that say "not made independently"
DEPENDENT = frozenset(
    {"identical", "re-encoded", "derived", "partly-derived", "shared-initialisation", "derived-or-shared-initialisation"}
)
INDEPENDENT = frozenset({"no-evidence"})


def kind(
    name: str,
    title: str,
    *,
    parents: int | tuple[int, int] = 1,
    seeds: tuple[str, ...] = (),
    trains: bool = False,
    options: type = NoOptions,
    takes: tuple[str, ...] = ("model",),
    stores: str = "model",
    inherits: bool = True,
    knows: tuple[str, ...] = ("dense",),
    expects: frozenset[str] | None = None,
) -> Callable[[Callable[[Job], Child]], Callable[[Job], Child]]:
    """Decorator: register the function that makes a member of this kind."""

    def put(make: Callable[[Job], Child]) -> Callable[[Job], Child]:
        many = (parents, parents) if isinstance(parents, int) else parents
        right = expects or (DEPENDENT if inherits else INDEPENDENT)
        KINDS.add(name)(
            Kind(name=name, title=title, make=make, parents=many, seeds=seeds, trains=trains, options=options, takes=takes,
                 stores=stores, inherits=inherits, knows=knows, expects=right)
        )  # fmt: skip
        return make

    return put


def same_shape(models: list[LanguageModel]) -> None:
    """An error when weights that are to be combined do not have one set of names and shapes."""
    first = {name: tuple(weight.shape) for name, weight in models[0].state_dict().items()}
    for number, model in enumerate(models[1:], 1):
        other = {name: tuple(weight.shape) for name, weight in model.state_dict().items()}
        for name in sorted(first.keys() | other.keys()):
            if first.get(name) != other.get(name):
                raise InputError(f"parents 0 and {number} have different shapes", tensor=name, expected=first.get(name, "nothing"),
                                 found=other.get(name, "nothing"), fix="give parents of one shape")  # fmt: skip
