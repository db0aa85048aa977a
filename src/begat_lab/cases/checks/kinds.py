"""Which operations make which kind of descent true.

Enters: a fact of `begat/verdict/kinds.toml` or a kind of `policy.toml`.  Leaves: the operations
(`truth.OPERATIONS`) of which one must have been done on either side. A contract test holds that
every fact of the table has a row here.
"""

from __future__ import annotations

from begat_lab.cases.truth import PairTruth

_LEFT_OUT = frozenset({"layers-left-out"})
_UNITS_LESS = frozenset({"units-left-out", "sliced"})
_EXPERTS_LESS = frozenset({"experts-left-out"})
_ROWS_MORE = frozenset({"vocabulary-extended"})
_ROWS = _ROWS_MORE | {"vocabulary-pruned", "vocabulary-reordered"}

#: fact → operations that make it true
FACTS: dict[str, frozenset[str]] = {
    "layers-repeated": frozenset({"layers-repeated"}),
    "layers-repeated-changed": frozenset({"layers-repeated"}),
    "layers-missing": _LEFT_OUT,
    "layers-missing-changed": _LEFT_OUT | {"layers-inserted"},
    "layers-more-or-fewer": frozenset({"layers-left-out", "layers-inserted", "layers-repeated"}),
    "units-missing": _UNITS_LESS,
    "units-missing-changed": _UNITS_LESS,
    "units-repeated": frozenset({"units-repeated"}),
    "units-repeated-changed": frozenset({"units-repeated"}),
    "units-more-or-fewer": _UNITS_LESS | {"units-repeated"},
    "experts-copied": frozenset({"upcycled"}),
    "experts-related": frozenset({"upcycled"}),
    "units-shared-out": frozenset(),
    "experts-missing": _EXPERTS_LESS,
    "experts-missing-changed": _EXPERTS_LESS,
    "experts-more-or-fewer": _EXPERTS_LESS | {"experts-repeated", "experts-averaged"},
    "experts-averaged": frozenset({"experts-averaged"}),
    "experts-averaged-changed": frozenset({"experts-averaged"}),
    "experts-repeated": frozenset({"experts-repeated"}),
    "experts-repeated-changed": frozenset({"experts-repeated"}),
    "experts-reordered": frozenset({"experts-reordered"}),
    "experts-replaced": frozenset({"experts-replaced"}),
    "zeros-smallest": frozenset({"zeroed"}),
    "zeros-equal": frozenset({"zeroed"}),
    "zeros-changed": frozenset({"zeroed"}),
    "low-rank-rounded": frozenset({"low-rank-added"}),
    "low-rank": frozenset({"low-rank-added"}),
    "direction-removed": frozenset({"direction-removed"}),
    "rows-at-mean": _ROWS_MORE,
    "rows-at-mean-changed": _ROWS_MORE,
    "rows-more-or-fewer": _ROWS_MORE | {"vocabulary-pruned", "embedding-taken", "sliced"},
    "tower-more": frozenset({"tower-taken", "tower-added"}),
    "tower-copied": frozenset({"copy-beside"}),
    "layers-replaced": frozenset({"layers-replaced", "layers-inserted"}),
    "on-grid": frozenset({"quantised"}),
    "head-changed": frozenset({"head-replaced", "head-added", "trained-in-part"}),
    "tokens-changed": frozenset({"trained-in-part", "head-replaced", "embedding-replaced", "embedding-taken"}) | _ROWS,
    "changed-in-part": frozenset(),
    "changed-throughout": frozenset({"finetuned", "merged", "averaged-over-steps", "noised", "trained"}),
    "white-noise": frozenset({"noised"}),
    # kinds of policy.toml
    "copy": frozenset(),
    "quantised or converted copy": frozenset({"cast", "quantised"}),
    "converted copy": frozenset({"cast", "quantised"}),
}
#: facts that are true of relations, whatever was done
_OF_RELATIONS = {
    "copy": ("same-weights",),
    "converted copy": ("same-weights", "re-encoded"),
    "quantised or converted copy": ("same-weights", "re-encoded"),
}


def kind_is_true(fact: str, truth: PairTruth) -> bool | None:
    """Is it of this kind? None: no row."""
    if fact == "changed-in-part":  # whatever changed the others
        return truth.kept > 0 and not truth.equal
    if fact in _OF_RELATIONS:
        return truth.relation in _OF_RELATIONS[fact]
    return None if fact not in FACTS else bool(FACTS[fact] & truth.operations)
