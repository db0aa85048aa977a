"""The commands end to end: text, JSON against its schema, HTML, replay, demo, adapters."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from click.testing import CliRunner, Result
from safetensors.numpy import save_file

from begat.cli.main import cli
from begat.report.json import load_schema
from builders import llama, noisy, write


def call(*args: str | Path) -> Result:
    return CliRunner().invoke(cli, [str(a) for a in args], standalone_mode=False, catch_exceptions=False)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    root = tmp_path_factory.mktemp("pair")
    rng = np.random.default_rng(1)
    parent, config = llama(rng)
    return write(root / "parent", parent, config), write(root / "child", noisy(parent, rng, 0.2), config)


def test_text(pair: tuple[Path, Path]) -> None:
    done = call("compare", *pair)
    assert done.return_value == 1
    assert "“parent” and “child” were not made independently" in done.stdout.replace("\n", " ")
    for word in ("Evidence", "Inheritance map", "Caveats", "MLP units", "Replay"):
        assert word in done.stdout


def test_json_follows_the_schema(pair: tuple[Path, Path]) -> None:
    report = json.loads(call("compare", *pair, "--json").stdout)
    jsonschema.validate(report, load_schema())
    for key in ("verdict", "log10_e", "log10_p", "bytes_read", "seconds"):
        assert key in report
    assert report["verdict"] == "derived-or-shared-initialisation"
    assert report["seconds"] > 0
    assert report["accounting"]["a"]["mapped"] == report["accounting"]["a"]["stored"]


def test_html_is_one_file(pair: tuple[Path, Path], tmp_path: Path) -> None:
    call("compare", *pair, "--html", tmp_path / "r.html")
    text = (tmp_path / "r.html").read_text()
    assert "<svg" in text
    assert "http://" not in text.replace("http://www.w3.org", "")
    assert "<script" not in text


def test_replay_gets_the_same_numbers(pair: tuple[Path, Path], tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    report.write_text(call("compare", *pair, "--nonce", "examiner", "--json").stdout)
    assert call("replay", report).return_value == 0
    moved = tmp_path / "moved"
    pair[1].rename(moved)
    try:
        assert call("replay", report, "--b", moved).return_value == 0
        other = call("replay", report, "--b", write(tmp_path / "other", *llama(np.random.default_rng(7))), "--json")
        assert other.return_value == 1
        assert any("sample_digest" in d[0] for d in json.loads(other.stdout)["differences"])
    finally:
        moved.rename(pair[1])


def test_demo_is_right_and_names_its_report(tmp_path: Path) -> None:
    done = call("demo", "--no-open", "--html", tmp_path / "demo.html")
    assert done.return_value == 0
    assert "WRONG" not in done.stdout
    assert str(tmp_path / "demo.html") in done.stdout
    verdicts = json.loads(call("demo", "--no-open", "--html", tmp_path / "demo.html", "--json").stdout)
    for verdict in verdicts:
        jsonschema.validate(verdict, load_schema())
    assert [v["verdict"] for v in verdicts].count("no-evidence") == 1


def adapter(folder: Path, base: Path, rng: np.random.Generator, size: float) -> Path:
    """A LoRA adapter (rank 4) for q and v of every layer."""
    config = json.loads((base / "config.json").read_text())
    tensors = {}
    for i in range(config["num_hidden_layers"]):
        for name, out in (("q_proj", 96), ("v_proj", 32)):
            stem = f"base_model.model.model.layers.{i}.self_attn.{name}"
            tensors[f"{stem}.lora_A.weight"] = (size * rng.standard_normal((4, 96))).astype(np.float32)
            tensors[f"{stem}.lora_B.weight"] = (size * rng.standard_normal((out, 4))).astype(np.float32)
    folder.mkdir()
    save_file(tensors, folder / "adapter_model.safetensors")
    settings = {
        "peft_type": "LORA",
        "r": 4,
        "lora_alpha": 8,
        "target_modules": ["q_proj", "v_proj"],
        "base_model_name_or_path": "/etc",
    }
    (folder / "adapter_config.json").write_text(json.dumps(settings))
    return folder


def test_adapter_with_its_base(pair: tuple[Path, Path], tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    lora = adapter(tmp_path / "lora", pair[0], rng, 0.05)
    report = json.loads(call("compare", pair[1], lora, "--base", pair[0], "--json").stdout)
    assert report["verdict"] == "derived-or-shared-initialisation"
    on_base = json.loads(call("compare", pair[0], lora, "--base", pair[0], "--json").stdout)
    assert on_base["verdict"] == "derived-or-shared-initialisation"
    changed = {c["role"] for c in on_base["map"]["cells"] if not c["identical"]}
    assert changed == {"attn.q.weight", "attn.v.weight"}


def test_adapter_without_its_base_cannot_be_tested(pair: tuple[Path, Path], tmp_path: Path) -> None:
    lora = adapter(tmp_path / "lora", pair[0], np.random.default_rng(3), 0.05)
    done = call("compare", pair[0], lora, "--json")
    assert done.return_value == 3
    report = json.loads(done.stdout)
    assert report["verdict"] == "cannot-test"
    assert "--base" in report["sentence"]
