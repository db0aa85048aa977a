"""`begat-lab bench-moe`: it runs, its counts are right, its ratios are of the right things. No number of seconds is asserted."""

import json
import math
import os

import pytest

torch = pytest.importorskip("torch", reason="the lab needs torch: pip install begat[lab]")
pytest.importorskip("matplotlib", reason="the lab needs matplotlib: pip install begat[lab]")

from click.testing import CliRunner  # noqa: E402

from begat import InputError  # noqa: E402
from begat_lab.cli.main import cli  # noqa: E402
from begat_lab.moe_bench import clock, kernels, layers, load, models, quality, run  # noqa: E402
from begat_lab.moe_bench.plan import PARTS, SIZES, plan_of, top_k  # noqa: E402
from begat_lab.moe_bench.routers import ROUTERS, aim, logits, tokens_for  # noqa: E402
from begat_lab.moge import Grouping, MoGE, experts, grouped_matmul_fits, route, rows_per_part  # noqa: E402

TINY = plan_of("tiny")


@pytest.mark.parametrize("size", SIZES)
def test_contenders_are_of_equal_size(size):
    plan = plan_of(size)
    moge, top = plan.layer.contenders.values()
    assert (moge.experts, moge.picks_per_token) == (top.experts, top.picks_per_token)
    assert (moge.groups, top.groups) == (plan.layer.groups, 1)
    for config in (plan.model, plan.quality):
        assert top_k(config).grouping == Grouping(config.num_experts, 1, config.num_experts_per_tok)
        assert config.num_groups > 1
    if size == "published":  # Pangu Pro MoE's layer
        assert (plan.layer.hidden, plan.layer.units, plan.layer.shared, moge) == (5120, 1344, 5376, Grouping(64, 8, 1))


def test_adversarial_routers_are_the_worst_there_is():
    chance = torch.Generator().manual_seed(1)
    for count, picks, ranks in ((64, 8, 8), (64, 8, 2), (16, 4, 4)):
        ids = route(logits("adversarial", 50, count, chance), Grouping(count, 1, picks)).expert_ids_TK
        assert rows_per_part(ids, count, ranks).tolist() == [50 * picks] + [0] * (ranks - 1)
    layer = MoGE(32, 4, Grouping(16, 1, 2)).double()
    for router in ROUTERS:
        aim(layer, router)
        with torch.no_grad():
            spread = layer(tokens_for(400, 32, "cpu", torch.float64))[1].expert_ids_TK.flatten().bincount(minlength=16)
        if router == "adversarial":
            assert spread.tolist() == [400, 400] + [0] * 14
        else:
            assert (spread > 0).sum() >= 14


def test_rows_per_rank_are_even_for_moge_and_not_for_top_k():
    rows = load.measure_load(plan_of("tiny", ranks=(2, 4, 8)), (32,))
    assert len(rows) == 9
    for row in rows:
        assert (row.moge_max_over_mean, row.moge_imbalance) == (1, 0)
        assert row.top_k_worst_batch >= row.top_k_max_over_mean > 1
        assert row.top_k_imbalance > 0
    worst = {row.ranks: row.top_k_max_over_mean for row in rows if row.router == "adversarial"}
    assert worst == {2: 2.0, 4: 2.0, 8: 2.0}  # 8 picks among 16 experts: half of the ranks have all rows


def test_time_is_told_apart_and_ratios_point_the_right_way():
    seconds = {"fast": (1.0, 2.0, 1.0, 1.0), "slow": (2.0, 4.0, 3.0, 2.0)}
    ratio = clock.Timing(seconds).speed_ratio("fast", "slow")
    assert (ratio.middle, ratio.low, ratio.high) == (2.0, 2.0, 2.75)
    calls = []
    timing = clock.side_by_side({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, "cpu", 3, least=0.0)
    assert calls == ["a", "a", "b", "b", "b", "a", "a", "b", "b", "a"]  # warmed up twice each, then in turns
    assert all(len(values) == 3 for values in timing.seconds.values())


def test_the_floor_counts_operations_and_bytes():
    slow_arithmetic = clock.Ceilings("cpu", "float32", 1.0, math.inf)
    size = TINY.layer  # D 32, F 16, K 8
    assert clock.layer_floor(slow_arithmetic, size, 10, 16, 4) == clock.Floor(6 * 32 * 16 * 80, "operations")
    assert clock.layer_floor(slow_arithmetic, size, 10, 16, 4, backward=True).seconds == 3 * 6 * 32 * 16 * 80
    slow_memory = clock.Ceilings("cpu", "float32", math.inf, 1.0)
    assert clock.layer_floor(slow_memory, size, 10, 7, 4) == clock.Floor(3 * 32 * 16 * 7 * 4 + 2 * 10 * 32 * 4, "bytes")
    model = models._model(TINY, TINY.model, "auto")
    floor = models.model_floor(model, TINY, slow_arithmetic, "prefill", 3)
    assert floor.seconds == 2.0 * model.counts()[1] * 3 * TINY.prompt
    step = models.model_floor(model, TINY, slow_memory, "decode", 10**4)  # every expert is touched: all weights once a step, and the cache
    cached = 2 * 2 * 10**4 * 2 * TINY.prompt * 8 * 4
    assert step.seconds == pytest.approx((model.counts()[0] * 4 + cached) * TINY.new_tokens)


def test_both_contenders_have_the_same_weights():
    a, b = models._model(TINY, TINY.model, "auto"), models._model(TINY, top_k(TINY.model), "auto")
    assert all(torch.equal(x, y) for x, y in zip(a.parameters(), b.parameters(), strict=True))
    ids = torch.arange(1, 9)[None]
    with torch.no_grad():
        assert not torch.equal(a(ids).routings[0].expert_ids_TK.sort(-1)[0], b(ids).routings[0].expert_ids_TK.sort(-1)[0])
    assert set(layers._contenders(TINY)) == {"MoGE", "top-K"}


def test_errors_see_a_wrong_product(monkeypatch):
    rows = kernels.measure_errors(plan_of("tiny", dtype="bfloat16"))
    assert {row.router for row in rows} == {"random", "adversarial"}
    assert all(0 < max(row.output, row.input_gradient, row.weight_gradient) < 1.5e-2 for row in rows)
    if not grouped_matmul_fits(torch.zeros(1, 32), 16):
        pytest.skip("this torch has no grouped matrix product here")
    right = experts._grouped
    monkeypatch.setattr(experts, "_grouped", lambda *args: right(*args) * 1.1)
    loop, grouped = kernels.measure_errors(TINY)[:2]
    assert loop.output == 0
    assert grouped.output == pytest.approx(0.1, rel=1e-3) and grouped.weight_gradient == pytest.approx(0.1, rel=1e-3)
    assert math.isnan(float(kernels._error(torch.tensor([math.nan]), torch.ones(1))))


def test_quality_is_paired_and_comes_again():
    one = quality.measure_quality(TINY)
    assert quality._trained((TINY, 2, "MoGE")).loss == one.rows[1].moge_loss  # no matter how many are trained at a time
    assert [row.seed for row in one.rows] == [1, 2]
    assert one.difference == pytest.approx(sum(row.moge_loss - row.top_k_loss for row in one.rows) / 2)
    assert all(row.moge_max_over_mean == 1 and row.top_k_max_over_mean > 1 for row in one.rows)


def test_a_part_that_fails_leaves_a_note_and_the_others_go_on(monkeypatch):
    def fails(plan):
        raise RuntimeError("out of memory\nand more")

    monkeypatch.setattr(run, "measure_load", fails)
    kept = []
    report = run.run_bench(plan_of("tiny", parts=("load", "kernels")), "x", keep=kept.append)
    assert [note for note in report.notes if note.startswith("Failed: load: RuntimeError: out of memory (")]
    assert [table.name for table in report.tables] == ["errors", "kernels"]
    assert len(kept) == 2


def test_command(tmp_path):
    if not torch.distributed.is_available() or not torch.distributed.is_gloo_available():
        pytest.skip("this torch has no gloo")
    ran = CliRunner(env={"OMP_NUM_THREADS": "1"}).invoke(cli, ["bench-moe", "--quick", "--repeats", "2", "--out", str(tmp_path), "--json"])
    assert ran.exit_code == 0, ran.output
    told = json.loads(ran.stdout)
    assert told == json.loads((tmp_path / "bench_moe.json").read_text())
    assert set(told["tables"]) == {"load", "errors", "kernels", "routers", "layers", "busiest", "parallel", "models", "quality"}
    for row in told["tables"]["parallel"]:
        assert row["moge_max_over_mean"] == 1
        assert row["error"] < 1e-5
        assert (row["top_k_max_over_mean"] == 2) == (row["router"] == "adversarial")
    assert {row["what"] for row in told["tables"]["models"]} == {"prefill", "decode", "training step"}
    assert (tmp_path / "bench_moe.md").read_text().count("\n## ") == 9
    for name in ("rows_per_rank.svg", "quality.svg"):
        assert "<svg" in (tmp_path / name).read_text()
    assert os.fspath(tmp_path) not in told["machine"]["command"]


@pytest.mark.parametrize("wrong", [
    ["--parts", "loads"], ["--parts", ""], ["--quick", "--size", "small"], ["--ranks", "3"], ["--ranks", "2;4"], ["--ranks", "0"], ["--device", "cuda"],
])  # fmt: skip
def test_wrong_options_are_errors(wrong):
    if wrong == ["--device", "cuda"] and torch.cuda.is_available():
        pytest.skip("there is one")
    ran = CliRunner().invoke(cli, ["bench-moe", "--repeats", "1", *wrong])
    assert isinstance(ran.exception, InputError), ran.output
    assert "\n" not in ran.exception.line()
    assert set(PARTS) >= {"load", "quality"}
