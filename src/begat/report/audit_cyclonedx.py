"""An audit as a CycloneDX 1.6 ML-BOM: the release as a machine-learning model, and what is *established* of its kin in its pedigree.

Enters: an `Audit`.  Leaves: JSON text. `ancestors` are references that the release was made from, where the weights show the direction, or the release itself
declares them as base; `descendants` were made from the release; whatever else is established is a `variant`, because what two releases share carries no
arrow. CycloneDX's pedigree knows no kinds of descent, so which part is shared stands in properties; what is only indicated or declared, and what was not
compared, stands in the notes. Written with `cyclonedx-python-lib`; the model card, which that library lacks, is added by hand.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable
from typing import Any

import begat
from begat.audit.licences.table import TABLE
from begat.audit.types import Ancestor, Audit, Party
from begat.errors import MissingExtraError, printable

_SPACE = uuid.UUID("5f0b6f0e-6a0d-4a55-9a0f-2f4f0a4c7a16")


def cyclonedx_text(audit: Audit) -> str:
    """The BOM as JSON text, CycloneDX 1.6."""
    try:
        from cyclonedx.model.bom import Bom
        from cyclonedx.model.component import Component, ComponentType, Pedigree
        from cyclonedx.output.json import JsonV1Dot6
    except ImportError:
        raise MissingExtraError("a CycloneDX BOM needs cyclonedx-python-lib", fix="pip install 'begat[audit]'") from None
    parties = {p.id: p for p in audit.references}
    kin: dict[str, list[Any]] = {"ancestors": [], "descendants": [], "variants": []}
    for number, a in enumerate(audit.ancestors):
        if place := _place(a):
            kin[place].append(_relative(a, parties[a.reference], f"{place[:-1]}-{number}"))
    missing = [(f"uncompared-{u.question}", f"{u.reference + ': ' if u.reference else ''}{u.why}") for u in audit.uncompared]
    answers = [(f"answer-{x.question}", f"{x.status} ({x.level}): {x.sentence}") for x in audit.answers]
    model = Component(
        name=_text(audit.declared.name or audit.release.id), type=ComponentType.MACHINE_LEARNING_MODEL, bom_ref="release",
        version=_text(audit.release.version or audit.release.sha256[:16]), licenses=_licences(audit.release.licence),
        properties=_properties([("release-sha256", audit.release.sha256), ("sentence", audit.sentence), *answers, *missing]),
        pedigree=Pedigree(**kin, notes=_text(_notes(audit), 4000)),
    )  # fmt: skip
    bom = Bom(serial_number=uuid.uuid5(_SPACE, f"{audit.release.sha256}{audit.references_digest}"))
    bom.metadata.component = model
    bom.metadata.tools.components.add(Component(name="begat", type=ComponentType.APPLICATION, version=begat.__version__))
    data: dict[str, Any] = json.loads(JsonV1Dot6(bom).output_as_string())
    data["metadata"]["component"]["modelCard"] = {
        "properties": [{"name": "begat:declared-base-model", "value": _text(b)} for b in audit.declared.base_models]
        + [{"name": "begat:declared-licence", "value": _text(x)} for x in audit.declared.licence]
    }
    return json.dumps(data, indent=1, ensure_ascii=True) + "\n"


def _place(a: Ancestor) -> str:
    """Where in the pedigree a reference stands; "" for one of which nothing is established."""
    if a.arrow == "to-reference":
        return "descendants" if a.relation in ("same", "trained", "open") else ""
    if not a.established:
        return ""
    declared = a.declared and "weights" in a.established
    return "ancestors" if "weights" in a.established and (a.arrow == "from-reference" or declared) else "variants"


def _relative(a: Ancestor, party: Party, ref: str) -> Any:
    from cyclonedx.model.component import Component, ComponentType

    kind = ComponentType.MACHINE_LEARNING_MODEL if "weights" in party.has else ComponentType.LIBRARY
    direction = {"from-reference": "measured: made from it", "to-reference": "measured: it was made from the release"}.get(
        a.arrow, "declared by the release" if a.declared else "not shown"
    )
    return Component(
        name=_text(a.reference), type=kind, bom_ref=ref, version=_text(a.version) or None,
        licenses=_licences(a.licence),
        properties=_properties([("reused", part) for part in a.established] + [("indicated", part) for part in a.indicated]
                               + [("weights-part", part) for part in a.parts]
                               + [("weights-relation", a.relation), ("direction", direction),
                                  ("declared-as-base", "yes" if a.declared else "no"), ("reference-sha256", party.sha256)]),
    )  # fmt: skip


def _notes(audit: Audit) -> str:
    weak = [f"{a.reference}: {', '.join(a.indicated)} indicated" for a in audit.ancestors if a.indicated and not a.established]
    silent = [b for b in audit.declared.base_models if not any(a.declared and a.established for a in audit.ancestors)]
    twins = [a.reference for a in audit.ancestors if a.relation == "initial"]
    out = ["Listed are references of which begat established that something is shared; what is shared stands in their properties.",
           "Ancestors are those that the weights show to be the source, or that the release declares as base; variants carry no direction."]  # fmt: skip
    out += [f"{f.sentence}" for f in audit.findings if f.value == "not-compared"][:8]
    if twins:
        out.append(f"Equal initial weights alone, no relative: {', '.join(twins)}.")
    if weak:
        out.append("Not established: " + "; ".join(weak) + ".")
    if silent:
        out.append("Declared by the release, not established: " + ", ".join(silent) + ".")
    return " ".join(out)


def _licences(licence: str) -> Iterable[Any]:
    from cyclonedx.model.license import DisjunctiveLicense

    from begat.audit.licences.expressions import normal_expression

    if not licence:
        return []
    one = TABLE.licences.get(licence)
    key = one.spdx if one is not None else normal_expression(licence)
    if key and " " not in key and not key.startswith("LicenseRef-"):
        return [DisjunctiveLicense(id=key)]
    return [DisjunctiveLicense(name=_text(one.title if one is not None else licence))]


def _properties(pairs: Iterable[tuple[str, str]]) -> list[Any]:
    from cyclonedx.model import Property

    return [Property(name=f"begat:{name}", value=_text(value, 1000)) for name, value in pairs]


def _text(value: str, limit: int = 300) -> str:
    """Printable, and encodable as UTF-8."""
    return printable(value, limit)
