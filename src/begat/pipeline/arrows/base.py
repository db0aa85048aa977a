"""What an arrow file is: a question about two models, answered from weights alone.

Enters: a `Pair`.  Leaves: `Sign`s.  A sign names a fact of `begat/verdict/kinds.toml`, which says what kind of descent it describes and whether it may
point a direction.  To add one: a file here, named in `__init__.py`, and its fact in the table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from begat.canon.model import Canonical
from begat.registry import Registry
from begat.types import ExpertMatch


@dataclass(frozen=True, slots=True)
class Mixtures:
    """Two mixtures whose experts do not all stand in their place, under their own numbers.

    Attributes:
        matches: of every expert of `child` in the layers looked at that has a counterpart in `parent`.
        places: (tower, layer) of the layers looked at.
        equal: matched experts and everything else but routers are equal; rest_equal: everything but experts and routers is.
    """

    parent: Canonical
    child: Canonical
    matches: tuple[ExpertMatch, ...]
    places: list[tuple[str, int]]
    equal: bool
    rest_equal: bool


@dataclass(frozen=True, slots=True)
class Pair:
    """Two canonical models with paired towers, in the order asked: is `child` made of `parent`? `seed` chooses rows.

    mixtures: where experts stand under other numbers; `parent` and `child` then hold them under the same.
    """

    parent: Canonical
    child: Canonical
    seed: int
    mixtures: Mixtures | None = None


@dataclass(frozen=True, slots=True)
class Sign:
    """`fact` was found with `pair.parent` as the parent, as far as the fact has one; `words` say what was seen, in numbers."""

    fact: str
    words: str


Look = Callable[[Pair], Iterator[Sign]]

#: cosine of rows that are equal but for float arithmetic. A change of structure points from parent to child only where the rest is equal: else the
#: parent may as well be a sibling, tuned from the model that was changed
EQUAL = 1 - 1e-6

ARROWS: Registry[Look] = Registry("arrow")
