"""Do the parts of the log page keep their rules, at any size?"""

from __future__ import annotations

from typing import Any

import pytest
from playwright.async_api import Page

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]

STYLED = """async ([text, limit]) => {
  const { styled } = await import("/static/js/ansi.js");
  const { parts, cut } = styled(text, limit ?? undefined);
  return [parts.map((part) => [part.text, part.names, part.color, part.back]), cut];
}"""
COLOURS: list[tuple[str, list[list[str]]]] = [
    ("plain", [["plain", "", "", ""]]),
    ("a\x1b[31mb\x1b[0mc", [["a", "", "", ""], ["b", "f-1", "", ""], ["c", "", "", ""]]),
    ("\x1b[1;4;92mx", [["x", "bold under f-10", "", ""]]),
    ("\x1b[1m\x1b[22;3mx", [["x", "italic", "", ""]]),
    ("\x1b[38;5;196mx", [["x", "", "#ff3030", ""]]),
    ("\x1b[48;5;232mx", [["x", "", "", "#080808"]]),
    ("\x1b[38;2;250;200;10;48;2;0;0;0mx", [["x", "", "#fac80a", "#000000"]]),
    ("\x1b[38:2::250:200:10mx", [["x", "", "#fac80a", ""]]),
    ("\x1b[38;5;9mx\x1b[39my", [["x", "f-9", "", ""], ["y", "", "", ""]]),
    ("\x1b[7mx", [["x", "f-ground b-text", "", ""]]),
    ("\x1b[7;31;44mx\x1b[27my", [["x", "f-4 b-1", "", ""], ["y", "f-1 b-4", "", ""]]),
    ("\x1b[4:3mx", [["x", "under curly", "", ""]]),
    ("\x1b[9mx\x1b[mx", [["x", "strike", "", ""], ["x", "", "", ""]]),
    ("\x1b[999;38;5mx", [["x", "", "", ""]]),
]
RULER = """async ([count, even]) => {
  const { Ruler } = await import("/static/js/ruler.js");
  const ruler = new Ruler(20);
  ruler.count = count;
  ruler.even = even;
  for (let index = 0; index < 500; index += 1) ruler.learn(index, 20 * (1 + (index % 4)));
  ruler.estimate();
  const view = 800;
  const last = ruler.last(view);
  const faults = [];
  const same = (a, b) => Math.abs(ruler.number(a) - ruler.number(b)) < 1e-3;
  if (ruler.length > 33e6) faults.push(`${ruler.length} pixels are more than browsers scroll`);
  const end = ruler.walk(last, view);
  if (!same(end, { index: count, offset: 0 })) faults.push("the last view ends elsewhere");
  if (ruler.length < view) return faults;
  for (const share of [0, 0.1, 0.5, 0.9, 1]) {
    const top = (ruler.length - view) * share;
    const place = ruler.placeAt(top, view);
    if (Math.abs(ruler.topOf(place, view) - top) > 1) faults.push(`${share}: another place`);
    const there = ruler.walk(place, 333.5);
    const back = ruler.walk(there, -333.5);
    if (share < 0.95 && !same(back, place)) faults.push(`${share}: no way back`);
  }
  return faults;
}"""
WINDOWS = """async () => {
  const { Windows } = await import("/static/js/windows.js");
  const windows = new Windows((from) => from === 0);
  for (let index = 0; index < 1000000; index += 1) windows.set(index, { text: "x" });
  const held = [...windows.map.values()].reduce((sum, { characters }) => sum + characters, 0);
  windows.dropFrom(999750);
  return {
    windows: windows.map.size <= 200,
    kept: windows.get(0) !== undefined,
    newest: windows.get(999749) !== undefined && windows.get(999750) === undefined,
    counted: held - 250 === windows.characters,
    missing: windows.missing(999700, 1000000),
  };
}"""


async def test_a_row_has_the_colours_that_a_terminal_would_give_it(page: Page) -> None:
    await page.goto("/")
    for text, parts in COLOURS:
        assert await page.evaluate(STYLED, [text, None]) == [parts, False], repr(text)
    assert await page.evaluate(STYLED, ["\x1b[31mred\x1b[0m and more", 5]) == [
        [["red", "f-1", "", ""], [" a", "", "", ""]],
        True,
    ]
    assert (await page.evaluate(STYLED, ["a🚀b", 2]))[0] == [["a", "", "", ""]], "no half pair"


async def test_a_place_and_the_scrollbar_agree_at_any_length(page: Page) -> None:
    await page.goto("/")
    for count in (0, 10, 1_000, 1_000_000, 50_000_000):
        for even in (True, False):
            assert await page.evaluate(RULER, [count, even]) == [], f"{count} rows"


async def test_the_page_holds_a_bounded_part_of_a_log(page: Page) -> None:
    await page.goto("/")
    found: dict[str, Any] = await page.evaluate(WINDOWS)
    missing = found.pop("missing")
    assert all(found.values()), found
    assert missing == {"index": 999_750, "count": 250}
