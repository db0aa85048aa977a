"""How an inspection is read for the tables of this folder."""

from __future__ import annotations

import begat


def found_words(inspection: begat.Inspection, name: str) -> bool:
    """Did a finding speak? "rounded" and "declared" are the two ways of the grid."""
    if name in ("rounded", "declared", "narrow"):
        items = inspection.finding("grid").found.items
        kinds = {"declared": "the file says so", "narrow": " holding "}
        spoken = {k for i in items for k, w in kinds.items() if w in i.what} | (
            {"rounded"} if inspection.finding("grid").found.descent else set()
        )
        return name in spoken
    return inspection.finding(name).found.status == "found"
