"""One contract for every kind of descent, grown once from the quick pedigree made small: what is on disk is a checkpoint, the truth
names where it came from, the bytes come out again, and begat's verdict about parent and child is of the right class."""

import hashlib
import json

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the lab needs torch: pip install begat[lab]")
pytest.importorskip("safetensors", reason="the lab needs safetensors: pip install begat[lab]")
pytest.importorskip("gguf", reason="the kind gguf needs the gguf package")

import begat  # noqa: E402
from begat.canon.resolve import resolve  # noqa: E402
from begat.verdict import POLICY  # noqa: E402
from begat_lab.descent import DEPENDENT, INDEPENDENT, KINDS, Job  # noqa: E402
from begat_lab.grow import grow  # noqa: E402
from begat_lab.kinship import Kinship  # noqa: E402
from begat_lab.models.huggingface import load_folder, pack, save_folder  # noqa: E402
from begat_lab.text import standard_library  # noqa: E402
from lab.lab_family import small_family  # noqa: E402

FAMILY = small_family()
CHILDREN = [member.name for member in FAMILY.members if member.parents]
ROOTS = [member.name for member in FAMILY.members if not member.parents and member.name != "parent"]


@pytest.fixture(scope="module")
def grown(tmp_path_factory):
    out = tmp_path_factory.mktemp("family")
    return out, grow(FAMILY, out)


def truth(out, name):
    return json.loads((out / name / "truth.json").read_text())


def verdict(out, a, b):
    member = FAMILY.by_name[b]
    base = out / member.parents[0] if member.descent.stores == "adapter" else None
    return begat.compare(out / a, out / b, base=base).verdict


@pytest.mark.parametrize("name", [member.name for member in FAMILY.members])
def test_truth_says_what_the_pedigree_and_the_files_say(grown, name):
    out, family = grown
    member, said = FAMILY.by_name[name], truth(out, name)
    assert (said["kind"], said["parents"], said["seeds"]) == (member.kind, list(member.parents), dict(member.seeds))
    assert said["made_of"]["parents"] == {parent: truth(out, parent)["sha256"] for parent in member.parents}
    files = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in (out / name).iterdir()}
    del files["truth.json"]
    assert said["sha256"] == files == family["members"][name]["sha256"]
    assert all(0 < loss < 7 for loss in said["validation_loss"].values())


@pytest.mark.parametrize("name", [member.name for member in FAMILY.members])
def test_it_is_a_checkpoint(grown, name):
    out, _ = grown
    member = FAMILY.by_name[name]
    base = out / member.parents[0] if member.descent.stores == "adapter" else None
    model = resolve(begat.open_checkpoint(out / name, base))
    assert model.tensors and not model.unmapped
    if member.descent.stores == "model":
        llama = load_folder(out / name)
        assert set(llama.dtypes.values()) == {getattr(torch, member.dtype)}
        assert torch.isfinite(llama.model(torch.arange(16)[None])).all()


@pytest.mark.parametrize("name", CHILDREN)
def test_verdict_is_of_the_right_class(grown, name):
    out, _ = grown
    member, kin = FAMILY.by_name[name], Kinship(FAMILY)
    for parent in member.parents:
        if FAMILY.by_name[parent].descent.stores != "model":
            continue
        assert verdict(out, parent, name) in member.descent.expects - {"shared-initialisation"}
        assert (kin.relation(parent, name) == "independent") == (member.descent.expects == INDEPENDENT)


@pytest.mark.parametrize("name", ROOTS)
def test_strangers_are_cleared_and_twins_are_not(grown, name):
    out, _ = grown
    twin = Kinship(FAMILY).relation("parent", name) == "shared-initialisation"
    assert verdict(out, "parent", name) in (DEPENDENT - {"derived"} if twin else INDEPENDENT)


def test_same_bytes_again_and_in_other_processes(grown, tmp_path):
    _, family = grown
    assert grow(FAMILY, tmp_path / "again", jobs=2) == family


@pytest.mark.parametrize("name", [member.name for member in FAMILY.members if member.descent.stores == "quantised"])
def test_quantised_child_is_what_a_reader_reads(grown, tmp_path, name):
    out, _ = grown
    member = FAMILY.by_name[name]
    (tmp_path / "stored").mkdir()
    text = standard_library()[member.text].train if member.text else None
    job = Job(folder=tmp_path / "stored", parents=tuple(out / parent for parent in member.parents), options=member.options,
              shape=member.shape, dtype=getattr(torch, member.dtype), seeds=member.seeds, training=member.training,
              tokens_N=text)  # fmt: skip
    child = member.descent.make(job)
    save_folder(pack(child.model, torch.float32), tmp_path / "plain")
    stored, plain = (resolve(begat.open_checkpoint(tmp_path / folder)) for folder in ("stored", "plain"))
    assert stored.tensors.keys() == plain.tensors.keys()
    for key in plain.tensors:
        np.testing.assert_allclose(stored.read(key, None), plain.read(key, None), rtol=1e-6, atol=1e-9, err_msg=str(key))


def test_parents_stay_untouched(grown):
    out, family = grown
    assert (
        hashlib.sha256((out / "parent" / "model.safetensors").read_bytes()).hexdigest()
        == family["members"]["parent"]["sha256"]["model.safetensors"]
    )


@pytest.mark.parametrize("name", list(KINDS))
def test_kind_says_what_it_is(name):
    kind = KINDS[name]
    assert kind.title and kind.make.__doc__
    assert kind.expects <= DEPENDENT | INDEPENDENT | {"cannot-test"}
    assert set(POLICY.exit_codes) <= DEPENDENT | INDEPENDENT | {"cannot-test"}, "a verdict that the lab does not know"


def test_tokenizer_is_bytes(grown):
    tokenizers = pytest.importorskip("tokenizers", reason="oracle only")
    out, _ = grown
    text = "def Ägyptens():\n\treturn  '→'\r\n"
    for name in ("parent", "vocabulary-extended"):
        tokenizer = tokenizers.Tokenizer.from_file(str(out / name / "tokenizer.json"))
        assert tokenizer.encode(text).ids == list(text.encode())
        assert tokenizer.decode(tokenizer.encode(text).ids) == text
        assert tokenizer.get_vocab_size() == load_folder(out / name).model.config.vocab_size


def test_gguf_is_what_gguf_itself_reads(grown):
    """Names and shapes as llama.cpp expects them; the q rows come back after undoing its row order."""
    import gguf

    out, _ = grown
    tensors = {t.name: t for t in gguf.GGUFReader(out / "gguf-q8" / "model.gguf").tensors}
    model = load_folder(out / "parent").model
    q = gguf.quants.dequantize(tensors["blk.0.attn_q.weight"].data, gguf.GGMLQuantizationType.Q8_0)
    heads = model.config.num_attention_heads
    undone = q.reshape(heads, -1, 2, q.shape[1]).swapaxes(1, 2).reshape(q.shape)
    np.testing.assert_allclose(undone, model.model.layers[0].self_attn.q_proj.weight.detach().numpy(), atol=2e-3)
    assert "output.weight" not in tensors, "tied"


def test_adapter_plus_base_is_the_merged_model(grown):
    peft_rows = begat.open_checkpoint(grown[0] / "lora", grown[0] / "parent")
    merged = begat.open_checkpoint(grown[0] / "lora-merged")
    for name, entry in merged.entries.items():
        a, b = peft_rows.reader.rows(peft_rows.entries[name], None), merged.reader.rows(entry, None)
        np.testing.assert_allclose(a, b, rtol=2**-8, atol=1e-6)
