"""Curves on a job's page, over one another, and in the list: drawn from what jobs print."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Locator, Page, expect

from stoker.stack import Stack
from tests.browser.conftest import Shoot
from tests.browser.log_tools import SHORT, submit, zip_of

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

LONG = 60_000
PROGRAM = r"""
import json, pathlib, sys, time

rate = float(sys.argv[1]) if len(sys.argv) > 1 else 0.1
for step in range(400):
    loss = 2.0 / (1.0 + rate * step)
    print(f"step={step} train_loss={loss:.5f} lr={rate}")
    if step % 50 == 49:
        print(json.dumps({"step": step, "val_loss": loss * 1.1, "grad/norm": 1.0 + loss}))
print(json.dumps({"step": 400, "val_loss": float("nan")}), flush=True)
while len(sys.argv) < 2 and not pathlib.Path("go").exists():
    time.sleep(0.05)
print("step=401 train_loss=0.00125", flush=True)
"""
RULES = """async ([xs, ys]) => {
  const math = await import("/static/js/chart_math.js");
  const names = ["train/loss", "val_loss", "eval_loss", "loss/test", "loss", "grad/0/norm", "test"];
  const tracks = names.map((name) => ({ name }));
  const long = Array.from({ length: 100000 }, (_, at) => at);
  const values = long.map((at) => (at === 31234 ? 99 : at === 71234 ? -99 : Math.sin(at)));
  const less = math.reduced({ steps: long, times: long, values }, 1000);
  const coarse = { xs: [0, 10, 20, 30], ys: [0, 1, 2, 3] };
  const fine = math.spliced(coarse, { xs: [9, 10, 11], ys: [7, 8, 9] });
  const side = math.aligned([{ xs: [1, 3, 3], ys: [1, 2, 4] }, { xs: [2, 3], ys: [5, null] }]);
  const odd = { steps: [3, 1, 2], times: [7, 8, 9], values: [30, 10, 20] };
  return {
    kinds: names.map(math.kindOf),
    groups: math.grouped(tracks, "kind").map(({ name, charts }) =>
      [name, charts.map((chart) => [chart.name, chart.tracks.length])]),
    words: names.filter(math.filterOf("LOSS test")),
    pattern: names.filter(math.filterOf("/^grad|^test$/")),
    smooth: math.smoothed({ xs, ys }, 0.8, xs[xs.length - 1] - xs[0]),
    reduced: [less.values.length <= 1002, Math.max(...less.values), Math.min(...less.values)],
    spliced: [fine.xs, fine.ys],
    aligned: side.map((column) => column.map((y) => (y === undefined ? "none" : y))),
    back: math.placed(odd, "step", 0),
    since: math.placed(odd, "relative", 5).xs,
    log: math.drawable([1, 0, -1, NaN, Infinity], true),
  };
}"""
WIDE = "(figure) => { const { min, max } = figure.chart.plot.chart.scales.x; return max - min; }"


def averaged(xs: list[float], ys: list[float], weight: float) -> list[float]:
    """What the page's smoothing has to give, written down once more."""
    base, span = min(math.sqrt(weight), 0.999), xs[-1] - xs[0]
    smooth = []
    for here in range(len(xs)):
        weights = [base ** ((xs[here] - x) / span * 1000) for x in xs[: here + 1]]
        smooth.append(sum(w * y for w, y in zip(weights, ys, strict=False)) / sum(weights))
    return smooth


async def test_the_parts_of_a_chart_keep_their_rules(page: Page) -> None:
    await page.goto("/")
    xs = [0.0, 1, 2, 5, 6, 20, 21]
    ys = [1.0, 2, 0, 4, 4, 1, 7]
    found: dict[str, Any] = await page.evaluate(RULES, [xs, ys])
    assert found["kinds"] == ["loss", "loss", "loss", "loss", "loss", "grad/0/norm", "test"]
    assert found["groups"] == [["", [["loss", 5], ["test", 1]]], ["grad", [["grad/0/norm", 1]]]]
    assert found["words"] == ["loss/test"]
    assert found["pattern"] == ["grad/0/norm", "test"]
    assert found["smooth"] == pytest.approx(averaged(xs, ys, 0.8))
    assert found["reduced"] == [True, 99, -99], "peaks stay"
    assert found["spliced"] == [[0, 9, 10, 11, 20, 30], [0, 7, 8, 9, 2, 3]]
    assert found["aligned"] == [[1, 2, 3, 3], [1, "none", 2, 4], ["none", 5, None, "none"]]
    assert found["back"] == {"xs": [1, 2, 3], "ys": [10, 20, 30]}
    assert found["since"] == [2, 3, 4]
    assert found["log"] == [1, None, None, None, None]


def chart_of(page: Page, title: str) -> Locator:
    named = page.locator("figcaption", has_text=re.compile(f"^{re.escape(title)}$"))
    return page.locator("figure.chart").filter(has=named)


def row_of(chart: Locator, label: str) -> Locator:
    return chart.locator("tbody tr").filter(has_text=label)


async def test_curves_of_a_job_on_its_page(
    page: Page, stack: Stack, tmp_path: Path, shoot: Shoot
) -> None:
    await submit(page, zip_of(tmp_path / "curves.zip", main__py=PROGRAM))
    job = page.url.rpartition("/")[2].partition("#")[0]

    # While it runs; train and val in one chart, what is no number in its table.
    loss = chart_of(page, "loss")
    await expect(loss).to_be_visible(timeout=LONG)
    await loss.scroll_into_view_if_needed()
    await expect(loss.locator("canvas")).to_be_visible()
    await expect(loss.locator("tbody tr")).to_have_count(2)
    last = row_of(loss, "val_loss").locator("td").first
    await expect(last).to_have_text("NaN")
    await expect(last).to_have_class("bad")
    await expect(loss.locator(".chart-note")).to_contain_text("marks values that are NaN")

    # The pointer over one chart reads all of them; so do the arrow keys.
    box = await loss.locator(".u-over").bounding_box()
    assert box is not None
    await page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    here = row_of(loss, "train_loss").locator("td").nth(3)
    await expect(here).to_have_text(re.compile(r"0\.\d+"))
    await expect(page.locator("#chart-place")).to_have_text(re.compile(r"step (19|20)\d"))
    await expect(row_of(chart_of(page, "lr"), "lr").locator("td").nth(3)).to_have_text("0.1")
    await shoot(page, "charts-hover")
    await page.mouse.move(0, 0)
    await loss.locator(".chart-plot").focus()
    await page.keyboard.press("ArrowRight")
    await page.keyboard.press("ArrowRight")
    await expect(loss.locator("output")).to_contain_text("step 1: train_loss 1.818")

    # Zoomed by dragging, finer points are asked for; All shows all again.
    whole = await loss.evaluate(WIDE)
    async with page.expect_request(re.compile(r"/metrics/points\?.*from=")):
        await page.mouse.move(box["x"] + box["width"] * 0.25, box["y"] + 50)
        await page.mouse.down()
        await page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + 60, steps=5)
        await page.mouse.up()
    await expect(page.locator("#chart-all")).to_be_enabled()
    await page.wait_for_function(
        f"([figure, whole]) => Math.abs(({WIDE})(figure) / whole - 0.25) < 0.02",
        arg=[await loss.element_handle(), whole],
    )
    await page.click("#chart-all")
    await expect(page.locator("#chart-all")).to_be_disabled()

    # It goes on, and the page with it.
    (stack.data / "work" / "attempts" / f"{job}.1" / "job" / "go").touch()
    last = row_of(loss, "train_loss").locator("td").first
    await expect(last).to_have_text("0.00125", timeout=LONG)
    await expect(page.locator("#state")).to_have_text("succeeded", timeout=SHORT)

    # How it is drawn stays for the next visit.
    await page.locator("#chart-smoothing").fill("0.6")
    await page.click("#chart-log")
    await page.select_option("#chart-axis", "relative")
    toggle = row_of(loss, "val_loss").locator("button")
    await toggle.click()
    await expect(toggle).to_have_attribute("aria-pressed", "false")
    await shoot(page, "charts-smooth-log")
    await page.reload()
    await expect(page.locator("#chart-smoothing-value")).to_have_text("0.60")
    await expect(page.locator("#chart-log")).to_have_attribute("aria-pressed", "true")
    await page.select_option("#chart-by", "series")
    await expect(chart_of(page, "val_loss")).to_be_visible()
    await page.fill("#chart-filter", "grad")
    await expect(page.locator("figure.chart:visible figcaption").first).to_have_text("grad/norm")
    await expect(chart_of(page, "lr")).to_have_count(0)
    await page.fill("#chart-filter", "")
    async with page.expect_download() as waiting:
        await page.click("#metrics-csv")
    text = (await (await waiting.value).path()).read_text()
    assert "log,train_loss,401," in text
    assert "NaN" in text

    await page.click("#theme-button")
    await chart_of(page, "lr").scroll_into_view_if_needed()
    await shoot(page, "charts-dark")
    await page.set_viewport_size({"width": 390, "height": 844})
    await page.locator("#charts").scroll_into_view_if_needed()
    await expect(page.locator("#charts canvas").first).to_be_visible()
    await shoot(page, "charts-phone")
    fits = "(one) => one.getBoundingClientRect().right <= innerWidth"
    assert await page.locator("#charts").evaluate(fits)


async def test_jobs_over_one_another_and_in_the_list(
    page: Page, tmp_path: Path, shoot: Shoot
) -> None:
    for rate in ("0.1", "0.5"):
        await page.goto("/")
        await page.set_input_files("#zip-input", zip_of(tmp_path / "rates.zip", main__py=PROGRAM))
        await page.fill("[name=arguments]", rate)
        await page.click("#send")
        await expect(page.locator("#state")).to_have_text("succeeded", timeout=SHORT)
    await submit(page, zip_of(tmp_path / "none.zip", main__py="print('nothing to draw')"))
    await expect(page.locator("#charts-empty")).to_contain_text("It told no numbers", timeout=LONG)
    await page.locator("#charts").scroll_into_view_if_needed()
    await shoot(page, "charts-empty")

    await page.goto("/")
    curves = page.locator("#rows .spark")
    await expect(curves).to_have_count(2, timeout=LONG)
    await expect(page.locator("#rows .spark-last").first).to_have_text("0.00125")
    for number in (1, 2):
        await page.locator("#rows .pick").nth(number).check()
    await shoot(page, "sparks")
    await page.click("#compare-jobs")
    await page.wait_for_url(re.compile(r"/compare\?job=.+&job="))
    loss = chart_of(page, "loss")
    await expect(loss.locator("canvas")).to_be_visible(timeout=LONG)
    await expect(loss.locator("tbody tr")).to_have_count(4)
    arguments = page.locator("#compare-rows tr", has_text="Arguments")
    await expect(arguments).to_have_class("differs")
    await page.check("#compare-differences")
    await expect(page.locator("#compare-rows tr", has_text="Memory")).to_have_count(0)
    await shoot(page, "compare")
    await page.locator("#compare-head .line-toggle").first.click()
    await expect(loss.locator("tbody tr")).to_have_count(2)
    await page.locator("#compare-head .icon").first.click()
    await expect(page.locator("#compare-head th")).to_have_count(2)
