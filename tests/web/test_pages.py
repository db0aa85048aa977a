"""Every route of the explorer: what it shows, and what it refuses."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

pytest.importorskip("starlette")
from starlette.testclient import TestClient

from begat.errors import InputError
from begat.fingerprint_file import save
from begat.index.store import open_store
from begat.pipeline.sketch import sketch
from begat.web import jobs as jobs_module
from begat.web import trees
from begat.web.app import create_app
from begat.web.jobs import Job, Jobs
from begat.web.uploads import MOST_BYTES
from web.small_index import CONTROL, IMAGE, LONG, SCRIPT, Family

HERE = "http://localhost"


class Markup(HTMLParser):
    """Collects every tag with its attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def client_of(small: Family, *roots: Path, **options: Any) -> TestClient:
    app = create_app(str(small.index), roots, **options)
    return TestClient(app, base_url=HERE, headers={"origin": HERE}, follow_redirects=False, raise_server_exceptions=False)


@pytest.fixture(scope="module")
def client(small: Family) -> Iterator[TestClient]:
    with client_of(small, small.root / "models") as made:
        yield made


def finish(client: TestClient, job: str) -> dict[str, Any]:
    """Wait until a job is over."""
    for _ in range(600):
        state: dict[str, Any] = client.get(f"{job}/state").json()
        if state["state"] not in ("queued", "running"):
            return state
        time.sleep(0.05)
    raise AssertionError("job never ended")


def result(client: TestClient, answer: Any) -> str:
    """The page that a posted job leads to."""
    assert answer.status_code == 303, answer.text
    state = finish(client, answer.headers["location"])
    assert state["state"] == "done", state
    there = client.get(answer.headers["location"])
    assert there.status_code == 303 and there.headers["location"] == state["result"]
    page = client.get(state["result"])
    assert page.status_code == 200
    return str(page.text)


# --- pages ----------------------------------------------------------------------------------------------------


def test_the_list_filters_sorts_and_pages(client: TestClient, small: Family, monkeypatch: pytest.MonkeyPatch) -> None:
    def names(query: str) -> list[str]:
        page = client.get(f"/?{query}")
        assert page.status_code == 200
        return re.findall(r'href="/model/[0-9a-f]{64}"><bdi>(.*?)</bdi>', page.text)

    assert len(names("")) == 8
    assert names("q=parent") == ["parent"]
    assert names("q=" + small.ids["child"][:10]) == ["child"]
    assert set(names("q=models/str")) == {"stranger"}
    assert len(names("family=llama")) == 8 and names("family=bert") == []
    assert names("most=1k") == [] and len(names("least=100k&most=1b")) == 8
    assert names("sort=-name") == names("sort=name")[::-1]
    assert "is no size" in client.get("/?least=many").text
    monkeypatch.setattr("begat.web.listing.PAGE", 3)
    assert len(names("page=1")) == 3 and len(names("page=3")) == 2
    assert names("page=99") == names("page=3")
    assert names("page=1") + names("page=2") + names("page=3") == sorted(
        names("page=1") + names("page=2") + names("page=3"), key=str.casefold
    )
    for odd in ("page=-1", "page=²", "sort=--name", "sort=__class__", "page=" + "9" * 50):
        assert client.get(f"/?{odd}").status_code == 200


def test_a_models_page_and_its_relatives(client: TestClient, small: Family) -> None:
    page = client.get(f"/model/{small.ids['child']}").text
    assert "MLP units" in page and "residual stream" in page and small.ids["child"] in page and "Nothing searched yet" in page
    found = result(client, client.post(f"/model/{small.ids['child']}/search"))
    assert "was not made independently of 6 of 8 models" in found
    assert f'href="/compare?m={small.ids["child"]}&amp;m={small.ids["parent"]}"' in found.replace("&m=", "&amp;m=")
    assert 'data-n="0"' in found and "/static/tree.js" in found
    again = client.get(f"/model/{small.ids['child']}").text
    assert "was not made independently of 6 of 8 models" in again and "Search again" in again
    stranger = result(client, client.post(f"/model/{small.ids['stranger']}/search"))
    assert "No known relative" in stranger and "no clearance" in stranger


def test_unknown_pages_are_404(client: TestClient) -> None:
    for path in ("/model/" + "0" * 64, "/model/xyz", "/model/..%2f..%2fetc", "/job/abc", "/search/abc", "/compared/abc", "/compared/abc/report", "/tree/abc",
                 "/static/../app.py", "/static/..%2fapp.py", "/nothing", "/job/abc/state"):  # fmt: skip
        answer = client.get(path)
        assert answer.status_code == 404, path
        assert "Traceback" not in answer.text
    assert client.post("/model/" + "0" * 64 + "/search").status_code == 404
    assert client.post("/job/abc/cancel").status_code == 404


def test_search_by_path(client: TestClient, small: Family) -> None:
    for path in (str(small.models["stitched"]), "stitched", "./child/../stitched"):
        found = result(client, client.post("/search", data={"path": path}))
        assert "“stitched” was not made independently of 6 of 8 models" in found, path
    # under another name it is another fingerprint, and finds itself
    found = result(client, client.post("/search", data={"path": "stitched/model.safetensors"}))
    assert "7 of 8 models" in found and "every sampled value is equal" in found
    asked = client.post("/search", data={"path": "stitched"}, headers={"accept": "application/json"})
    assert asked.status_code == 200
    assert finish(client, asked.json()["job"])["total"] > 0


def test_paths_outside_the_roots_are_refused_alike(client: TestClient, small: Family, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "model.safetensors").write_bytes((small.models["parent"] / "model.safetensors").read_bytes())
    inside = small.root / "models"
    (inside / "link").symlink_to(outside)
    (inside / "linked").mkdir()
    (inside / "linked" / "model.safetensors").symlink_to(outside / "model.safetensors")
    (inside / "loop").symlink_to(inside / "loop")
    try:
        answers = set()
        elsewhere = [str(small.index), str(outside), str(tmp_path / "absent"), str(inside) + "-other"]
        climbing = ["/etc/passwd", "/etc", "../../etc/passwd", "../index", "//etc/passwd", "/", "..", "~root"]
        for path in (*elsewhere, *climbing, "absent", "link", "linked", "link/model.safetensors", "loop", "", "child\0", "a" * 5000):
            for field in ("path", "base"):
                fields = {"path": "child", "base": path} if field == "base" else {"path": path}
                if fields.get("base") == "":
                    continue
                answer = client.post("/search", data=fields)
                assert answer.status_code == 400, path
                words = re.search(r'class="wrong aside">(.*?)</p>', answer.text, re.S)
                assert words is not None
                answers.add(words[1][words[1].index("is not below") :].split("(")[0].strip())
        assert answers == {"is not below an allowed folder, or is not there"}
    finally:
        for name in ("link", "loop"):
            (inside / name).unlink()
        (inside / "linked" / "model.safetensors").unlink()
        (inside / "linked").rmdir()


def test_without_roots_no_path_is_read(small: Family) -> None:
    with client_of(small) as client:
        assert "--root" in client.get("/search").text and 'name="path"' not in client.get("/search").text
        answer = client.post("/search", data={"path": str(small.models["child"])})
        assert answer.status_code == 400 and "start begat serve with --root" in answer.text
        both = client.get(f"/compare?m={small.ids['child']}&m={small.ids['parent']}").text
        assert "were not made independently" in both and "begat compare" in both and "Compare the weights" not in both
        answer = client.post("/compare", data={"a": small.ids["child"], "b": small.ids["parent"]})
        assert answer.status_code == 400


def test_a_root_must_be_a_folder(small: Family) -> None:
    for root in (small.root / "absent", small.models["child"] / "model.safetensors"):
        with pytest.raises(InputError, match="--root"):
            create_app(str(small.index), [root])
    with pytest.raises(InputError, match="no begat index"):
        create_app(str(small.root))


def test_compare_by_fingerprint_and_by_weights(client: TestClient, small: Family) -> None:
    a, b, s = (small.ids[n] for n in ("parent", "child", "stranger"))
    page = client.get(f"/compare?m={a}&m={b}").text
    assert "“parent” and “child” were not made independently" in page and "layer 3 here: layer 3 there" in page
    apart = client.get(f"/compare?m={a}&m={s}").text
    assert "show no exact evidence" in apart and "no clearance" in apart
    found = result(client, client.post("/compare", data={"a": a, "b": b}))
    report = re.search(r'<iframe src="(/compared/[0-9a-f]{32}/report)"[^>]* sandbox>', found)
    assert report is not None
    inner = client.get(report[1])
    assert (
        "Inheritance map" in inner.text
        and "sandbox" in inner.headers["content-security-policy"]
        and "script-src" not in inner.headers["content-security-policy"]
    )
    assert "Open the comparison" in client.get(f"/compare?m={a}&m={b}").text
    for query in ("", f"m={a}", f"m={a}&m={a}", f"m={a}&m={b}&m={s}"):
        assert "choose two" in client.get(f"/compare?{query}").text
    assert client.get(f"/compare?m={a}&m=zzz").status_code == 404


def test_a_source_that_lies_elsewhere_is_not_read(client: TestClient, small: Family) -> None:
    """The source in the index is a stranger's word; it obeys the roots as a typed path does."""
    answer = client.post("/compare", data={"a": small.ids["child"], "b": small.ids[SCRIPT]})
    assert answer.status_code == 400 and "is not below an allowed folder" in answer.text


def test_a_family_tree(client: TestClient, small: Family) -> None:
    ids = [small.ids[n] for n in ("parent", "child", "stranger")]
    page = result(client, client.post("/tree", data={"m": ids}))
    assert page.count('data-n="') == 3 and "3 models" in page and "1 without kin" in page
    assert "8</b> models" in client.get("/tree").text
    everything = result(client, client.post("/tree", data={"q": "", "family": "llama"}))
    assert all(f"/model/{id}" in everything for id in small.ids.values())
    for fields in ({"m": ids[:1]}, {"q": "parent"}, {"q": "nobody"}):
        answer = client.post("/tree", data=fields)
        assert answer.status_code == 400 and f"2 to {trees.MOST} models" in answer.text


# --- jobs -----------------------------------------------------------------------------------------------------


def test_a_job_is_cancelled_and_the_queue_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs_module, "WAITING", 2)
    jobs, order = Jobs(), list[str]()

    def slow(job: Job) -> None:
        job.start("slow", 10_000)
        for _ in range(10_000):
            time.sleep(0.005)
            job.step()

    first = jobs.submit("search", "first", slow)
    while first.state != "running":
        time.sleep(0.005)
    tidied: list[int] = []
    second = jobs.submit("search", "second", lambda _: order.append("second"), after=lambda: tidied.append(2))
    third = jobs.submit("search", "third", lambda _: order.append("third"))
    with pytest.raises(InputError, match="busy"):
        jobs.submit("search", "fourth", slow, after=lambda: tidied.append(4))
    assert tidied == [4] and (second.state, jobs.ahead(second), jobs.ahead(third)) == ("queued", 1, 2)
    second.cancel()
    first.cancel()
    for _ in range(1000):
        if third.over:
            break
        time.sleep(0.005)
    assert (first.state, second.state, third.state, order, tidied) == ("cancelled", "cancelled", "done", ["third"], [4, 2])


def test_old_jobs_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs_module, "KEPT", 3)
    jobs = Jobs()
    made = []
    for _ in range(6):
        made.append(jobs.submit("tree", "x", lambda _: 1))
        while not made[-1].over:
            time.sleep(0.002)
    assert [jobs.get(j.id) is not None for j in made] == [False, False, False, True, True, True]


def test_a_failed_job_says_why_in_one_line(client: TestClient, small: Family) -> None:
    bad = small.root / "models" / "bad"
    bad.mkdir(exist_ok=True)
    (bad / "model.safetensors").write_bytes(b"\xff" * 64)
    job = client.post("/search", data={"path": "bad"}).headers["location"]
    state = finish(client, job)
    assert state["state"] == "failed" and "model.safetensors" in state["error"] and "\n" not in state["error"]
    page = client.get(job)
    assert page.status_code == 200 and "Failed." in page.text


def test_cancel_by_page(client: TestClient, small: Family, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "begat.index.search.compare_fingerprints", lambda *_: time.sleep(0.3) or (_ for _ in ()).throw(InputError("never"))
    )
    job = client.post(f"/model/{small.ids['child']}/search").headers["location"]
    assert client.post(f"{job}/cancel").status_code == 303
    assert finish(client, job)["state"] == "cancelled"
    assert "Cancelled." in client.get(job).text


# --- uploads --------------------------------------------------------------------------------------------------


def upload(client: TestClient, files: list[tuple[str, int]], body: bytes, name: str = "dropped") -> Any:
    return client.post(f"/upload?name={quote(name)}&files={quote(json.dumps(files))}", content=body)


def test_a_fingerprint_or_a_small_model_is_dropped(client: TestClient, small: Family, tmp_path: Path) -> None:
    save(sketch(small.models["child"]), tmp_path / "c.begat")
    blob = (tmp_path / "c.begat").read_bytes()
    assert "“child” was not made independently of 6 of 8" in result(client, upload(client, [("c.begat", len(blob))], blob))
    parts = [(p.name, p.read_bytes()) for p in sorted(small.models["child"].iterdir())]
    files, body = [(n, len(b)) for n, b in parts], b"".join(b for _, b in parts)
    found = result(client, upload(client, files, body, "mine <b>"))
    assert "“mine &lt;b&gt;” was not made independently of 7 of 8" in found
    assert result(client, upload(client, [("e.json", 0), *files, ("z.txt", 0)], body))


def test_uploads_are_limited_and_leave_nothing_behind(
    client: TestClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    weights = ("model.safetensors", 4)
    for files, body, words in (
        ([("model.safetensors", MOST_BYTES + 1)], b"", "too large"),
        ([("a.safetensors", MOST_BYTES // 2 + 1), ("b.safetensors", MOST_BYTES // 2)], b"", "too large"),
        ([weights], b"12345", "longer than it said"),
        ([weights], b"123", "ended early"),
        ([weights] * 2, b"12341234", "one name"),
        ([("config.json", 2)], b"{}", "no weights"),
        ([("a.begat", 1), weights], b"12345", "drop one fingerprint alone"),
        ([("../x.safetensors", 1)], b"1", "plain name"),
        ([("/etc/x.safetensors", 1)], b"1", "plain name"),
        ([(".hidden.safetensors", 1)], b"1", "plain name"),
        ([("model.pkl", 1)], b"1", "plain name"),
        ([("a\nb.safetensors", 1)], b"1", "plain name"),
        ([("m.safetensors", -1)], b"", "size -1"),
        ([(f"{i}.json", 0) for i in range(25)], b"", "which files"),
        ([], b"", "which files"),
    ):
        answer = upload(client, files, body)
        assert answer.status_code == 400, files
        assert words in answer.text, files
    for raw in ("", "{}", "[1]", '[["a.json"]]', '[["a.json", true]]', "[" * 5000, '[["a.json", 1e9]]'):
        assert client.post(f"/upload?files={quote(raw)}", content=b"").status_code == 400
    state = finish(client, upload(client, [weights], b"1234").headers["location"])
    assert state["state"] == "failed"
    assert list(tmp_path.iterdir()) == []


def test_forms_are_limited(client: TestClient) -> None:
    assert client.post("/search", content=b"path=" + b"a" * (1 << 17)).status_code == 413
    assert client.post("/search", content=b"&".join(b"m=1" for _ in range(1000))).status_code == 400
    assert client.post("/tree", content=b"\xff\xfe").status_code == 400


# --- who may ask ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "192.168.1.7",
        "",
        "localhost:80:90",
        "local host",
        "[::2]",
    ],
)
def test_other_host_names_are_refused(client: TestClient, host: str) -> None:
    answer = client.get("/", headers={"host": host})
    assert answer.status_code == 421
    assert "parent" not in answer.text


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8650", "127.0.0.1:1", "[::1]:8650"])
def test_own_host_names_are_answered(client: TestClient, host: str) -> None:
    assert client.get("/", headers={"host": host}).status_code == 200


def test_more_names_by_request(small: Family) -> None:
    with client_of(small, names=["explorer.lan"], any_address=True) as client:
        for host, status in (("explorer.lan", 200), ("10.0.0.5:8650", 200), ("[fe80::1]", 200), ("other.lan", 421)):
            assert client.get("/", headers={"host": host}).status_code == status


def test_forms_from_other_sites_are_refused(small: Family) -> None:
    with client_of(small) as client:
        del client.headers["origin"]
        path = f"/model/{small.ids['stranger']}/search"
        refused: list[dict[str, str]] = [
            {}, {"origin": "http://evil.example"}, {"origin": "null"}, {"origin": "http://localhost:9999"}, {"origin": HERE, "sec-fetch-site": "cross-site"},
            {"sec-fetch-site": "cross-site"}, {"sec-fetch-site": "none"}, {"origin": "http://localhost.evil.example"},
        ]  # fmt: skip
        for headers in refused:
            for there in (path, "/search", "/upload", "/tree", "/compare", "/job/x/cancel"):
                assert client.post(there, headers=headers).status_code == 403, headers
        for headers in ({"origin": HERE}, {"sec-fetch-site": "same-origin"}, {"origin": HERE, "sec-fetch-site": "same-origin"}):
            assert client.post(path, headers=headers).status_code == 303
        for method in ("PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"):
            assert client.request(method, "/", headers={"origin": HERE}).status_code == 405
        embedded = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors", "sec-fetch-dest": "image"}
        assert client.get("/", headers=embedded).status_code == 403
        followed = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
        assert client.get("/", headers=followed).status_code == 200


def test_every_answer_is_guarded(client: TestClient, small: Family) -> None:
    for path in (
        "/",
        "/search",
        "/tree",
        f"/model/{small.ids['child']}",
        "/static/begat.js",
        "/static/tree.js",
        "/static/style.css",
        "/nothing",
        "/compare",
    ):
        answer = client.get(path)
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy and "script-src 'self'" in policy and "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
    assert client.get("/", headers={"host": "evil.example"}).headers["content-security-policy"].startswith("default-src 'none'")


# --- hostile names --------------------------------------------------------------------------------------------


def test_names_are_never_markup(client: TestClient, small: Family) -> None:
    evil = small.ids[SCRIPT]
    asked = [f"/?q={quote(IMAGE)}", f"/tree?q={quote(SCRIPT)}", f"/?family={quote(IMAGE)}&least={quote(SCRIPT)}"]
    pages = {path: client.get(path).text for path in ("/", f"/model/{evil}", f"/compare?m={evil}&m={small.ids[IMAGE]}", *asked)}
    pages |= {f"/model/{small.ids[n]}": client.get(f"/model/{small.ids[n]}").text for n in (IMAGE, CONTROL, LONG)}
    pages["search"] = result(client, client.post(f"/model/{evil}/search"))
    pages["searched"] = client.get(f"/model/{evil}").text
    pages["tree"] = result(
        client, client.post("/tree", data={"m": [small.ids[n] for n in (SCRIPT, IMAGE, CONTROL, LONG, "parent")]})
    )
    pages["by path"] = result(client, client.post("/search", data={"path": "evil-1"}))
    for where, text in pages.items():
        tags = Markup(text).tags
        assert all(a.get("src", "").startswith("/static/") for t, a in tags if t == "script"), where  # type: ignore[union-attr]
        assert not [t for t, _ in tags if t in ("img", "object", "embed", "base")], where
        assert not [k for _, a in tags for k in a if k.startswith("on") or k == "style"], where
        assert "\x1b" not in text and "\x07" not in text and "\u202e" not in text, where
        assert "http://" not in text.replace("http://www.w3.org", ""), where
    assert "alert(1)" in pages["/"] and "alert(2)" in pages["/"]
    assert "\\x1b[31mred\\x07" in pages[f"/model/{small.ids[CONTROL]}"]
    assert max(map(len, pages["/"].split())) < 400


def test_pages_need_nothing_from_elsewhere(client: TestClient, small: Family) -> None:
    for path in ("/", "/search", f"/model/{small.ids['child']}"):
        for tag, attrs in Markup(client.get(path).text).tags:
            for key in ("src", "href", "action", "formaction", "data-job"):
                where = attrs.get(key)
                assert where is None or where.startswith("/") or (tag == "link" and where == "data:,"), (tag, where)
    for path in ("/static/begat.js", "/static/tree.js", "/static/style.css"):
        text = client.get(path).text
        assert (
            "//" not in re.sub(r"^\s*//.*$", "", text, flags=re.M).replace("http://www.w3.org", "")
            and "@import" not in text
            and "eval(" not in text
        )


def test_requests_open_the_index_for_reading(client: TestClient, small: Family) -> None:
    """What is added while the server runs is there at the next request."""
    from begat.index.entries import record_of

    explorer = client.app.app.state.explorer  # type: ignore[attr-defined]
    with explorer.open() as store:
        first = explorer.manifest.entries(store)
    with explorer.open() as store:
        assert explorer.manifest.entries(store) is first
    with open_store(small.index, "write") as store:
        added = store.add([record_of(sketch(small.models["stranger"], name="newcomer"), "nowhere")]).added
        assert "newcomer" in client.get("/?q=newcomer").text
        store.remove(added)
    assert "No model fits" in client.get("/?q=newcomer").text
