"""The table of kinds is read strictly; arrows must agree."""

from __future__ import annotations

import pytest

from begat.pipeline.arrows import ARROWS
from begat.verdict.kinds import KINDS, Evidence, KindRule, describe_signs, parse_kinds

ROW = '[[fact]]\nfact = "x"\nkind = "k"\narrow = true\nwhy = "w"\n'


@pytest.mark.parametrize(
    "text",
    [ROW + 'more = 1\n', ROW.replace("arrow = true", 'arrow = "yes"'), ROW.replace('why = "w"\n', ""), ROW + ROW, ROW.replace('"k"', '""'), "[other]\n" + ROW],
)
def test_errors_in_the_table(text: str) -> None:
    with pytest.raises(ValueError):
        parse_kinds(text)


def test_arrows_agree_or_say_nothing() -> None:
    rules = (KindRule("x", "kind x", True, "because x"), KindRule("y", "kind y", False, "not y"), KindRule("z", "kind z", True, "because z"))
    one = describe_signs([Evidence("y", "B", ""), Evidence("x", "A", "")], rules)
    assert (one.kind, one.direction, one.why) == ("kind x; kind y", "A → B", "because x")
    assert describe_signs([Evidence("x", "B", "")], rules).direction == "B → A"
    assert describe_signs([Evidence("x", "A", ""), Evidence("z", "B", "")], rules).direction == "undetermined"
    assert describe_signs([Evidence("y", "A", "")], rules).direction == "undetermined"
    assert describe_signs([], rules).kind == ""
    with pytest.raises(ValueError, match="no rule"):
        describe_signs([Evidence("unknown", "A", "")], rules)


def test_every_rule_has_its_fact_somewhere() -> None:
    from pathlib import Path

    import begat.pipeline.arrows as arrows
    import begat.pipeline.kind as kind

    sources = "".join(p.read_text() for p in [*Path(arrows.__file__).parent.glob("*.py"), Path(kind.__file__)])
    assert [r.fact for r in KINDS if f'"{r.fact}"' not in sources] == []
    assert len(ARROWS) == 9
