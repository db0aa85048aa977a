"""Two readable models with nothing comparable: an answer with its reason and what would help, never
an error; and presented like every other answer.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest

import begat
from begat.report import decompose_json
from begat.report import json as verdict_json
from begat.report.decompose_html import render_html as decomposition_page
from begat.report.decompose_text import render_text as decomposition_text
from begat.report.html import render_html
from begat.report.text import render_text
from begat_lab.cases.architectures import ARCHITECTURES
from begat_lab.cases.write import write as write_toy
from builders import Tensors, llama, write
from programs import program

WIDE: dict[str, Any] = {
    "hidden_size": 64,
    "num_attention_heads": 4,
    "intermediate_size": 100,
    "vocab_size": 150,
}


def with_tokens(folder: Path, words: int, first: int = 0) -> Path:
    vocab = {f"w{first + i}": i for i in range(words)}
    (folder / "tokenizer.json").write_text(
        json.dumps({"model": {"type": "WordLevel", "vocab": vocab, "unk_token": f"w{first}"}})
    )
    return folder


def model(folder: Path, seed: int, **changes: Any) -> Path:
    return write(folder, *llama(np.random.default_rng(seed), num_hidden_layers=2, **changes))


def nameless(folder: Path, seed: int, n: int = 6) -> Path:
    rng = np.random.default_rng(seed)
    tensors: Tensors = {
        f"x{i}.kernel": rng.standard_normal((40 + i, 30)).astype(np.float32) for i in range(n)
    }
    return write(folder, tensors, {})


def packed(folder: Path) -> Path:
    """A form that nobody decodes: 4-bit codes with a map of their values."""
    torch = pytest.importorskip("torch")
    folder.mkdir()
    state = {
        f"model.layers.{i}.mlp.up_proj.weight": torch.full((8, 8), 1 + 2j, dtype=torch.complex64)
        for i in range(2)
    }
    torch.save(state | {"note": torch.arange(3)}, folder / "pytorch_model.bin")
    return folder


def pairs(root: Path) -> dict[str, tuple[Path, Path, list[str]]]:
    """Situation → A, B, words of the headline."""
    plain = model(root / "plain", 1)
    return {
        "no tokenizer": (
            plain,
            model(root / "wide", 2, **WIDE),
            [
                "width 96",
                "width 64",
                "no tokenizer lies beside either",
                "with one beside each, widths may differ",
            ],
        ),
        "tokenizer of A": (
            with_tokens(model(root / "a", 3), 200),
            model(root / "b", 4, **WIDE),
            ["no tokenizer lies beside B; with one, widths may differ"],
        ),
        "tokenizer of B": (
            model(root / "c", 5),
            with_tokens(model(root / "d", 6, **WIDE), 150),
            ["no tokenizer lies beside A; with one"],
        ),
        "no common token": (
            with_tokens(model(root / "e", 7), 200),
            with_tokens(model(root / "f", 8, **WIDE), 150, 900),
            ["no token in common"],
        ),
        "broken tokenizer": (
            _broken(model(root / "g", 9)),
            with_tokens(model(root / "h", 10, **WIDE), 150),
            ["the tokenizer beside A cannot be used"],
        ),
        "unknown names": (
            plain,
            nameless(root / "n", 11),
            [
                "none of the 6 tensors of B has a name that begat knows",
                "“x0.kernel”",
                "docs/formats.md",
            ],
        ),
        "both unknown": (
            nameless(root / "o", 12),
            nameless(root / "p", 13, 4),
            ["tensors of A", "tensors of B"],
        ),
        "towers": (
            plain,
            write_toy(root / "clip", _vision()),
            ["B has no token embedding by which they could be laid over each other"],
        ),
        "architectures": (
            plain,
            write_toy(root / "chain", ARCHITECTURES["chain"](2)),
            ["architectures have nothing in common"],
        ),
        "little known": (
            plain,
            write_toy(root / "cnn", ARCHITECTURES["cnn"](2)),
            ["of B begat knows too little"],
        ),
        "undecoded": (
            plain,
            packed(root / "packed"),
            [
                "weights of B are stored in a form that begat does not decode",
                "complex64",
                "plain floats",
            ],
        ),
    }


def _broken(folder: Path) -> Path:
    (folder / "tokenizer.json").write_text("{")
    return folder


def _vision() -> Any:
    """The vision tower of a CLIP alone, under names that say so."""
    from dataclasses import replace

    toy = ARCHITECTURES["clip"](3)
    kept = {n: p for n, p in toy.pieces.items() if "vision" in n}
    return replace(toy, pieces=kept, tokens=0)


@pytest.fixture(scope="module")
def situations(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Path, list[str]]]:
    return pairs(tmp_path_factory.mktemp("cannot"))


NAMES = (
    "no tokenizer",
    "tokenizer of A",
    "tokenizer of B",
    "no common token",
    "broken tokenizer",
    "unknown names",
    "both unknown",
    "towers",
    "architectures",
    "little known",
    "undecoded",
)


@pytest.mark.parametrize("name", NAMES)
def test_compare_says_why_and_is_presented(
    name: str, situations: dict[str, tuple[Path, Path, list[str]]], tmp_path: Path
) -> None:
    a, b, words = situations[name]
    v = begat.compare(a, b)
    assert v.verdict == "cannot-test", v.sentence
    assert "could not be tested: " in v.sentence
    for word in words:
        assert word in v.sentence, v.sentence
    assert v.accounting is not None and v.log10_e is None and v.direction == "undetermined"
    turned = begat.compare(b, a)
    assert turned.verdict == "cannot-test"
    jsonschema.validate(verdict_json.to_json(v), verdict_json.load_schema())
    assert "could not be tested" in " ".join(
        render_text(v).split()
    ) and "could not be tested" in render_html(v)
    done = program("compare", a, b, "--html", tmp_path / "r.html")
    assert (done.returncode, done.stderr) == (3, "") and (tmp_path / "r.html").is_file()


def test_with_tokenizers_widths_may_differ(tmp_path: Path) -> None:
    """What the headline promises."""
    a, b = (
        with_tokens(model(tmp_path / "a", 1), 200),
        with_tokens(model(tmp_path / "b", 2, **WIDE), 150),
    )
    assert begat.compare(a, b).verdict == "no-evidence"


@pytest.mark.parametrize(
    "name", ["no tokenizer", "unknown names", "both unknown", "towers", "undecoded"]
)
def test_decompose_says_why_and_is_presented(
    name: str, situations: dict[str, tuple[Path, Path, list[str]]], tmp_path: Path
) -> None:
    a, b, _ = situations[name]
    for child, parent in ((a, b), (b, a)):
        d = begat.decompose(child, [parent])
        assert d.method == "cannot-test" and "could not be tested: " in d.sentence
        jsonschema.validate(decompose_json.to_json(d), decompose_json.load_schema())
        assert d.sentence in " ".join(
            decomposition_text(d).split()
        ) and "could not be tested" in decomposition_page(d)
        done = program("decompose", child, "--parents", parent, "--html", tmp_path / "r.html")
        assert (done.returncode, done.stderr) == (3, "")


def test_decompose_finds_a_copy_under_unknown_names(tmp_path: Path) -> None:
    from safetensors.numpy import load_file

    parent, other = nameless(tmp_path / "p", 1), nameless(tmp_path / "o", 2)
    tensors = load_file(parent / "model.safetensors")
    child = write(tmp_path / "c", {f"y.{i}": w for i, w in enumerate(tensors.values())}, {})
    d = begat.decompose(child, [other, parent])
    assert d.method == "copy" and "holds the weights of “p”" in d.sentence
    assert program("decompose", child, "--parents", other, parent).returncode == 1
    assert decomposition_text(d) and decomposition_page(d)


def test_replay_of_an_answer_that_nothing_could_be_tested(
    situations: dict[str, tuple[Path, Path, list[str]]], tmp_path: Path
) -> None:
    a, b, _ = situations["no tokenizer"]
    report = tmp_path / "r.json"
    report.write_text(program("compare", a, b, "--json").stdout)
    assert program("replay", report).returncode == 0


def test_sketch_and_inspect_of_what_cannot_be_tested(
    situations: dict[str, tuple[Path, Path, list[str]]], tmp_path: Path
) -> None:
    unknown = situations["both unknown"][0]
    done = program("sketch", unknown, "-o", tmp_path / "x.begat")
    assert (
        done.returncode == 3
        and done.stderr.startswith("begat: cannot test: ")
        and done.stderr.count("\n") == 1
    )
    assert not (tmp_path / "x.begat").exists()
    done = program("inspect", unknown)
    assert (done.returncode, done.stdout) == (3, "") and done.stderr.startswith(
        "begat: cannot test: "
    )


# --- search and tree ---


def test_a_search_says_why_nothing_was_tested(
    situations: dict[str, tuple[Path, Path, list[str]]], tmp_path: Path
) -> None:
    from begat.report.search_json import load_schema

    plain, wide, _ = situations["no tokenizer"]
    unknown = situations["both unknown"][0]
    index = tmp_path / "index"
    assert program("index", "add", index, plain).returncode == 0
    for query, words in (
        (unknown, "holds nothing that has an order to test"),
        (wide, "nothing can be compared"),
    ):
        page = tmp_path / "s.html"
        done = program("search", query, "--index", index, "--json", "--html", page)
        assert (done.returncode, done.stderr) == (3, "")
        found = json.loads(done.stdout)
        jsonschema.Draft202012Validator(load_schema()).validate(found)
        assert "could not be tested: " in found["sentence"] and words in found["sentence"]
        assert "nothing is cleared" in found["price"] and "could not be tested" in page.read_text()
        assert "nothing found" not in page.read_text()
        text = program("search", query, "--index", index)
        assert text.returncode == 3 and "could not be tested" in " ".join(text.stdout.split())
    assert program("search", model(tmp_path / "stranger", 90), "--index", index).returncode == 0
    assert program("index", "remove", index, "plain").returncode == 0
    assert program("search", plain, "--index", index).returncode == 3


def test_a_tree_names_what_it_could_not_test_and_shows_the_others(
    situations: dict[str, tuple[Path, Path, list[str]]], tmp_path: Path
) -> None:
    from begat.report.tree_json import load_schema
    from builders import noisy

    rng = np.random.default_rng(50)
    tensors, config = llama(rng, num_hidden_layers=2)
    parent, child = (
        write(tmp_path / "parent", tensors, config),
        write(tmp_path / "child", noisy(tensors, rng, 0.1), config),
    )
    stranger, wide = model(tmp_path / "stranger", 51), situations["no tokenizer"][1]
    unknown, other = situations["both unknown"][:2]
    for given, code, lost in (
        ((parent, child, unknown), 1, 1),
        ((parent, unknown), 3, 2),
        ((unknown, other), 3, 2),
        ((parent, wide), 3, 2),
        ((parent, child, wide, unknown), 1, 2),
        ((parent, stranger, unknown), 0, 1),
        ((parent, stranger), 0, 0),
    ):
        files = [tmp_path / f"t.{end}" for end in ("html", "svg", "nwk", "graphml")]
        flags = [
            x
            for pair in zip(("--html", "--svg", "--newick", "--graphml"), files, strict=True)
            for x in pair
        ]
        done = program("tree", *given, "--json", *flags)
        assert (done.returncode, done.stderr) == (code, ""), given
        tree = json.loads(done.stdout)
        jsonschema.Draft202012Validator(load_schema()).validate(tree)
        assert len(tree["untested"]) == lost and len(tree["nodes"]) >= len(given) - lost
        text = " ".join(program("tree", *given).stdout.split())
        assert text.count("could not be tested and has no place in this tree") == lost
        assert (f"{lost} could not be tested" in text or f"{lost} other" in text) == bool(lost)
        assert files[0].read_text().count("has no place in this tree") == lost
        assert ("without kin" in text or "no kin" in text) == (given[:2] == (parent, stranger))


def test_broken_input_still_ends_a_tree(tmp_path: Path) -> None:
    a = model(tmp_path / "a", 1)
    (tmp_path / "broken.safetensors").write_bytes(b"\xff" * 100)
    assert program("tree", a, tmp_path / "broken.safetensors").returncode == 2
