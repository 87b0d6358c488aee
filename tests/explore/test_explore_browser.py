"""The page in a real browser: map, search, walk, sliders, keys, small screens, both themes, and from disk."""

from __future__ import annotations

import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="needs the extra `explore` (fastapi, uvicorn)")

from browsers import open_browser, open_page, painted

from seqvae.explore import static
from seqvae.explore.session import Explorer
from seqvae.explore.static import write_static
from seqvae.inference import load

pytestmark = pytest.mark.browser
HTML = "<img src=x onerror=alert(1)> <b>the dog</b>"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with open_browser() as browser:
        yield browser


@pytest.fixture(scope="module")
def address(run: Path, browser: Any) -> Iterator[str]:
    """The address of a page that the command serves, on a port that it found free."""
    command = [sys.executable, "-m", "seqvae", "explore", str(run), "--port", "0", "--device", "cpu"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            yield server.stdout.readline().strip()
        finally:
            server.terminate()


def _open(address: str, **request: Any) -> Any:
    """The response, without a proxy that the environment may name."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    return direct.open(urllib.request.Request(address, **request))


def _ready(page: Any) -> Any:
    page.wait_for_selector("body[data-ready]", timeout=60_000)
    return page


def _walk(page: Any, a: str, b: str) -> None:
    fields = page.locator("#panel-walk input[type=text]")
    for field, text in ((fields.nth(0), a), (fields.nth(1), b)):
        field.fill(text)
        field.press("Enter")


def test_first_response_and_progress_come_soon(address: str) -> None:
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/[\w-]{20,}/", address)
    began = time.monotonic()
    with _open(address) as response:
        assert b"seqvae explore" in response.read()
    assert time.monotonic() - began < 1
    began = time.monotonic()
    json = {"Content-Type": "application/json"}
    with _open(f"{address}api/examples", data=b"{}", headers=json) as response:
        assert response.status in (200, 202)
    assert time.monotonic() - began < 5


def test_a_wrong_token_is_refused(address: str) -> None:
    with pytest.raises(urllib.error.HTTPError, match="403") as refused:
        _open(re.sub(r"/[\w-]+/$", "/wrong/", address))
    refused.value.close()


def test_map_is_drawn_and_found_in(browser: Any, address: str) -> None:
    with open_page(browser, address) as page:
        _ready(page)
        assert painted(page) > 20
        assert page.title() == "tiny-run · seqvae explore"
        page.keyboard.press("/")
        page.keyboard.type("dog")
        hits = int(page.inner_text("#hits").split()[0].replace(",", ""))
        assert hits == page.evaluate("SV.facts.texts.filter(t => t.includes('dog')).length") > 0
        page.keyboard.press("Enter")
        assert page.inner_text("#hits") == f"1 of {hits}"
        assert "dog" in page.inner_text("#tip")
        page.keyboard.press("Escape")
        assert page.inner_text("#hits") == ""
        before = page.evaluate("SV.map.state.view.scale")
        page.click("#zoom-in")
        assert page.evaluate("SV.map.state.view.scale") > before


def test_hover_shows_the_sentence_and_a_click_picks_it(browser: Any, address: str) -> None:
    with open_page(browser, address) as page:
        _ready(page)
        middle = "SV.map.nearest(SV.map.state.width / 2, SV.map.state.height / 2, 1e4)"
        x, y = page.evaluate(f"(i => SV.map.toScreen(SV.map.state.x[i], SV.map.state.y[i]))({middle})")
        shown = page.evaluate("([x, y]) => SV.facts.texts[SV.map.nearest(x, y)]", [x, y])
        page.locator("#canvas").hover(position={"x": x, "y": y})
        assert shown in page.inner_text("#tip")
        page.locator("#canvas").click(position={"x": x, "y": y})
        assert shown in page.inner_text("#panel-walk .place >> nth=0")


def test_walk_follows_its_slider(browser: Any, address: str) -> None:
    with open_page(browser, address) as page:
        _ready(page)
        _walk(page, "the old dog sees a ball .", HTML)
        page.wait_for_selector("#panel-walk .steps li")
        assert page.locator("#panel-walk .steps li").count() == 9
        assert page.locator("#panel-walk img").count() == 0  # markup is text
        assert "unknown to the model" in page.inner_text("#panel-walk")
        slider = page.locator("#walk-slider")
        slider.focus()
        for _ in range(3):
            page.keyboard.press("ArrowRight")
        assert "step 4 of 9" in page.inner_text("#panel-walk .result")
        page.click("text=Great arc")
        page.wait_for_selector("#panel-walk pre:has-text('slerp')", state="attached")
        page.click("#panel-walk summary")
        with page.expect_download() as download:
            page.click("#panel-walk >> text=CSV")
        rows = download.value.path().read_text(encoding="utf-8").splitlines()
        assert rows[0].startswith("t,text,nll_nats,nll_per_token,z0")
        assert len(rows) == 10


def test_ten_thousand_characters_are_shown_as_text(browser: Any, address: str) -> None:
    with open_page(browser, address) as page:
        _ready(page)
        _walk(page, ("the dog sees <b>it</b> . " * 400)[:10_000], "a cat .")
        page.wait_for_selector("#panel-walk .steps li")
        assert "left out" in page.inner_text("#panel-walk")


def test_dims_follow_their_sliders_and_words_are_kept(browser: Any, address: str) -> None:
    with open_page(browser, address) as page:
        _ready(page)
        page.click("#tab-dims")
        page.wait_for_selector("#panel-dims .slider")
        page.evaluate("SV.pointer.pick(0)")
        page.wait_for_selector("#panel-dims .word")
        word = page.locator("#panel-dims .word").first
        kept = word.inner_text()
        word.click()
        slider = page.get_by_label("strength of question")
        slider.focus()
        page.keyboard.press("End")
        page.wait_for_selector("#panel-dims .said:has-text('held-out')")
        page.wait_for_selector("#panel-dims .result:not(.busy)")
        assert kept in page.inner_text("#panel-dims .result").split()
        page.locator("#panel-dims input[data-dim]").first.focus()
        page.keyboard.press("Home")
        page.click("text=Reset")


@pytest.mark.parametrize("size", [(1240, 700), (390, 844)], ids=["wide", "narrow"])
def test_the_result_stays_in_view_while_sliders_move(
    browser: Any, address: str, size: tuple[int, int]
) -> None:
    with open_page(browser, address, viewport={"width": size[0], "height": size[1]}) as page:
        _ready(page)
        page.click("#tab-dims")
        page.wait_for_selector("#panel-dims .slider")
        page.evaluate("SV.pointer.pick(0)")
        page.wait_for_selector("#panel-dims .word")
        page.locator("#panel-dims input[data-dim]").last.focus()
        page.keyboard.press("End")
        page.wait_for_selector("#panel-dims .result:not(.busy)")
        box = page.locator("#panel-dims .result").bounding_box()
        slider = page.locator("#panel-dims input[data-dim]").last.bounding_box()
        assert box["y"] >= -1
        assert box["y"] + box["height"] <= slider["y"] < size[1]


def test_letters_of_a_path_lie_above_its_steps(browser: Any, address: str) -> None:
    with open_page(browser, address) as page:
        _ready(page)
        order = "SV.overlay.order({letters: ['A', null, null, 'B'], current: 2}, 4)"
        assert page.evaluate(order) == [1, 2, 0, 3]


def test_samples_and_health(browser: Any, address: str) -> None:
    with open_page(browser, address) as page:
        _ready(page)
        page.click("#tab-samples")
        page.wait_for_selector("#panel-samples .card li", timeout=60_000)
        assert page.locator("#panel-samples .card").count() == 12
        page.click("#tab-health")
        page.wait_for_selector("#panel-health .chart", timeout=60_000)
        assert "Nats by dim" in page.inner_text("#panel-health")


def test_the_map_is_used_by_keys_alone(browser: Any, address: str) -> None:
    with open_page(browser, address) as page:
        _ready(page)
        page.locator("#canvas").focus()
        page.keyboard.press("ArrowRight")
        first = page.inner_text("#described")
        page.keyboard.press("ArrowLeft")
        page.keyboard.press("Enter")
        assert first
        assert "picked" in page.inner_text("#described")
        page.locator("#tab-walk").focus()
        page.keyboard.press("ArrowRight")
        assert page.get_attribute("#tab-dims", "aria-selected") == "true"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_both_themes_have_contrast(browser: Any, address: str, scheme: str) -> None:
    """4.5 to 1 between text and ground, as WCAG 2 asks."""
    with open_page(browser, address, color_scheme=scheme) as page:
        _ready(page)
        assert page.get_attribute("html", "data-theme") == scheme
        ratios = page.evaluate(
            """() => {
              const channel = v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
              const part = (hex, i) => channel(parseInt(hex.slice(i, i + 2), 16) / 255);
              const light = hex => 0.2126 * part(hex, 1) + 0.7152 * part(hex, 3) + 0.0722 * part(hex, 5);
              const ratio = (a, b) => {
                const [x, y] = [light(a), light(b)];
                return (Math.max(x, y) + 0.05) / (Math.min(x, y) + 0.05);
              };
              const css = SV.colours.css;
              return [["--ink", "--paper"], ["--soft", "--paper"], ["--soft", "--tint"],
                ["--accent", "--paper"],
                ["--on-accent", "--accent"], ["--warm", "--warm-tint"], ["--good", "--good-tint"],
                ["--bad", "--bad-tint"], ["--ink", "--mark"]].map(([a, b]) => [a, b, ratio(css(a), css(b))]);
            }"""
        )
        assert [row for row in ratios if row[2] < 4.5] == []
        page.click("#theme")
        assert page.get_attribute("html", "data-theme") != scheme


def test_small_screens_cut_nothing_off(browser: Any, address: str) -> None:
    with open_page(browser, address, viewport={"width": 360, "height": 740}, has_touch=True) as page:
        _ready(page)
        for tab in ("walk", "dims", "samples", "health"):
            page.click(f"#tab-{tab}")
            wide = page.evaluate("document.documentElement.scrollWidth")
            assert wide <= 360, tab


def test_two_users_at_once(browser: Any, address: str) -> None:
    with open_page(browser, address) as one, open_page(browser, address) as two:
        for page, text in ((one, "the old dog sees a ball ."), (two, "she sells eggs")):
            _ready(page)
            _walk(page, text, "a cat")
        for page in (one, two):
            page.wait_for_selector("#panel-walk .steps li")
        assert one.input_value("#panel-walk input[type=text] >> nth=0").endswith("ball .")
        assert two.input_value("#panel-walk input[type=text] >> nth=0") == "she sells eggs"


def test_fifty_thousand_points_stay_smooth(browser: Any, address: str) -> None:
    """A frame takes less than a quarter of a second even in software and beside other tests."""
    with open_page(browser, address) as page:
        _ready(page)
        took = page.evaluate(
            """() => {
              const n = 50000, map = SV.map.state;
              const x = new Float32Array(n), y = new Float32Array(n), b = new Uint8Array(n);
              for (let i = 0; i < n; i++) {
                x[i] = Math.sin(i * 12.9898) * 3;
                y[i] = Math.cos(i * 78.233) * 3;
                b[i] = i % 5;
              }
              Object.assign(map, {n, x, y, hits: [], focus: -1, shade: null, overlay: null});
              SV.map.setBuckets(b, [0, 1, 2, 3, 4].map(SV.colours.kind)); SV.map.showAll();
              const times = [];
              for (let k = 0; k < 9; k++) {
                SV.map.zoom(1.01);
                const began = performance.now();
                SV.map.draw(SV.map.canvas.getContext("2d"), map.width, map.height, 1);
                times.push(performance.now() - began);
              }
              return times.sort((a, b) => a - b)[4];
            }"""
        )
        print(f"median of 9 frames: {took:.0f} ms")
        assert took < 250


def test_static_page_opens_from_disk(
    run: Path, browser: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(static, "EXAMPLES", 3)
    folder = tmp_path / "page"
    page_file = write_static(Explorer(load(run), examples=40), folder)
    with open_page(browser, page_file.as_uri()) as page:
        page.wait_for_selector("body[data-ready=all]")
        assert painted(page) > 20
        chosen = page.evaluate("SV.map.state.recorded")
        for index in chosen[:2]:
            page.evaluate("i => SV.pointer.pick(i)", index)
        page.wait_for_selector("#panel-walk .steps li")
        page.click("text=Great arc")
        page.click("#tab-dims")
        page.wait_for_selector("#panel-dims .slider")
        page.evaluate("i => SV.pointer.pick(i)", chosen[2])
        page.wait_for_function("document.querySelector('#panel-dims .result').textContent.includes('nats')")
        for slider in page.locator("#panel-dims input[type=range]").all()[:8]:
            slider.focus()
            page.keyboard.press("End")
        page.click("#tab-samples")
        page.wait_for_selector("#panel-samples .card li")
        page.click("#draw-samples")
        page.click("#tab-health")
        page.wait_for_selector("#panel-health .chart")
        page.click("#tab-walk")
        page.click("#plane-tsne")
        assert page.locator(".error").count() == 0
