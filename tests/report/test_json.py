from __future__ import annotations

import dataclasses
import json
import re
from typing import Any

import jsonschema
import numpy as np
import pytest

from begat.alignment import AlignedCell, Alignment, LayerLook, LayerMatch, PairTest, RouteResult, ThreeViews
from begat.claims import Claim
from begat.report.json import SCHEMA_VERSION, dumps, load_schema, to_json
from begat.types import (
    Accounting,
    AxisResult,
    Coverage,
    EqualityResult,
    ExpertMatch,
    Gap,
    MapCell,
    OrderTest,
    PartResult,
    PowerStatement,
    SideResult,
    TrainedState,
    Verdict,
)
from begat.verdict import VERDICTS
from report.verdicts import derived, hostile, partly

PARTS = (Accounting, AlignedCell, Alignment, AxisResult, Claim, Coverage, EqualityResult, ExpertMatch, Gap, LayerLook, LayerMatch, MapCell,
         OrderTest, PairTest, PartResult, PowerStatement, RouteResult, SideResult, ThreeViews, TrainedState)  # fmt: skip


def _fields(cls: type) -> set[str]:
    return {f.name for f in dataclasses.fields(cls)}


def _objects(schema: Any, where: str = "#") -> list[tuple[str, dict[str, Any]]]:
    found = []
    if isinstance(schema, dict):
        if "properties" in schema:
            found.append((where, schema))
        for key, value in schema.items():
            found += _objects(value, f"{where}/{key}")
    elif isinstance(schema, list):
        for i, value in enumerate(schema):
            found += _objects(value, f"{where}/{i}")
    return found


def test_the_schema_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(load_schema())
    assert load_schema()["properties"]["schema_version"]["const"] == SCHEMA_VERSION


def test_every_verdict_is_valid(verdict: Verdict) -> None:
    validator = jsonschema.Draft202012Validator(load_schema())
    assert [e.message for e in validator.iter_errors(to_json(verdict))] == []
    assert [e.message for e in validator.iter_errors(json.loads(dumps(verdict)))] == []


def test_fields_and_schema_are_the_same_set() -> None:
    schema = load_schema()
    for cls in PARTS:
        assert set(schema["$defs"][cls.__name__]["properties"]) == _fields(cls), cls.__name__
    assert set(schema["$defs"]) == {cls.__name__ for cls in PARTS} | {"Replay", "Source"}
    added = {"schema_version", "tool", "version", "map"}
    assert set(schema["properties"]) == (_fields(Verdict) - {"cells", "map_mode"}) | added
    assert schema["properties"]["verdict"]["enum"] == list(VERDICTS)


def test_every_object_is_closed_and_every_field_described() -> None:
    for where, obj in _objects(load_schema()):
        assert obj["additionalProperties"] is False, where
        assert set(obj["required"]) == set(obj["properties"]), where
        for name, field in obj["properties"].items():
            assert len(field.get("description", "")) > 5, f"{where}/{name}"


def test_an_unknown_field_is_refused() -> None:
    data = to_json(derived())
    data["axes"][0]["score"] = 0.9
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(data, load_schema())


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_numbers_are_finite(bad: float) -> None:
    v = derived()
    worse = dataclasses.replace(v, cells=(dataclasses.replace(v.cells[0], change=bad),))
    with pytest.raises(ValueError, match=r"map\.cells\[0\]\.change is not a finite number"):
        to_json(worse)


def test_numpy_scalars_become_numbers() -> None:
    v = dataclasses.replace(derived(), bytes_read=np.int64(3), seconds=np.float32(0.5))  # type: ignore[arg-type]
    assert json.loads(dumps(v))["bytes_read"] == 3
    assert json.loads(dumps(v))["seconds"] == 0.5


def test_what_has_no_place_is_refused() -> None:
    with pytest.raises(TypeError, match=r"replay\.a"):
        to_json(dataclasses.replace(derived(), replay={"a": {1, 2}}))


def test_text_round_trips_and_holds_no_control_character() -> None:
    for v in (hostile(), partly()):
        text = dumps(v)
        assert json.loads(text) == to_json(v)
        assert all(line.isprintable() for line in text.split("\n"))
        assert text.encode("utf-8")


def test_a_cell_takes_one_line() -> None:
    assert len(re.findall(r'^ *\{"tower"', dumps(derived()), re.M)) == len(derived().cells)
