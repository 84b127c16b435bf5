"""What a job wrote, on its page: a tree that grows while it runs, and every kind shown safely."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from stoker.stack import Stack
from tests.browser.conftest import Shoot
from tests.browser.log_tools import SHORT, submit, zip_of

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

LONG = 90_000
PROGRAM = r"""
import base64, json, os, pathlib, struct, time, zlib

out = pathlib.Path(os.environ["STOKER_OUTPUTS"])


def part(kind, data):
    check = zlib.crc32(kind + data)
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", check)


def png(width, height):
    rows = b""
    for y in range(height):
        colours = ((x * 255 // width, y * 255 // height, 90) for x in range(width))
        rows += b"\0" + bytes(value for colour in colours for value in colour)
    head = part(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + part(b"IDAT", zlib.compress(rows)) + part(b"IEND", b"")


picture = png(240, 160)
(out / "checkpoints" / "epoch-1").mkdir(parents=True)
(out / "checkpoints" / "epoch-1" / "model.pt").write_bytes(bytes(3_000_000))
rows = "".join(f'{n},{1 / (n + 1):.4f},"a, ""quoted"" one"\n' for n in range(40))
(out / "loss.csv").write_text(f"step,loss,note\n{rows}")
print("written", flush=True)
while not pathlib.Path("go").exists():
    time.sleep(0.05)
(out / "curve.png").write_bytes(picture)
scores = [{"epoch": n, "accuracy": n / 10} for n in range(8)]
(out / "metrics.json").write_text(json.dumps(scores))
evil = "<img src=x onerror=alert(1)>"
(out / "config.json").write_text(json.dumps({"lr": 0.1, "layers": [1, 2, {"name": evil}]}))
(out / "page.html").write_text("<script>document.title = 'owned'</script><h1>a report</h1>")
(out / "drawing.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'><script>1</script></svg>")
shown = {"image/png": base64.b64encode(picture).decode()}
cells = [
    {"cell_type": "markdown", "source": ["# Results\n", "<b>not bold</b>"]},
    {"cell_type": "code", "execution_count": 3, "source": "print(1 + 1)", "outputs": [
        {"output_type": "stream", "text": ["2\n"]},
        {"output_type": "display_data", "data": shown},
        {"output_type": "display_data",
         "data": {"text/html": "<script>alert(2)</script>", "text/plain": "<Figure>"}},
    ]},
]
(out / "notebook.ipynb").write_text(json.dumps({"cells": cells}))
(out / "latest").symlink_to("checkpoints/epoch-1")
"""
MANY = """
import os
for n in range(30):
    name = f"{os.environ['STOKER_OUTPUTS']}/a long name of a file {n}.txt"
    open(name, "w").write("text " * 500)
"""


async def chosen(page: Page, name: str) -> None:
    await page.locator("#output-tree button", has_text=name).click()
    await expect(page.locator("#output-preview b")).to_have_text(name)


async def test_outputs_on_the_page(page: Page, stack: Stack, tmp_path: Path, shoot: Shoot) -> None:
    dialogs: list[str] = []
    page.on("dialog", lambda dialog: dialogs.append(dialog.message))
    await submit(page, zip_of(tmp_path / "write.zip", main__py=PROGRAM))
    job = page.url.rpartition("/")[2].partition("#")[0]

    # While it runs, what has been still for a while.
    preview, tree = page.locator("#output-preview"), page.locator("#output-tree")
    await expect(tree).to_contain_text("loss.csv", timeout=LONG)
    await expect(page.locator("#output-facts")).to_contain_text("as of")
    await expect(preview.locator("td").first).to_have_text("0")
    await expect(preview.locator("tbody tr")).to_have_count(40)
    await expect(preview.locator("tbody tr").nth(1)).to_contain_text('a, "quoted" one')
    await page.locator("#outputs").scroll_into_view_if_needed()
    await shoot(page, "outputs-running")

    (stack.data / "work" / "attempts" / f"{job}.1" / "job" / "go").touch()
    await expect(page.locator("#state")).to_have_text("succeeded", timeout=SHORT)
    await expect(tree).to_contain_text("notebook.ipynb", timeout=SHORT)
    await expect(page.locator("#output-facts")).to_contain_text("8 files")
    await expect(page.locator("#history")).to_contain_text("8 files of outputs")

    await chosen(page, "curve.png")
    picture = preview.locator("img")
    await expect(picture).to_be_visible()
    assert (
        await picture.evaluate("async (one) => { await one.decode(); return one.naturalWidth; }")
        == 240
    )
    await page.locator("#outputs").scroll_into_view_if_needed()
    await shoot(page, "outputs-image")

    await chosen(page, "metrics.json")
    await expect(preview.locator("th")).to_have_text(["epoch", "accuracy"])
    await chosen(page, "config.json")
    await expect(preview.locator("pre")).to_contain_text("<img src=x onerror=alert(1)>")

    await chosen(page, "notebook.ipynb")
    await expect(preview.locator(".cell-text")).to_contain_text("<b>not bold</b>")
    await expect(preview.locator(".cell-output")).to_have_text(["2\n", "<Figure>"])
    await expect(preview.locator("img")).to_be_visible()
    await page.locator("#outputs").scroll_into_view_if_needed()
    await shoot(page, "outputs-notebook")

    for name in ("page.html", "drawing.svg"):
        await chosen(page, name)
        await expect(preview.locator("pre")).to_contain_text("<script>")

    await page.locator("#output-tree summary", has_text="checkpoints/").click()
    await page.locator("#output-tree summary", has_text="epoch-1/").click()
    await chosen(page, "model.pt")
    await expect(preview).to_contain_text("There is no preview of such a file")
    await page.locator("#output-notes-title").click()
    await expect(page.locator("#output-notes-list")).to_contain_text("links are not kept")
    await page.locator("#outputs").scroll_into_view_if_needed()
    await shoot(page, "outputs-tree")

    # A file that is opened by itself runs nothing, whatever its name is.
    html = await page.context.new_page()
    await html.goto(f"{stack.url}/api/v1/jobs/{job}/outputs/page.html?inline=1")
    assert await html.title() != "owned"
    await html.close()
    assert not dialogs
    async with page.expect_download() as waiting:
        await page.click("#output-all")
    download = await waiting.value
    assert download.suggested_filename == f"{job}.1.zip"


async def test_a_job_without_outputs_has_no_such_section(page: Page, tmp_path: Path) -> None:
    await submit(page, zip_of(tmp_path / "none.zip", main__py="print('nothing')"))
    await expect(page.locator("#state")).to_have_text("succeeded", timeout=SHORT)
    await expect(page.locator("#outputs")).to_be_hidden()


async def test_outputs_on_a_phone(page: Page, tmp_path: Path, shoot: Shoot) -> None:
    await page.set_viewport_size({"width": 390, "height": 844})
    await submit(page, zip_of(tmp_path / "phone.zip", main__py=MANY))
    await expect(page.locator("#output-tree li")).to_have_count(30, timeout=SHORT)
    await page.locator("#outputs").scroll_into_view_if_needed()
    await shoot(page, "outputs-phone")
    fits = "(one) => one.getBoundingClientRect().right <= innerWidth"
    assert await page.locator("#outputs").evaluate(fits)
