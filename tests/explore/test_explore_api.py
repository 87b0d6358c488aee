"""The page's answers: every view on a tiny run of text, what is refused, and the lines that reproduce it."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pytest
import torch
from pages import HOST, PORT, TOKEN, Page
from tiny import autoencoder, language_model, trained

from seqvae.analysis.doctor import findings as diagnose_run
from seqvae.errors import UserError
from seqvae.explore.requests import Place
from seqvae.explore.session import Explorer
from seqvae.explore.views import VIEWS
from seqvae.inference import TextVAE, load

A, B = {"index": 0}, {"index": 1}


@pytest.fixture(scope="module")
def page(run: Path) -> Iterator[Page]:
    page = Page(Explorer(load(run), examples=60))
    with page.client:
        yield page


def test_examples_stand_in_the_order_of_the_split(page: Page) -> None:
    found = page.ask("examples")
    vae = page.explorer.vae
    assert isinstance(vae, TextVAE)
    assert found["n"] == len(found["texts"]) == 60
    assert torch.allclose(page.explorer.points.mean, vae.encode(found["texts"]), atol=1e-5)
    columns = {column["name"]: column for column in found["columns"]}
    assert columns["length"]["values"] == [len(text.split()) + 1 for text in found["texts"]]
    scores = vae.score(found["texts"], samples=1)
    assert columns["rate"]["values"] == pytest.approx([score.rate for score in scores], rel=1e-3)
    assert columns["-ELBO"]["values"] == pytest.approx([score.neg_elbo for score in scores], rel=1e-3)
    question = columns["question"]
    assert question["names"] == ["statement", "question"]
    assert question["values"] == [int(text.endswith("?")) for text in found["texts"]]


def test_posteriors_belong_to_their_examples(page: Page) -> None:
    points = page.explorer.points
    means = torch.cat([q.mean for q in points.posteriors])
    assert torch.allclose(means[points.own], points.mean)


def test_planes(page: Page) -> None:
    plane = page.ask("embedding")
    x, y = torch.tensor(plane["x"]), torch.tensor(plane["y"])
    assert abs(float((x * y).mean())) < 1e-3 * float(x.var())
    assert x.var() >= y.var() > 0
    assert 0 < plane["share"][1] <= plane["share"][0] <= 1
    tsne = page.ask("embedding", {"embedding": "tsne"})
    assert len(tsne["x"]) == 60
    both = page.ask("example", {"place": A})["xy"]
    assert both["pca"][0] == pytest.approx([plane["x"][0], plane["y"][0]], abs=1e-4)
    assert both["tsne"][0] == pytest.approx([tsne["x"][0], tsne["y"][0]], abs=1e-3)


def test_holes(page: Page) -> None:
    found = page.ask("holes")
    assert found["share"] == pytest.approx(sum(found["inside"]) / found["draws"], rel=1e-3)
    assert len(found["x"]) == len(found["y"]) == len(found["inside"]) == found["draws"]


@pytest.mark.parametrize("path", ["linear", "slerp"])
def test_walk_is_what_the_api_gives(page: Page, path: Any) -> None:
    texts = page.explorer.points.inputs.x[:2]
    found = page.ask("walk", {"a": {"text": texts[0]}, "b": B, "path": path, "steps": 4})
    expected = page.explorer.vae.interpolate(*texts, steps=4, path=path)
    assert [step["text"] for step in found["steps"]] == [point.text for point in expected]
    assert [step["t"] for step in found["steps"]] == pytest.approx([0, 1 / 3, 2 / 3, 1], abs=1e-3)
    filled = [step for step in found["steps"] if step["text"]]
    scores = page.explorer.vae.score([step["text"] for step in filled], samples=5)
    assert [step["nll"] for step in filled] == pytest.approx([s.iw_nll for s in scores], rel=1e-3)
    assert len(found["xy"]["pca"]) == 4
    assert found["read"] == [{"tokens": len(texts[0].split()), "unknown": 0, "cut": 0}, None]


def test_typed_text_says_what_the_model_does_not_know(page: Page) -> None:
    words = page.ask("example", {"place": {"text": "the zzz dog " + "sees " * 30}})["read"]
    assert words == {"tokens": 33, "unknown": 1, "cut": 13}


def test_edit_sets_dims_and_moves_attributes(page: Page) -> None:
    plain = page.ask("edit", {"base": A})
    assert plain["decoded"] == plain["original"]
    moved = page.ask("edit", {"base": A, "dims": {"1": 2.5}})
    assert moved["z"][1] == 2.5
    assert moved["z"][0] == plain["z"][0]
    label = page.ask("edit", {"base": A, "moves": [{"label": "question", "strength": 2}]})
    step = torch.tensor(label["z"]) - torch.tensor(label["base"])
    assert 0.5 < label["moves"][0]["accuracy"] <= 1
    assert step.norm() > 0
    kept = page.ask(
        "edit",
        {"base": A, "dims": {"0": 3.0}, "moves": [{"label": "question", "keep": True}]},
    )
    change = torch.tensor(kept["z"]) - torch.tensor(kept["base"])
    assert change.norm() > 0
    assert change.norm() < 3 + abs(kept["base"][0])


def test_kept_words_are_written(page: Page) -> None:
    found = page.ask("edit", {"base": A, "dims": {"0": 2.0}, "keep_words": ["umbrella", "garden"]})
    words = found["decoded"]["text"].split()
    assert words.index("umbrella") < words.index("garden")


def test_groups_of_texts_make_an_attribute(page: Page) -> None:
    move = {"towards": ["is it ?"] * 3, "away": ["it is ."] * 3, "strength": 1}
    found = page.ask("edit", {"base": A, "moves": [move]})
    assert found["moves"] == [{"accuracy": 1.0, "error": 0.0, "n": 6}]
    few = page.ask("edit", {"base": A, "moves": [{**move, "towards": ["is it ?"]}]})
    assert few["moves"] == [{"accuracy": None, "error": None, "n": 0}]


def test_attributes(page: Page) -> None:
    found = page.ask("attributes")
    nats = [dim["kl"] for dim in found["dims"]]
    assert nats == sorted(nats, reverse=True)
    names = {(one["label"], one["kind"]) for one in found["attributes"]}
    assert ("question", None) in names
    assert ("tense", "past") in names
    assert ("length", None) in names


def test_samples_know_their_neighbours(page: Page) -> None:
    page.ask("samples", {"n": 1})
    page.explorer.jobs.wait("training codes")
    found = page.ask("samples", {"n": 5, "seed": 3, "temperature": 0.7, "top_p": 0.9})
    again = page.ask("samples", {"n": 5, "seed": 3, "temperature": 0.7, "top_p": 0.9})
    assert found == again
    assert len(found["samples"]) == 5
    for sample in found["samples"]:
        distances = [near["distance"] for near in sample["near"]]
        assert distances == sorted(distances)
        assert sample["copied"] in (True, False)
        assert sample["hole"] in (True, False)


def test_health_has_numbers_charts_and_findings(page: Page) -> None:
    found = page.ask("health")
    assert {"rate", "neg_elbo"} <= {row["key"] for row in found["numbers"]}
    assert len(found["kl_per_dim"]) == 4
    assert found["gain_by_position"]
    assert found["curves"]["neg_elbo"]["valid"]
    diagnosed = [finding for finding in found["findings"] if "evidence" in finding]
    expected = diagnose_run(page.explorer.vae.run.path)  # after a few steps there is something
    assert [finding["text"] for finding in diagnosed] == [finding.problem for finding in expected]
    assert all(finding["evidence"] and finding["effect"] for finding in diagnosed)
    assert diagnosed


def _executed(code: str) -> str:
    """What lines of Python print."""
    with redirect_stdout(io.StringIO()) as said:
        exec(compile(code, "lines of the page", "exec"), {})
    return said.getvalue()


def test_python_lines_reproduce_a_walk(page: Page) -> None:
    found = page.ask("walk", {"a": {"draw": 7}, "b": B, "steps": 3})
    lines = _executed(found["python"]).splitlines()
    assert [line.split(" ", 1)[1] for line in lines] == [step["text"] for step in found["steps"]]
    nats = [line.split(" ")[0] for line in lines if not line.startswith("None")]
    shown = [step["nll"] for step in found["steps"] if step["text"]]
    assert [float(x) for x in nats] == pytest.approx(shown, rel=1e-3)


def test_python_lines_reproduce_edits_and_samples(page: Page) -> None:
    edit = page.ask("edit", {"base": {"text": "a dog ."}, "dims": {"1": 2.5}})
    assert _executed(edit["python"]).strip() == repr([edit["decoded"]["text"]])
    kept = page.ask("edit", {"base": A, "dims": {"1": -2.5}, "keep_words": ["umbrella"]})
    assert _executed(kept["python"]).strip() == kept["decoded"]["text"]
    samples = page.ask("samples", {"n": 3, "seed": 5, "temperature": 0.5})
    assert _executed(samples["python"]).splitlines() == [s["text"] for s in samples["samples"]]


@pytest.mark.parametrize(
    ("view", "request_", "said"),
    [
        ("walk", {"a": A, "b": B, "steps": 1}, "steps: Input should be greater than or equal to 2"),
        ("walk", {"a": A, "b": B, "steps": 1000}, "steps: Input should be less than or equal to 65"),
        ("walk", {"a": A, "b": {}}, "b: got nothing: give one of index, text, draw and z"),
        ("walk", {"a": A, "b": {"index": 1, "draw": 2}}, "b: got index, draw: give one of"),
        ("walk", {"a": A, "b": {"text": "x" * 10_001}}, "b.text: String should have at most 10000"),
        ("walk", {"a": A, "b": B, "path": "curved"}, "path: Input should be"),
        ("walk", {"a": A, "b": B, "colour": 1}, "colour: Extra inputs are not permitted"),
        ("edit", {"base": A, "dims": {"0": 1e9}}, "dims.0: Input should be less than or equal to 1000"),
        ("edit", {"base": A, "moves": [{"strength": 1}]}, "moves.0: give a label, or two groups"),
        ("samples", {"n": 0}, "n: Input should be greater than or equal to 1"),
        ("samples", {"temperature": 0}, "temperature: Input should be greater than 0"),
        ("samples", {"top_p": 1.5}, "top_p: Input should be less than or equal to 1"),
        ("rate", {"place": A, "nats": -1}, "nats: Input should be greater than 0"),
    ],
)
def test_values_out_of_range_are_refused(page: Page, view: str, request_: Any, said: str) -> None:
    assert page.refusal(view, request_, 422).startswith(said)


def test_numbers_that_are_none_are_refused(page: Page) -> None:
    body = '{"base": {"z": [NaN, 0, 0, 0]}}'
    response = page.client.post(
        f"/{TOKEN}/api/edit", content=body, headers={"Content-Type": "application/json"}
    )
    assert response.status_code == 422
    body = "{"
    response = page.client.post(
        f"/{TOKEN}/api/edit", content=body, headers={"Content-Type": "application/json"}
    )
    assert response.status_code == 422


@pytest.mark.parametrize(
    ("view", "request_", "said"),
    [
        ("walk", {"a": {"index": 10**6}, "b": B}, "example 1000000 does not exist: the map shows 60"),
        ("walk", {"a": {"text": "   "}, "b": B}, "holds no token"),
        ("edit", {"base": {"z": [0.0]}}, "codes have shape (1, 1): this model reads (N, 4)"),
        ("edit", {"base": A, "dims": {"9": 0}}, "no dim 9: the code has 4, numbered from 0"),
        ("edit", {"base": A, "moves": [{"label": "colour"}]}, "no label 'colour': the data have question"),
        ("edit", {"base": A, "moves": [{"label": "tense", "kind": "x"}]}, "label 'tense' has no kind 'x'"),
        ("edit", {"base": A, "keep_words": [" "]}, "' ' holds no token"),
        ("rate", {"place": A, "nats": 4}, "this run is not variable-rate"),
        ("samples", {"prior": "nobody"}, "has no prior 'nobody'"),
    ],
)
def test_what_the_run_cannot_do_is_refused(page: Page, view: str, request_: Any, said: str) -> None:
    page.ask("examples")
    page.ask("holes")
    assert said in page.refusal(view, request_, 400)


def test_ten_thousand_characters_and_markup_stay_text(page: Page) -> None:
    long = "the dog <b>sees</b> " * 500
    assert len(long) == 10_000
    found = page.ask("edit", {"base": {"text": long}})
    assert found["read"]["cut"] > 0
    markup = page.ask("example", {"place": {"text": "<script>alert(1)</script>"}})
    assert "<script>alert(1)</script>" in eval(markup["python"].split("vae.encode(")[1].split(")\n")[0])
    lone = page.client.post(
        f"/{TOKEN}/api/example",
        content='{"place": {"text": "a \\ud800 dog"}}',
        headers={"Content-Type": "application/json"},
    )
    assert lone.status_code == 422


def test_token_host_and_origin_are_checked(page: Page) -> None:
    def status(path: str, **headers: str) -> int:
        return page.client.get(path, headers=headers).status_code

    assert status(f"/{TOKEN}/") == 200
    assert status("/") == status("/wrong/") == status(f"/{TOKEN}x/") == 403
    assert page.client.post("/wrong/api/overview", json={}).status_code == 403
    assert page.client.get(f"/{TOKEN}").url.path == f"/{TOKEN}/"
    assert status(f"/{TOKEN}/", Host="evil.example") == 403
    assert status(f"/{TOKEN}/", Host=f"evil.example:{PORT}") == 403
    assert status(f"/{TOKEN}/", Host=f"localhost:{PORT}") == 200
    assert status(f"/{TOKEN}/", Origin="https://evil.example") == 403
    assert status(f"/{TOKEN}/", Origin="null") == 403
    assert status(f"/{TOKEN}/", Origin=f"http://{HOST}") == 200


def test_only_files_of_the_page_are_served(page: Page) -> None:
    home = page.client.get(f"/{TOKEN}/")
    assert "text/html" in home.headers["Content-Type"]
    assert "default-src 'none'" in home.headers["Content-Security-Policy"]
    assert home.headers["Referrer-Policy"] == "no-referrer"
    assert page.client.get(f"/{TOKEN}/map.js").headers["Content-Type"].startswith("text/javascript")
    for path in (
        "app.py",
        "../app.py",
        "..%2fapp.py",
        "%2e%2e/app.py",
        "assets/map.js",
        "none.js",
        "/etc/passwd",
    ):
        assert page.client.get(f"/{TOKEN}/{path}").status_code in (403, 404)
    assert page.client.post(f"/{TOKEN}/api/nothing", json={}).status_code in (404, 405)


def test_a_huge_body_is_refused(page: Page) -> None:
    body = json.dumps({"base": {"text": "x" * (5 << 20)}})
    response = page.client.post(f"/{TOKEN}/api/edit", content=body)
    assert response.status_code == 413


def test_two_users_at_once_get_the_same(page: Page) -> None:
    found: list[Any] = []
    asked = {"a": A, "b": B, "steps": 5}
    users = [threading.Thread(target=lambda: found.append(page.ask("walk", asked))) for _ in range(4)]
    for user in users:
        user.start()
    for user in users:
        user.join()
    assert len(found) == 4
    assert all(answer == found[0] for answer in found)


def test_progress_is_told(page: Page) -> None:
    page.ask("examples")
    jobs = {job["job"]: job for job in page.ask("jobs")["jobs"]}
    assert jobs["codes"] == {
        "job": "codes", "state": "done", "done": 60, "total": 60, "what": "likelihood", "error": "",
    }  # fmt: skip


def test_variable_rate_run(tmp_path_factory: pytest.TempPathFactory) -> None:
    run = trained(
        tmp_path_factory.getbasetemp(), "tiny-explored", "latent={name: exact_rate, dim: 4, nats: [2, 8]}"
    )
    page = Page(Explorer(load(run), examples=20))
    assert page.ask("overview")["rates"] == {"low": 2, "high": 8, "grid": [2, 4, 8]}
    page.ask("examples")
    texts = page.explorer.points.inputs.x
    found = page.ask("rate", {"place": {"index": 2}, "nats": 4})
    back = page.explorer.vae.reconstruct([texts[2]], rate=4)[0]
    assert (found["original"], found["text"], found["exact"]) == (back.text, back.reconstruction, back.exact)
    assert repr(back) in _executed(found["python"])
    assert "9 nats" in page.refusal("rate", {"place": A, "nats": 9}, 400)
    assert "pick a point" in page.refusal("rate", {"place": {"draw": 1}, "nats": 4}, 400)


def test_codes_without_a_density_have_no_holes(tmp_path_factory: pytest.TempPathFactory) -> None:
    page = Page(Explorer(load(autoencoder(tmp_path_factory)), examples=20))
    assert page.ask("holes") == {"share": None}
    assert page.ask("walk", {"a": A, "b": B, "steps": 3})["steps"]
    assert page.ask("samples", {"n": 2})["samples"]


def test_runs_without_a_page_are_refused(tmp_path_factory: pytest.TempPathFactory) -> None:
    with pytest.raises(UserError, match=r"is a language model \(latent: none\): it has no code to explore"):
        Explorer(load(language_model(tmp_path_factory)))
    base = tmp_path_factory.getbasetemp()
    told = trained(base, "tiny-told", "data.labels=[tense]", "condition=[tense]", "train.steps=4")
    vae = load(told)
    with pytest.raises(UserError, match=r"conditioned on labels \(tense\): fix each with --condition"):
        Explorer(vae)
    page = Page(Explorer(vae.with_defaults(condition={"tense": "past"}), examples=12))
    found = page.ask("walk", {"a": A, "b": B, "steps": 3})
    assert "with_condition({'tense': 'past'})" in found["python"]
    assert page.ask("samples", {"n": 2})["samples"]


def test_data_of_a_file(run: Path, tmp_path: Path) -> None:
    file = tmp_path / "mine.txt"
    file.write_text("the old dog sees a ball .\na cat .\nshe sells eggs\n", encoding="utf-8")
    page = Page(Explorer(load(run), data=str(file)))
    found = page.ask("examples")
    assert found["texts"] == page.explorer.vae.tokenizer.decode_batch(
        page.explorer.vae.tokenizer.encode_batch(file.read_text().splitlines())
    )
    assert "t-SNE got codes of shape (3, 4)" in page.refusal("embedding", {"embedding": "tsne"}, 400)


def test_every_view_has_a_request_model() -> None:
    for name, (model, view) in VIEWS.items():
        assert view.__doc__, name
        assert model.model_config["extra"] == "forbid"
    assert Place(index=0).text is None
