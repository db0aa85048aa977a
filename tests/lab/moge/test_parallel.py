"""Experts over 2, 4 and 8 ranks: forward and backward equal one process in float64, and every rank has equally many rows."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="the lab needs torch: pip install begat[lab]")
if not torch.distributed.is_available() or not torch.distributed.is_gloo_available():
    pytest.skip("this torch has no gloo", allow_module_level=True)

import importlib.util  # noqa: E402

HERE = Path(__file__).parent
spec = importlib.util.spec_from_file_location("moge_ranks", HERE / "ranks.py")
ranks_file = importlib.util.module_from_spec(spec)
spec.loader.exec_module(ranks_file)


@pytest.fixture(scope="module", params=[2, 4, 8])
def run(request, tmp_path_factory):
    """All ranks' results, started as processes of their own."""
    ranks, folder = request.param, tmp_path_factory.mktemp("ranks")
    source = Path(sys.modules["begat_lab"].__file__).parents[1]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(source), os.environ.get("PYTHONPATH", "")]), "OMP_NUM_THREADS": "1"}
    started = [
        subprocess.Popen(
            [sys.executable, HERE / "ranks.py", folder, str(r), str(ranks)], env=env, stderr=subprocess.PIPE, text=True
        )
        for r in range(ranks)
    ]
    try:
        errors = [process.communicate(timeout=240)[1] for process in started]
    finally:
        for process in started:
            process.kill()
    assert [process.returncode for process in started] == [0] * ranks, "\n".join(errors)
    return ranks, [torch.load(folder / f"rank-{r}.pt") for r in range(ranks)]


@pytest.mark.parametrize("case", range(len(ranks_file.CASES)), ids=lambda i: "-".join(map(str, (
    ranks_file.CASES[i][0], f"M{ranks_file.CASES[i][1].groups}", "adversarial" if ranks_file.CASES[i][2] else "random"))))  # fmt: skip
def test_ranks_compute_what_one_process_does(run, case):
    ranks, results = run
    _, grouping, bad = ranks_file.CASES[case]
    whole, x = ranks_file.mixture(grouping, bad), ranks_file.tokens(ranks).requires_grad_()
    y, routing = whole(x)
    ranks_file.loss_of(y, routing, x.detach()).backward()
    parts = [result[case] for result in results]
    close = {"atol": 1e-12, "rtol": 1e-12}
    torch.testing.assert_close(torch.cat([part["y"] for part in parts]), y.detach(), **close)
    torch.testing.assert_close(torch.cat([part["x_grad"] for part in parts]), x.grad, **close)
    grads = dict(whole.named_parameters())
    seen = set()
    for part in parts:
        for name, grad in part["grads"].items():
            seen.add(name)
            torch.testing.assert_close(grad, grads[name].grad, **close, msg=lambda m, name=name: f"{name}: {m}")
    assert seen == set(grads)
    experts = [{name.split(".")[1] for name in part["grads"] if name.startswith("experts.")} for part in parts]
    assert sum(map(len, experts)) == ranks_file.N == len(set.union(*experts)), "an expert on two ranks, or on none"


def test_grouped_rows_are_equal_whatever_the_router_does_and_top_k_rows_are_not(run):
    ranks, results = run
    for case, (_, grouping, bad) in enumerate(ranks_file.CASES):
        rows = [result[case]["rows"] for result in results]
        assert sum(rows) == ranks * ranks_file.T * grouping.picks_per_token
        if grouping.groups > 1:
            assert len(set(rows)) == 1
        elif bad:
            assert max(rows) > 1.5 * sum(rows) / ranks
