"""The mixture alone, for many shapes: router and layer against brute force, losses against finite differences, balance against targets."""

import json
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="the lab needs torch: pip install begat[lab]")
import torch.nn.functional as F  # noqa: E402

from begat import InputError  # noqa: E402
from begat_lab.moge import (  # noqa: E402
    Grouping,
    MoGE,
    grouped_matmul_fits,
    imbalance_score,
    imbalance_scores,
    load_of,
    pack_experts,
    paper_balance_loss,
    released_balance_loss,
    route,
    rows_per_part,
)

SHAPES = [(64, 8, 1), (12, 4, 2), (12, 3, 4), (9, 3, 1), (7, 7, 1), (10, 1, 3), (1, 1, 1), (30, 5, 6)]
TARGETS = json.loads((Path(__file__).parent / "data/pangu_pro_moe/imbalance_targets.json").read_text())["rows"]


def layer(grouping, *, shared=5, scale=True, size=11, units=3, dtype=torch.float64, mode="auto"):
    torch.manual_seed(1)
    made = MoGE(size, units, grouping, shared_units=shared, router_scale=scale, experts=mode).to(dtype)
    with torch.no_grad():
        made.gate.weight.normal_()
        if scale:
            made.router_scale.uniform_(0.5, 2.5)
    return made


def brute_force(made, x_TD):
    """One token, one expert at a time, straight from the formula."""
    weights, g = {name: w.detach() for name, w in made.state_dict().items()}, made.grouping
    mlp = lambda x, at: (  # noqa: E731
        weights[f"{at}.down_proj.weight"]
        @ (F.silu(weights[f"{at}.gate_proj.weight"] @ x) * (weights[f"{at}.up_proj.weight"] @ x))
    )
    rows, chosen = [], []
    for x in x_TD:
        z = weights["gate.weight"] @ x
        p = (z - z.max()).exp() / (z - z.max()).exp().sum()
        y = mlp(x, "shared_expert") if made.shared_expert is not None else torch.zeros_like(x)
        picks = []
        for first in range(0, g.experts, g.group_size):
            picks += sorted(range(first, first + g.group_size), key=lambda e: -float(p[e]))[: g.picks]
        for e in picks:
            scale = weights["router_scale"][0, e] if made.router_scale is not None else 1.0
            y = y + p[e] * scale * mlp(x, f"experts.{e}")
        rows.append(y)
        chosen.append(picks)
    return torch.stack(rows), torch.tensor(chosen)


@pytest.mark.parametrize("shared", [5, 0])
@pytest.mark.parametrize("scale", [True, False])
@pytest.mark.parametrize("shape", SHAPES)
def test_layer_is_the_formula(shape, scale, shared):
    made = layer(Grouping(*shape), shared=shared, scale=scale)
    x = torch.randn(2, 3, 11, dtype=torch.float64)
    y, routing = made(x)
    wanted, chosen = brute_force(made, x.view(-1, 11))
    assert torch.equal(routing.expert_ids_TK, chosen)
    torch.testing.assert_close(y.view(-1, 11), wanted, atol=1e-13, rtol=1e-12)
    assert shape[0] == 1 or (routing.weights_TK.sum(1) < 1 + 1e-12).all()


def test_no_tokens_give_no_rows_and_zero_gradients():
    made = layer(Grouping(8, 4, 1))
    y, _ = made(torch.zeros(0, 11, dtype=torch.float64))
    assert y.shape == (0, 11)
    y.sum().backward()
    assert all(weight.grad is not None and not weight.grad.any() for weight in made.experts.parameters())


def test_every_expert_has_a_gradient_and_idle_ones_zero():
    made = layer(Grouping(16, 2, 1))
    y, routing = made(torch.randn(2, 11, dtype=torch.float64))
    y.sum().backward()
    visited = set(routing.expert_ids_TK.flatten().tolist())
    for e, expert in enumerate(made.experts):
        assert bool(expert.up_proj.weight.grad.any()) == (e in visited)


@pytest.mark.parametrize("shape", [(0, 1, 1), (8, 3, 1), (8, 4, 3), (8, 4, 0), (8, 0, 1)])
def test_impossible_groupings_are_errors(shape):
    with pytest.raises(InputError):
        Grouping(*shape)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(("dtype", "within"), [(torch.float32, 1e-5), (torch.bfloat16, 2e-2)])
def test_grouped_products_equal_the_loop(dtype, within, packed):
    if not grouped_matmul_fits(torch.zeros(1, 32, dtype=dtype), 16):
        pytest.skip("this torch has no grouped matrix product here")
    grouped, loop = (layer(Grouping(12, 3, 2), size=32, units=16, dtype=dtype, mode=mode) for mode in ("grouped", "loop"))
    loop.load_state_dict(grouped.state_dict())
    if packed:
        before = {name: weight.clone() for name, weight in grouped.state_dict().items()}
        pack_experts(grouped.experts)
        assert all(torch.equal(weight, before[name]) for name, weight in grouped.state_dict().items())
    x = torch.randn(9, 32, dtype=dtype)
    with torch.no_grad():
        a, b = grouped(x)[0], loop(x)[0]
        assert (a - b).abs().max() <= within * b.abs().max()
    for made in (grouped, loop):
        made(x)[0].square().sum().backward()
    for (name, w), (_, v) in zip(grouped.named_parameters(), loop.named_parameters(), strict=True):
        assert (w.grad - v.grad).abs().max() <= within * v.grad.abs().max() + 1e-12, name


def test_grouped_products_where_there_are_none_are_an_error():
    with pytest.raises(InputError, match="experts='loop'"):
        layer(Grouping(4, 2, 1), size=11, units=3, mode="grouped")(torch.randn(2, 11, dtype=torch.float64))


def test_losses_at_balance_and_their_gradients():
    even = route(
        torch.zeros(64, 64, dtype=torch.float64), Grouping(64, 8, 1)
    )  # ties: the choice is one-sided, the product is not
    assert float(paper_balance_loss(even)) == pytest.approx(1.0)
    assert float(released_balance_loss([even, even])) == pytest.approx(8.0)
    grouping = Grouping(12, 3, 2)
    z = torch.randn(7, 12, dtype=torch.float64)
    real = torch.tensor([1, 1, 0, 1, 1, 1, 0])
    for loss in (
        lambda z: paper_balance_loss(route(z, grouping), real),
        lambda z: released_balance_loss([route(z, grouping)], real),
    ):
        assert torch.autograd.gradcheck(loss, z.clone().requires_grad_())  # the counts are constant around z
    one_hot_tokens = route(20 * torch.eye(12, dtype=torch.float64)[[0] * 5], grouping)
    assert float(paper_balance_loss(one_hot_tokens)) == pytest.approx(12 / 6, rel=1e-6)  # all on one expert: N/K


def test_the_two_losses_count_different_things():
    grouping = Grouping(4, 2, 1)
    z = torch.tensor([[3.0, 2.0, 0.0, -1.0]], dtype=torch.float64)  # grouped: 0 and 2; global: 0 and 1
    p = z.softmax(-1)[0]
    assert float(paper_balance_loss(route(z, grouping))) == pytest.approx(float(4 / 2 * (p[0] + p[2])))
    assert float(released_balance_loss([route(z, grouping)])) == pytest.approx(float(4 * (p[0] + p[1])))


@pytest.mark.parametrize("row", TARGETS, ids=lambda r: f"{r['N']}-{r['K']}-{r['M']}-{r['batch']}-{r['routing']}")
def test_imbalance_targets(row):
    draws = 20000 if row["batch"] <= 16 else 2000 if row["batch"] <= 128 else 300
    moge = row["routing"] == "moge"
    if row["routing"] == "topk_with_replacement":
        grouping = Grouping(row["N"], 1, row["K"])
    else:
        grouping = Grouping(row["N"], row["M"], row["K"] // row["M"]) if moge else Grouping(row["N"], 1, row["K"])
    for field, parts in (("IS_over_groups", row["M"]), ("IS_over_experts", row["N"])):
        if field not in row:
            continue
        scores = imbalance_scores(grouping, row["batch"], draws, torch.Generator().manual_seed(5), parts=parts,
                                  replace=row["routing"] == "topk_with_replacement")  # fmt: skip
        wanted = row[field]
        error = wanted["sd"] * (1 / draws + 1 / row["draws"]) ** 0.5
        assert abs(float(scores.mean()) - wanted["mean"]) <= 5 * error + 1e-12, field
        assert float(scores.std()) == pytest.approx(wanted["sd"], rel=0.15, abs=1e-12)


def test_scores_and_load_of_known_batches():
    ids = torch.tensor([[0, 2], [0, 3], [1, 2]])
    assert rows_per_part(ids, 4, 2).tolist() == [3, 3]
    assert imbalance_score(ids, 4, 2) == 0
    assert imbalance_score(ids, 4, 4) == pytest.approx(1 / 3)
    z = torch.full((3, 4), -9.0)
    z[torch.arange(3)[:, None], ids] = 1.0
    load = load_of(route(z, Grouping(4, 2, 1)), torch.tensor([1, 1, 0]))
    assert (load.rows_per_expert, load.tokens, load.idle_experts) == ((2, 0, 1, 1), 2, 1)
    assert load.imbalance_of_groups == 0
    assert load.max_over_mean == 2
    with pytest.raises(InputError):
        rows_per_part(ids, 4, 3)
