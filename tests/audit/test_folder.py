"""Releases and references as files: folders and archives, what is read and what is refused, who a reference is, what a card says."""

from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from begat.audit.card import front_matter, read_declared
from begat.audit.folder import Tree, open_tree
from begat.audit.party import describe, parse_reference
from begat.audit.run import licence_texts
from begat.errors import InputError

FILES = {"README.md": "---\nlicense: mit\n---\n", "src/model.py": "x = 1\n", "LICENSE": "terms\n"}


def folder(where: Path, files: dict[str, str] = FILES) -> Path:
    for name, text in files.items():
        (where / name).parent.mkdir(parents=True, exist_ok=True)
        (where / name).write_text(text)
    return where


def test_a_folder_a_zip_and_a_tar_read_alike(tmp_path: Path) -> None:
    plain = folder(tmp_path / "plain")
    packed, rolled = tmp_path / "p.zip", tmp_path / "p.tar.gz"
    with zipfile.ZipFile(packed, "w") as z, tarfile.open(rolled, "w:gz") as t:
        for name in FILES:
            z.write(plain / name, name)
            t.add(plain / name, name)
    trees = [open_tree(p) for p in (plain, packed, rolled)]
    for tree in trees:
        assert {n: tree.text(n) for n in tree.sizes} == FILES
        assert tree.skipped == ()
        assert set(tree.texts()) == set(FILES)
    assert len({describe(parse_reference(str(t.path)), t, (), read_declared(t, "x")).sha256 for t in trees}) == 1


def test_the_digest_follows_contents(tmp_path: Path) -> None:
    def sha(files: dict[str, str]) -> str:
        tree = open_tree(folder(tmp_path / str(len(list(tmp_path.iterdir()))), files))
        return describe(parse_reference(str(tree.path)), tree, (), read_declared(tree, "x")).sha256

    same = sha(FILES)
    assert sha(FILES) == same
    assert sha(FILES | {"LICENSE": "other\n"}) != same
    assert sha(FILES | {"more.py": ""}) != same


@pytest.mark.parametrize(
    ("name", "identity", "version"),
    [
        ("transformers-4.37.0-py3-none-any.whl", "transformers", "4.37.0"), ("mistral_common-1.13.1-py3-none-any.whl", "mistral-common", "1.13.1"),
        ("pack-2.0.tar.gz", "pack", "2.0"), ("some.zip", "some", ""),
    ],
)  # fmt: skip
def test_archives_say_who_they_are(tmp_path: Path, name: str, identity: str, version: str) -> None:
    (tmp_path / name).write_bytes(b"")
    named = parse_reference(str(tmp_path / name))
    assert (named.id, named.version) == (identity, version)


def test_a_reference_can_be_named(tmp_path: Path) -> None:
    here = folder(tmp_path / "a=b")
    assert parse_reference(str(here)).id == "a=b"
    named = parse_reference(f"Qwen/Qwen2.5-3B@abc={here.parent / 'a=b'}")
    assert (named.id, named.version, named.path) == ("Qwen/Qwen2.5-3B", "abc", here)
    with pytest.raises(InputError, match="no such file or folder"):
        parse_reference(str(tmp_path / "none"))
    with pytest.raises(InputError, match="no such file or folder"):
        parse_reference(f"me={tmp_path / 'none'}")


@pytest.mark.parametrize("name", ["model.py", "model.safetensors", "notes.txt"])
def test_a_single_file_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("x")
    with pytest.raises(InputError, match="neither a folder nor an archive"):
        open_tree(tmp_path / name)


def test_a_hub_cache_is_read_through_its_links_and_no_further(tmp_path: Path) -> None:
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshots" / "abc"
    blobs.mkdir()
    snapshot.mkdir(parents=True)
    (blobs / "1").write_text("---\nlicense: mit\n---\n")
    (tmp_path / "secret").write_text("s")
    (snapshot / "README.md").symlink_to("../../blobs/1")
    (snapshot / "stolen.md").symlink_to("../../secret")
    tree = open_tree(snapshot)
    assert set(tree.sizes) == {"README.md"}
    assert [n for n, _ in tree.skipped] == ["stolen.md"]


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        ("license: mit", {"license": "mit"}),
        ("license:\n- mit\n- apache-2.0\ntags:\n- a", {"license": ["mit", "apache-2.0"]}),
        ("tags:\n- license: gpl\nlicense: other\nlicense_name: qwen\nlicense_link: LICENSE", {"license": "other", "license_name": "qwen", "license_link": "LICENSE"}),  # noqa: E501
        ("base_model: a/B # the base\nmodel-index:\n- name: x\n  results: [1, 2]", {"base_model": "a/B"}),
        ("{license: mit, x: 1}", {"license": "mit"}),
        ("", {}),
        ("# nothing", {}),
    ],
)  # fmt: skip
def test_front_matter(head: str, expected: dict[str, object]) -> None:
    assert front_matter(f"---\n{head}\n---\n# Card\nlicense: gpl\n") == expected


def test_cards_without_front_matter() -> None:
    assert front_matter("# A model\nlicense: mit\n") == {}
    assert front_matter("---\nlicense: mit\n") == {}
    assert front_matter("") == {}


def test_a_front_matter_of_a_megabyte_of_metrics_is_passed_over() -> None:
    assert front_matter("---\nlicense: mit\nmodel-index:\n" + "- a: [1, 2, 3]\n" * 60_000 + "---\n") == {"license": "mit"}


def test_declared_reads_card_config_and_adapter(tmp_path: Path) -> None:
    where = folder(
        tmp_path / "m",
        {"README.md": "---\nlicense: other\nlicense_name: qwen-research\nbase_model:\n- Qwen/Qwen2.5-3B\nbase_model_relation: finetune\n---\n",
         "config.json": '{"_name_or_path": "Qwen/Qwen2.5-3B"}'},
    )  # fmt: skip
    d = read_declared(open_tree(where), "m")
    assert (d.licence_id, d.base_models, d.relation, d.config_base, d.name) == (
        "qwen-research",
        ("Qwen/Qwen2.5-3B",),
        "finetune",
        "Qwen/Qwen2.5-3B",
        "m",
    )
    (where / "README.md").unlink()
    (where / "config.json").write_text('{"_name_or_path": "/home/me/llama"}')
    (where / "adapter_config.json").write_text('{"base_model_name_or_path": "a/B"}')
    d = read_declared(open_tree(where), "m")
    assert (d.base_models, d.config_base) == (("a/B",), "")


def described(tmp_path: Path, files: dict[str, str], name: str) -> tuple[str, str]:
    where = folder(tmp_path / "x", files)
    tree = open_tree(where)
    party = describe(parse_reference(f"{name}={where}"), tree, licence_texts(tree), read_declared(tree, name))
    return party.licence, party.licence_source


def test_where_a_licence_is_known_from(tmp_path: Path) -> None:
    mit = (Path(__file__).parents[2] / "src/begat/audit/licences/texts/mit.txt").read_text()
    assert described(tmp_path / "1", {"LICENSE": mit}, "Qwen/Qwen2.5-3B")[0] == "mit"
    assert described(tmp_path / "2", {"x.py": ""}, "Qwen/Qwen2.5-3B")[0] == "qwen-research"
    assert described(tmp_path / "3", {"x.py": "", "p-1.dist-info/METADATA": "Name: p\nLicense-Expression: Apache-2.0\n\nLicense: MIT\n"}, "p") == (
        "apache-2.0", "p-1.dist-info/METADATA",
    )  # fmt: skip
    assert described(tmp_path / "4", {"README.md": "---\nlicense: llama3\n---\n"}, "p") == ("llama-3", "the model card")
    assert described(tmp_path / "5", {"x.py": ""}, "p") == ("", "")


def test_a_models_licence_and_its_codes_are_told_apart(tmp_path: Path) -> None:
    texts = Path(__file__).parents[2] / "src/begat/audit/licences/texts"
    mit, deepseek = (texts / "mit.txt").read_text(), (texts / "deepseek-1.0.txt").read_text()
    where = folder(tmp_path / "x", {"LICENSE-CODE": mit, "LICENSE-MODEL": deepseek, "third_party/LICENSE": mit})
    tree = open_tree(where)
    party = describe(parse_reference(str(where)), tree, licence_texts(tree), read_declared(tree, "x"))
    assert (party.licence, party.licence_source, party.code_licence) == ("deepseek-1.0", "LICENSE-MODEL (unedited)", "mit")
    (where / "LICENSE-CODE").unlink()
    tree = open_tree(where)
    assert describe(parse_reference(str(where)), tree, licence_texts(tree), read_declared(tree, "x")).code_licence == "deepseek-1.0"


def test_archives_of_other_tools(tmp_path: Path) -> None:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:gz") as t:
        info = tarfile.TarInfo("./pkg/a.py")
        info.size = 5
        t.addfile(info, io.BytesIO(b"x = 1"))
    (tmp_path / "a.tgz").write_bytes(data.getvalue())
    tree: Tree = open_tree(tmp_path / "a.tgz")
    assert tree.text("pkg/a.py") == "x = 1"
