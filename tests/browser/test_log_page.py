"""Is a log on the page pleasant to read, of whatever length?"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from tests.browser.conftest import Shoot
from tests.browser.log_tools import (
    SHORT,
    copied,
    in_view,
    only_in_view,
    run,
    scroll_to,
    submit,
    view_has,
    zip_of,
)

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

LONG = 120_000
LINES = """
import sys, time
for number in range(1, 3001):
    print(f"line {number}" + ("" if number % 100 else " \\033[33mcareful\\033[0m now"), flush=True)
time.sleep(0.5)
for number in range(1, 31):
    print(f"warning {number}", file=sys.stderr, flush=True)
"""
"""Row 1 is Stoker's; line N is row N + 1; the last 30 of the 3,031 rows are on stderr."""
MANY = """
import sys
text = "".join(f"row {number:7d} " + "x" * 80 + "\\n" for number in range(1, 1_000_001))
for start in range(0, len(text), 1 << 20):
    sys.stdout.write(text[start:start + (1 << 20)])
"""
COUNTER = """
import time
for number in range(1, 2001):
    print(f"line {number}", flush=True)
    time.sleep(0.01)
"""
BAR = """
import sys, time
print("before")
for step in range(60):
    sys.stderr.write(f"\\r{step:3d}/59 " + "#" * step)
    sys.stderr.flush()
    time.sleep(0.1)
print("\\nafter")
"""
ODD = """
import sys
print("x" * 12_000)
print("y" * 5_000_000)
sys.stdout.flush()
sys.stdout.buffer.write("漢字 🚀 ".encode() + b"bad \\xff\\xfe bytes\\n")
print("<b>no</b> \\033[1;38;2;250;200;10mgold\\033[0m \\033[7minverse\\033[0m https://example.com/run")
"""


async def test_a_link_leads_to_its_rows_and_numbers_are_links(
    page: Page, tmp_path: Path, shoot: Shoot
) -> None:
    job = await run(page, zip_of(tmp_path / "lines.zip", main__py=LINES))
    await view_has(page, 3031, "warning 30")
    await page.goto(f"{job}?attempt=1#L1500-L1503")
    for number in range(1500, 1504):
        await view_has(page, number)
    await expect(page.locator(".log-rows .marked")).to_have_count(4)
    await shoot(page, "log-link")
    await page.click('[data-n="1498"] .ln')
    assert page.url == f"{job}?attempt=1#L1498"
    await page.click('[data-n="1496"] .ln', modifiers=["Shift"])
    assert page.url == f"{job}?attempt=1#L1496-L1498"
    await expect(page.locator(".log-rows .marked")).to_have_count(3)
    await page.evaluate("location.hash = '#L2'")
    await view_has(page, 2, "line 1")
    await page.evaluate("location.hash = '#L99999'")
    await expect(page.locator("#toasts")).to_contain_text("has 3,031 rows only")


async def test_search_counts_the_whole_log_and_steps_from_hit_to_hit(
    page: Page, tmp_path: Path, shoot: Shoot
) -> None:
    await run(page, zip_of(tmp_path / "lines.zip", main__py=LINES))
    await page.locator("#name").click()
    await page.keyboard.press("t")
    await page.keyboard.press("/")
    await page.keyboard.type("CAREFUL now")
    await expect(page.locator("#hits")).to_have_text("1 of 30")
    await view_has(page, 101, "line 100 careful")
    await expect(page.locator(".hit mark").first).to_have_text("careful")
    await page.keyboard.press("Enter")
    await expect(page.locator("#hits")).to_have_text("2 of 30")
    await view_has(page, 201, "line 200 careful")
    await expect(page.locator(".ticks")).to_be_visible()
    await page.keyboard.press("Shift+Enter")
    await page.keyboard.press("Shift+Enter")
    await expect(page.locator("#hits")).to_have_text("30 of 30")
    await view_has(page, 3001, "line 3000 careful")
    await shoot(page, "log-search")
    await page.click("#find-case")
    await expect(page.locator("#hits")).to_have_text("no hit")
    await page.click("#find-case")
    await page.focus("#find")
    await page.keyboard.press("Escape")
    await expect(page.locator("#find")).to_have_value("")
    await expect(page.locator(".log-rows mark")).to_have_count(0)


async def test_only_rows_that_match_or_only_stderr_are_listed(
    page: Page, tmp_path: Path, shoot: Shoot
) -> None:
    await run(page, zip_of(tmp_path / "lines.zip", main__py=LINES))
    await page.locator("#name").click()
    await page.keyboard.press("t")
    await view_has(page, 1)
    await page.keyboard.press("e")
    await expect(page.locator("#size")).to_have_text("30 of 3,031 rows")
    await only_in_view(page, "warning")
    assert (await in_view(page))[0] == ("3002", "warning 1")
    await page.keyboard.press("e")
    await expect(page.locator("#size")).to_have_text("3,031 rows")
    await page.fill("#find", "line 29")
    await page.click("#only")
    await expect(page.locator("#size")).to_have_text("111 of 3,031 rows")
    await only_in_view(page, "line 29")
    await page.keyboard.press("End")
    await view_has(page, 3000, "line 2999")
    await shoot(page, "log-only-hits")
    await page.evaluate("location.hash = '#L500'")
    await view_has(page, 500)
    await expect(page.locator("#only")).to_have_attribute("aria-pressed", "false")


async def test_following_stops_when_one_scrolls_up_and_one_key_brings_it_back(
    page: Page, tmp_path: Path
) -> None:
    await submit(page, zip_of(tmp_path / "count.zip", main__py=COUNTER))
    await view_has(page, 121, "line 120")
    await page.locator(".log-scroll").hover()
    await page.mouse.wheel(0, -500)
    await expect(page.locator(".jump")).to_be_visible()
    await expect(page.locator(".jump kbd")).to_have_text("End")
    await expect(page.locator(".jump")).to_contain_text("new rows")
    top = (await in_view(page))[0]
    before = await page.inner_text("#size")
    await expect(page.locator("#size")).not_to_have_text(before)
    assert (await in_view(page))[0] == top, "new rows move nothing"
    await page.keyboard.press("End")
    await expect(page.locator(".jump")).to_be_hidden()
    await view_has(page, 401, "line 400", LONG)
    await page.mouse.wheel(0, -300)
    await expect(page.locator(".jump")).to_be_visible()
    await page.mouse.wheel(0, 5000)
    await expect(page.locator(".jump")).to_be_hidden()


async def test_a_bar_is_one_row_that_moves(page: Page, tmp_path: Path) -> None:
    await submit(page, zip_of(tmp_path / "bar.zip", main__py=BAR))
    bar = page.locator(".log-rows .line").filter(has_text="/59 ")
    number = await bar.get_attribute("data-n", timeout=SHORT)
    seen = await bar.inner_text()
    await expect(bar).not_to_have_text(seen)
    assert "59/59" not in seen, "it was seen on its way"
    assert await bar.count() == 1
    await expect(page.locator("#live")).to_have_text("complete", timeout=SHORT)
    await expect(bar).to_contain_text("59/59")
    assert await bar.get_attribute("data-n") == number
    texts = [text for _, text in await in_view(page)]
    assert texts[1] == "before"
    assert texts[-1] == "after"


async def test_copying_takes_text_without_numbers_and_rows_out_of_sight(
    page: Page, tmp_path: Path
) -> None:
    await page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    await run(page, zip_of(tmp_path / "lines.zip", main__py=LINES))
    await page.select_option("#times", "local")
    await page.locator("#name").click()
    await page.keyboard.press("t")
    await view_has(page, 6, "line 5")
    first = await page.locator('[data-n="4"] .tx').bounding_box()
    last = await page.locator('[data-n="7"] .tx').bounding_box()
    assert first is not None
    assert last is not None
    await page.mouse.move(first["x"] + 1, first["y"] + 8)
    await page.mouse.down()
    await page.mouse.move(last["x"] + 300, last["y"] + 8, steps=5)
    await page.mouse.up()
    assert await copied(page) == "line 3\nline 4\nline 5\nline 6"
    await page.mouse.wheel(0, 20_000)
    await view_has(page, 1010)
    assert await copied(page) == "line 3\nline 4\nline 5\nline 6", "the selection outlives the view"
    await page.mouse.click(900, 500)
    await page.focus(".log-scroll")
    await page.keyboard.press("Control+a")
    lines = (await copied(page)).split("\n")
    assert len(lines) == 3031
    assert (lines[1], lines[100], lines[-1]) == ("line 1", "line 100 careful now", "warning 30")


async def test_a_million_rows_scroll_to_the_middle_and_the_end(
    page: Page, tmp_path: Path, shoot: Shoot
) -> None:
    job = await run(page, zip_of(tmp_path / "many.zip", main__py=MANY), LONG)
    await view_has(page, 1_000_001, "row 1000000 x", LONG)
    await scroll_to(page, 0.5)
    await view_has(page, 500_001, "row  500000 x")
    await page.keyboard.press("w")
    await view_has(page, 500_001)
    await shoot(page, "log-million")
    await scroll_to(page, 0)
    await view_has(page, 2, "row       1 x")
    await page.keyboard.press("End")
    await view_has(page, 1_000_001, "row 1000000 x")
    await page.goto(f"{job}?attempt=1#L777777")
    await view_has(page, 777_777, "row  777776 x")
    await page.fill("#find", "row  12345")
    await expect(page.locator("#hits")).to_have_text("1 of 10", timeout=LONG)
    await view_has(page, 123_451, "row  123450 x")
    held = "document.getElementById('log').log.first.store.windows.map.size"
    for share in (0.1, 0.3, 0.7, 0.9):
        await scroll_to(page, share)
        await view_has(page, round(1_000_000 * share))
    assert await page.evaluate(held) <= 200
    assert await page.locator(".log-rows .line").count() < 200


async def test_long_rows_bad_bytes_and_colours(page: Page, tmp_path: Path, shoot: Shoot) -> None:
    await page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    await run(page, zip_of(tmp_path / "odd.zip", main__py=ODD))
    await page.locator("#name").click()
    long = page.locator('[data-n="3"]')
    await expect(long.locator(".more")).to_contain_text("4.8 MiB in this row")
    await long.locator("[data-more]").click()
    await page.wait_for_function(
        "() => document.querySelector('[data-n=\"3\"] .tx').textContent.length === 50000"
    )
    await long.locator("[data-copy]").click()
    await expect(page.locator("#toasts")).to_contain_text("Copied the row.")
    assert await page.evaluate("navigator.clipboard.readText()") == "y" * 5_000_000
    await expect(page.locator('[data-n="4"] .tx')).to_have_text("漢字 🚀 bad \ufffd\ufffd bytes")
    painted = page.locator('[data-n="5"] .tx')
    await expect(painted).to_have_text("<b>no</b> gold inverse https://example.com/run")
    await expect(painted.locator(".bold")).to_have_css("color", "rgb(250, 200, 10)")
    await expect(painted.locator("a")).to_have_attribute("href", "https://example.com/run")
    await page.keyboard.press("w")
    await page.keyboard.press("End")
    await view_has(page, 5, "<b>no</b>")
    await shoot(page, "log-odd")


async def test_sections_fold_and_each_row_has_its_time(
    page: Page, tmp_path: Path, shoot: Shoot
) -> None:
    bundle = zip_of(
        tmp_path / "built.zip", main__py="print('it runs')", requirements__txt="threadpoolctl\n"
    )
    await run(page, bundle, LONG)
    await page.select_option("#times", "utc")
    head = page.locator('.log-rows .head[data-section="build"]')
    await expect(head).to_contain_text(re.compile(r"Build\d+ rows · "))
    row = page.locator('.log-rows .line[data-stream="b"]')
    assert await row.count() > 1
    await expect(row.first.locator(".at")).to_have_text(re.compile(r"^\d\d:\d\d:\d\d\.\d{3}$"))
    await page.select_option("#times", "since")
    await expect(row.first.locator(".at")).to_have_text(re.compile(r"^\u2212?0:\d\d\.\d{3}$"))
    await shoot(page, "log-sections")
    await head.locator("button").click()
    await expect(head.locator("button")).to_have_attribute("aria-expanded", "false")
    await expect(row).to_have_count(0)
    await expect(page.locator(".log-rows")).to_contain_text("it runs")
    await page.evaluate("location.hash = '#L1'")
    await expect(page.locator('.log-rows .marked[data-n="1"]')).to_be_visible()
    await page.reload()
    await expect(page.locator("#times")).to_have_value("since")


async def test_two_attempts_stand_side_by_side(page: Page, tmp_path: Path, shoot: Shoot) -> None:
    code = "import os\nraise ValueError('attempt ' + os.environ['STOKER_ATTEMPT'])\n"
    await page.goto("/")
    await page.set_input_files("#zip-input", zip_of(tmp_path / "twice.zip", main__py=code))
    await page.click("#more summary")
    await page.fill("input[name=retries]", "1")
    await page.click("#send")
    await page.wait_for_url(re.compile(r"/jobs/"), timeout=SHORT)
    await expect(page.locator("#state")).to_have_text("failed", timeout=SHORT)
    await expect(page.locator("#live")).to_have_text("complete")
    await page.click("#compare")
    panes = page.locator(".pane")
    await expect(panes).to_have_count(2)
    await expect(panes.nth(0).locator(".log-rows")).to_contain_text("ValueError: attempt 2")
    await expect(panes.nth(1).locator(".log-rows")).to_contain_text("ValueError: attempt 1")
    await shoot(page, "log-compare")
    await panes.nth(1).locator("select").select_option("2.0")
    await expect(panes.nth(1).locator(".log-rows")).to_contain_text("ValueError: attempt 2")
    await page.click("#compare")
    await expect(panes).to_have_count(1)
