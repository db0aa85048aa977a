"""Outputs: JSON by its schema, SARIF, a strictly valid CycloneDX BOM with established ancestors only, an in-toto statement over the very bytes."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import typing
from pathlib import Path

import jsonschema
import pytest

from begat.audit import types
from begat.audit.code import types as code_types
from begat.audit.types import Audit
from begat.report.audit_cyclonedx import cyclonedx_text
from begat.report.audit_html import render_audit_html
from begat.report.audit_intoto import statement_text
from begat.report.audit_json import dumps, load_schema, to_json
from begat.report.audit_sarif import sarif_text
from begat.report.audit_text import render_audit

Enacted = dict[str, tuple[Path, Audit]]
CASES = ["kept-notice", "renamed-tensors, own weights", "renamed-tensors, others' weights", "renamed-everything"]
EVIL = "<script>alert(1)</script>\x1b[31m\u202e\n\ud800&\"'"


@pytest.mark.parametrize("case", CASES)
def test_json_follows_its_schema(enacted: Enacted, case: str) -> None:
    value = json.loads(dumps(enacted[case][1]))
    jsonschema.Draft202012Validator(load_schema()).validate(value)
    assert value == json.loads(json.dumps(to_json(enacted[case][1])))


def test_the_schema_is_a_schema_and_knows_every_field() -> None:
    schema = load_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    assert set(schema["properties"]) - {"schema_version", "tool", "version"} == {f.name for f in dataclasses.fields(Audit)}
    homes = {
        n: getattr(types, n, None) or getattr(code_types, n.removeprefix("Code") if n == "CodeSpan" else n)
        for n in schema["$defs"]
    }
    for name, home in homes.items():
        assert set(schema["$defs"][name]["properties"]) == {f.name for f in dataclasses.fields(home)}, name
        assert schema["$defs"][name]["additionalProperties"] is False


def test_the_schema_refuses_other_words(enacted: Enacted) -> None:
    value = json.loads(dumps(enacted["renamed-everything"][1]))
    for change in ({"level": "proven"}, {"axis": "guilt"}, {"verdict": "guilty"}):
        broken = value | {"findings": [value["findings"][0] | change]}
        assert not jsonschema.Draft202012Validator(schema=load_schema()).is_valid(broken)


@pytest.mark.parametrize("case", CASES)
def test_sarif(enacted: Enacted, case: str) -> None:
    _, a = enacted[case]
    log = json.loads(sarif_text(a))
    assert log["version"] == "2.1.0"
    (run,) = log["runs"]
    rules = [r["id"] for r in run["tool"]["driver"]["rules"]]
    assert len(run["results"]) == len(a.findings)
    missing = {u.id for u in a.missing()}
    assert sum(r["kind"] == "fail" for r in run["results"]) == len([f for f in a.findings if f.bearing == "against" or f.id in missing])
    assert run["invocations"][0]["executionSuccessful"] is not bool(missing)
    for result in run["results"]:
        assert rules[result["ruleIndex"]] == result["ruleId"]
        assert result["kind"] in ("pass", "open", "informational", "notApplicable", "review", "fail")
        assert (
            result["level"] in ("error", "warning", "note") if result["kind"] == "fail" else result["level"] == "none"
        )  # SARIF 3.27.9, 3.27.10
        assert result["message"]["text"]
        uri = result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
        assert re.fullmatch(r"[A-Za-z0-9/._~%-]+", uri)
        region = result["locations"][0]["physicalLocation"].get("region")
        assert region is None or 1 <= region["startLine"] <= region["endLine"]
    prints = [r["partialFingerprints"]["begat/v1"] for r in run["results"]]
    assert len(set(prints)) == len(prints)


@pytest.mark.parametrize("case", CASES)
def test_cyclonedx_is_strictly_valid(enacted: Enacted, case: str) -> None:
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    text = cyclonedx_text(enacted[case][1])
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    bom = json.loads(text)
    assert (bom["specVersion"], bom["metadata"]["component"]["type"]) == ("1.6", "machine-learning-model")


def test_the_pedigree_names_ancestors_only_by_an_arrow(enacted: Enacted) -> None:
    def pedigree(case: str) -> dict[str, typing.Any]:
        return typing.cast(
            "dict[str, typing.Any]", json.loads(cyclonedx_text(enacted[case][1]))["metadata"]["component"].get("pedigree", {})
        )

    everything = pedigree("renamed-everything")
    (variant,) = everything["variants"]  # what two models share does not say which came first
    assert variant["name"] == "example/Ruda-14B" and "ancestors" not in everything
    properties = {(p["name"], p["value"]) for p in variant["properties"]}
    assert {v for n, v in properties if n == "begat:reused"} == {"weights", "tokenizer"}
    assert ("begat:direction", "not shown") in properties
    assert not {"ancestors", "variants", "descendants"} & set(pedigree("kept-notice"))
    assert "code indicated" in pedigree("kept-notice")["notes"]
    assert not {"ancestors", "variants", "descendants"} & set(pedigree("renamed-tensors, own weights"))


@pytest.mark.parametrize(
    ("change", "place", "direction"),
    [
        ({"arrow": "from-reference"}, "ancestors", "measured: made from it"),
        ({"arrow": "to-reference", "established": ()}, "descendants", "measured: it was made from the release"),
        ({"arrow": ""}, "variants", "not shown"),
        ({"arrow": "", "declared": True}, "ancestors", "declared by the release"),
        ({"arrow": "from-reference", "established": ("code",)}, "variants", "measured: made from it"),
        ({"arrow": "", "established": ("tokenizer",), "declared": True}, "variants", "declared by the release"),
        ({"relation": "initial", "established": ()}, "", ""),
        ({"relation": "none", "established": ()}, "", ""),
    ],
)
def test_places_in_the_pedigree(enacted: Enacted, change: dict[str, typing.Any], place: str, direction: str) -> None:
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    a = enacted["renamed-tensors, others' weights"][1]
    kin = dataclasses.replace(a.ancestors[0], **{"established": ("weights",), "relation": "trained", "arrow": ""} | change)
    text = cyclonedx_text(dataclasses.replace(a, ancestors=(kin,)))
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    pedigree = json.loads(text)["metadata"]["component"]["pedigree"]
    assert {k for k in pedigree if k != "notes"} == ({place} if place else set())
    if place:
        (one,) = pedigree[place]
        assert {"name": "begat:direction", "value": direction} in one["properties"]


def test_the_bom_is_the_same_for_the_same_audit(enacted: Enacted) -> None:
    def bom() -> dict[str, typing.Any]:
        value = json.loads(cyclonedx_text(enacted["renamed-everything"][1]))
        value["metadata"].pop("timestamp")
        return typing.cast("dict[str, typing.Any]", value)

    assert bom() == bom()


@pytest.mark.parametrize("case", CASES)
def test_the_statement_covers_the_bytes_of_the_evidence(enacted: Enacted, case: str) -> None:
    _, a = enacted[case]
    statement = json.loads(statement_text(a))
    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    evidence, release = statement["subject"]
    assert evidence["digest"]["sha256"] == hashlib.sha256((dumps(a) + "\n").encode()).hexdigest()
    assert release["digest"]["sha256"] == a.release.sha256
    assert statement["predicate"] == to_json(a) or statement["predicate"] == json.loads(dumps(a))


def hostile(a: Audit) -> Audit:
    """Every string that a stranger chose, replaced by markup, escapes and a lone surrogate."""

    def turn(value: typing.Any, depth: int = 0) -> typing.Any:
        if dataclasses.is_dataclass(value):
            keep = (
                "axis",
                "level",
                "bearing",
                "severity",
                "question",
                "label",
                "state",
                "sha256",
                "status",
                "judged",
                "references_digest",
                "check",
            )
            return dataclasses.replace(value, **{  # type: ignore[type-var]
                f.name: getattr(value, f.name) if f.name in keep else turn(getattr(value, f.name), depth + 1) for f in dataclasses.fields(value)
            })  # fmt: skip
        if isinstance(value, tuple):
            return tuple(turn(v, depth + 1) for v in value)
        return value + EVIL if isinstance(value, str) else value

    changed = turn(dataclasses.replace(a, code=None))
    return dataclasses.replace(changed, ancestors=a.ancestors, replay=a.replay)


def test_hostile_strings_stay_strings(enacted: Enacted) -> None:
    a = hostile(enacted["renamed-everything"][1])
    page = render_audit_html(a)
    assert "<script" not in page
    assert "\x1b" not in page and "\u202e" not in page
    page.encode()
    text = render_audit(a)
    assert "\x1b" not in text and "\u202e" not in text
    jsonschema.Draft202012Validator(load_schema()).validate(json.loads(dumps(a)))
    log = json.loads(sarif_text(a))
    assert "\x1b" not in log["runs"][0]["results"][0]["message"]["text"]
    json.loads(statement_text(a))
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    ours = dataclasses.replace(a, references=enacted["renamed-everything"][1].references)
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(cyclonedx_text(ours)) is None


def test_the_page_asks_for_nothing_and_knows_both_grounds(enacted: Enacted) -> None:
    page = render_audit_html(enacted["renamed-everything"][1])
    assert "default-src 'none'" in page
    assert "prefers-color-scheme: dark" in page
    assert not re.search(r"<(?:script|link|iframe|img|object|embed)\b", page)
    assert not re.search(r"(?:src|href|action)\s*=", page)
