"""What do tests see of the log on a job's page?"""

from __future__ import annotations

import asyncio
import re
import zipfile
from pathlib import Path

from playwright.async_api import Page, expect

SHORT = 20_000
"""Milliseconds."""
IN_VIEW = """() => {
  const box = document.querySelector(".log-scroll").getBoundingClientRect();
  return [...document.querySelectorAll(".log-rows .line:not(.away)")].filter((line) => {
    const { top, bottom } = line.getBoundingClientRect();
    return bottom > box.top + 1 && top < box.bottom - 1;
  }).map((line) => [line.dataset.n || line.dataset.section, line.text?.textContent ?? ""]);
}"""
"""[number or section, text] of each row in view."""
CLIPBOARD = """async () => {
  for (;;) {
    const text = await navigator.clipboard.readText();
    if (text) return text;
    await new Promise((done) => setTimeout(done, 50));
  }
}"""
"""``wait_for_function`` takes any promise for a yes."""


def zip_of(target: Path, **files: str) -> Path:
    with zipfile.ZipFile(target, "w") as archive:
        for name, text in files.items():
            archive.writestr(name.replace("__", "."), text)
    return target


async def submit(page: Page, bundle: Path) -> None:
    await page.goto("/")
    await page.set_input_files("#zip-input", bundle)
    await expect(page.locator("#bundle-facts")).to_contain_text("to send")
    await page.click("#send")
    await page.wait_for_url(re.compile(r"/jobs/[0-9a-z]{8}-"), timeout=SHORT)


async def run(page: Page, bundle: Path, timeout: float = SHORT) -> str:
    """Submits it and waits for the whole log; the job's address."""
    await submit(page, bundle)
    await expect(page.locator("#live")).to_have_text("complete", timeout=timeout)
    return page.url


async def in_view(page: Page) -> list[tuple[str, str]]:
    return [(number, text) for number, text in await page.evaluate(IN_VIEW)]


async def view_has(page: Page, number: int | str, text: str = "", timeout: float = SHORT) -> None:
    """Waits until the row is in view, with that text in it."""
    await page.wait_for_function(
        f"([number, text]) => ({IN_VIEW})().some((row) => row[0] === number"
        " && row[1].includes(text))",
        arg=[str(number), text],
        timeout=timeout,
    )


async def only_in_view(page: Page, text: str) -> None:
    """Waits until every row in view has that text in it."""
    await page.wait_for_function(
        f"(text) => ({IN_VIEW})().every((row) => row[1].includes(text))", arg=text, timeout=SHORT
    )


async def scroll_to(page: Page, share: float) -> None:
    """As if the scrollbar were dragged there."""
    await page.evaluate(
        "(share) => { const box = document.querySelector('.log-scroll');"
        " box.scrollTop = (box.scrollHeight - box.clientHeight) * share; }",
        share,
    )


async def copied(page: Page) -> str:
    """What the keys for copying put into the clipboard."""
    await page.evaluate("navigator.clipboard.writeText('')")
    await page.keyboard.press("Control+c")
    async with asyncio.timeout(SHORT / 1000):
        return str(await page.evaluate(CLIPBOARD))
