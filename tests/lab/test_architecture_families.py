"""The families of other architectures, grown small: begat reads every member as what it is, and its verdict is of the right class."""

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the lab needs torch: pip install begat[lab]")
pytest.importorskip("safetensors", reason="the lab needs safetensors: pip install begat[lab]")

import begat  # noqa: E402
from begat.canon.resolve import resolve  # noqa: E402
from begat_lab.descent import INDEPENDENT, KINDS, Job  # noqa: E402
from begat_lab.descent.base import EVERY  # noqa: E402
from begat_lab.descent.four_bit import round_to_grid  # noqa: E402
from begat_lab.grow import grow  # noqa: E402
from begat_lab.kinship import Kinship  # noqa: E402
from begat_lab.models import ARCHITECTURES  # noqa: E402
from begat_lab.models.huggingface import load_folder, pack, save_folder  # noqa: E402
from begat_lab.pedigree import read_pedigree, shipped  # noqa: E402
from lab.lab_family import small_family  # noqa: E402

NAMES = ("gpt2", "bert", "moe")
FAMILIES = {name: small_family(name) for name in NAMES}
MEMBERS = [(name, member.name) for name, family in FAMILIES.items() for member in family.members]
FAMILY_OF = {"gpt2": "gpt2", "bert": "bert", "moe": "mixtral"}  # in begat's words


@pytest.fixture(scope="module")
def grown(tmp_path_factory):
    """Each family, grown when first asked for."""
    done = {}

    def of(name):
        if name not in done:
            out = tmp_path_factory.mktemp(name)
            done[name] = (out, grow(FAMILIES[name], out))
        return done[name]

    return of


@pytest.mark.parametrize("name", NAMES)
def test_every_kind_that_knows_the_architecture_is_in_its_family(name):
    """A kind that says it knows every architecture is tried on every one of them."""
    assert {m.kind for m in FAMILIES[name].members} == {kind for kind in KINDS if KINDS[kind].knows == EVERY} - {"copied"}
    assert {m.architecture for m in FAMILIES[name].members} == {name}


@pytest.mark.parametrize("name", NAMES)
def test_no_other_pedigree_draws_from_its_seeds(name):
    """One seed gives the same numbers whatever the architecture, and the embedding comes first: BERT and GPT-2 parents of seed 1 would
    share an embedding at the start, and begat would rightly say so."""

    def seeds(pedigree):
        return {m.seeds["initial_seed"] for m in read_pedigree(pedigree).members if "initial_seed" in m.seeds}

    assert not any(seeds(name) & seeds(other) for other in shipped() if other != name)


@pytest.mark.parametrize(("name", "member"), MEMBERS)
def test_begat_reads_it(grown, name, member):
    out, _ = grown(name)
    model = resolve(begat.open_checkpoint(out / member))
    assert model.tensors and not model.unmapped
    assert model.family == FAMILY_OF[name]
    said = json.loads((out / member / "truth.json").read_text())
    assert said["made_of"]["recipe"]["architecture"] == name
    assert all(0 < loss < 7 for loss in said["validation_loss"].values())


@pytest.mark.parametrize(("name", "member"), [(name, member) for name, member in MEMBERS if member != "parent"])
def test_verdict_about_the_parent_is_of_the_right_class(grown, name, member):
    out, _ = grown(name)
    relation = Kinship(FAMILIES[name]).relation("parent", member)
    verdict = begat.compare(out / "parent", out / member).verdict
    if relation == "descended":
        assert verdict in FAMILIES[name].by_name[member].descent.expects - {"shared-initialisation"}
    else:
        assert (verdict in INDEPENDENT) == (relation == "independent"), (relation, verdict)


def test_same_bytes_again(grown, tmp_path):
    """BERT's masks are chance too, and come from the seed of the windows."""
    _, family = grown("bert")
    assert grow(FAMILIES["bert"], tmp_path / "again") == family


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", ["int8", "fp8"])
def test_quantised_child_is_what_a_reader_reads(grown, tmp_path, name, kind):
    out, _ = grown(name)
    (tmp_path / "stored").mkdir()
    member = FAMILIES[name].by_name[kind]
    job = Job(
        folder=tmp_path / "stored", parents=(out / "parent",), options=member.options, shape=None, dtype=torch.bfloat16, seeds={}
    )
    save_folder(pack(member.descent.make(job).model, torch.float32), tmp_path / "plain")
    stored, plain = (resolve(begat.open_checkpoint(tmp_path / folder)) for folder in ("stored", "plain"))
    assert stored.tensors.keys() == plain.tensors.keys()
    for key in plain.tensors:
        np.testing.assert_allclose(stored.read(key, None), plain.read(key, None), rtol=1e-6, atol=1e-9, err_msg=str(key))


@pytest.mark.parametrize("name", NAMES)
def test_four_bit_grid_runs_along_the_inputs(grown, name):
    """GPT-2's matrices lie [inputs, outputs]; a grid along the stored rows would be another one."""
    out, _ = grown(name)
    architecture, state = ARCHITECTURES[name], load_folder(out / "four-bit").model.state_dict()
    matrices = [weight for key, weight in state.items() if architecture.is_matrix(key)]
    assert all(torch.equal(round_to_grid(architecture.turned(weight)), architecture.turned(weight)) for weight in matrices)
    if architecture.inputs_first:
        assert not any(torch.equal(round_to_grid(weight), weight) for weight in matrices)
