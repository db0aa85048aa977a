"""All cases behind one registry; one kind of situation is one file of `situations/`.

Enters: a name.  Leaves: a `Case`, which makes its models and their truth.  To add a situation: one
file in `situations/` that ends in a function under `@situation`, and its name in
`situations/__init__.py`. Where a case is a pair, `pairs` makes a second one of it: a stranger of
the same kind held against the very same child, so that every manipulation is tried both ways.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from begat_lab.cases.model import Toy, model_truth, pair_truth
from begat_lab.cases.truth import Recipe, Truth
from begat_lab.cases.write import write

#: a case's models under this ending are strangers to the first
STRANGER = "~stranger"
COMMANDS = ("compare", "inspect", "decompose", "tree", "search", "audit")


@dataclass(frozen=True, slots=True)
class Scene:
    """Models of a case, made: name → toy. shards: name → files; files: name → (file → text) beside
    the weights; recipes: child → recipe; detectable: as in `PairTruth`.
    """

    models: Mapping[str, Toy]
    shards: Mapping[str, int] = field(default_factory=dict)
    files: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    recipes: Mapping[str, Recipe] = field(default_factory=dict)
    detectable: bool = True


@dataclass(frozen=True, slots=True)
class Case:
    """A case: its name ("layers/swapped", "layers/swapped~stranger"), what it is, what may be asked
    of it, and how it is made.
    """

    name: str
    situation: str
    about: str
    commands: tuple[str, ...]
    scene: Callable[[], Scene]

    @property
    def strangers(self) -> bool:
        """Its first two models are strangers by design."""
        return self.name.endswith(STRANGER)

    def make(self, folder: Path) -> Truth:
        """Write every model to a folder of its name under `folder`, and return the truth."""
        scene = self.scene()
        for name, toy in scene.models.items():
            write(folder / name, toy, scene.shards.get(name, 1))
            for file, text in scene.files.get(name, {}).items():
                (folder / name / file).write_text(text, encoding="utf-8")
        return truth_of(scene)


def truth_of(scene: Scene) -> Truth:
    """The truth about every model and every ordered pair of them."""
    names = list(scene.models)
    pairs = {(a, b): pair_truth(scene.models[a], scene.models[b], scene.detectable) for a in names for b in names if a != b}
    return Truth({n: model_truth(t) for n, t in scene.models.items()}, pairs, dict(scene.recipes))


#: kind of situation → what builds its cases
SITUATIONS: dict[str, Callable[[], Iterable[Case]]] = {}


def situation(name: str) -> Callable[[Callable[[], Iterable[Case]]], Callable[[], Iterable[Case]]]:
    """Registers the function that builds the cases of a kind of situation."""

    def register(build: Callable[[], Iterable[Case]]) -> Callable[[], Iterable[Case]]:
        if name in SITUATIONS:
            raise ValueError(f"situation {name} is registered twice")
        SITUATIONS[name] = build
        return build

    return register


def pairs(
    name: str,
    about: str,
    parent: Callable[[], Toy],
    child: Callable[[Toy], Toy],
    other: Callable[[], Toy] | None = None,
    commands: tuple[str, ...] = ("compare", "inspect", "decompose"),
    detectable: bool = True,
    shards: int = 1,
) -> Iterator[Case]:
    """A model and what was made of it; and, with `other`, a stranger and the same child."""
    kind = name.partition("/")[0]

    def scene(first: Callable[[], Toy]) -> Scene:
        return Scene({"a": first(), "b": child(parent())}, {"b": shards}, detectable=detectable)

    yield Case(name, kind, about, commands, lambda: scene(parent))
    if other is not None:
        stranger = other
        yield Case(name + STRANGER, kind, f"a stranger against: {about}", commands, lambda: scene(stranger))


def cases(pattern: str = "") -> list[Case]:
    """All cases whose names hold `pattern`, situations in alphabetical order."""
    return [c for n, c in _all().items() if pattern in n]


@cache
def _all() -> dict[str, Case]:
    import begat_lab.cases.situations  # noqa: F401  (registers them)

    out: dict[str, Case] = {}
    for name in sorted(SITUATIONS):
        for case in SITUATIONS[name]():
            if case.name in out or not case.name.startswith(name + "/") or set(case.commands) - set(COMMANDS):
                raise ValueError(f"case {case.name}: not unique, not of {name}, or with an unknown command")
            out[case.name] = case
    return out
