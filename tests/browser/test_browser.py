"""Does a person in front of a browser see what they should?"""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, expect

from benchmarks.entering import enter
from stoker.stack import Stack
from tests.browser.conftest import ROOT, Shoot
from tests.browser.log_tools import SHORT, submit, zip_of

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

LONG = 120_000
"""Milliseconds; the first training on a machine installs its requirements."""
TEXT = """() => {
  const { store } = document.getElementById("log").log.first;
  const lines = [];
  for (let n = 1; n <= store.total; n += 1) lines.push(store.get(n)?.text ?? "(not loaded)");
  return lines.join("\\n").replaceAll(/\\x1b\\[[0-9;:]*m/g, "").trimEnd();
}"""
"""The rows that the page has by now."""
MARKED = """(words) => {
  const box = document.querySelector(".log-scroll").getBoundingClientRect();
  const marked = [...document.querySelectorAll(".log-rows .marked")];
  return marked.length > 0 && marked.every((line) => {
    const { top, bottom } = line.getBoundingClientRect();
    return top >= box.top - 1 && bottom <= box.bottom + 1;
  }) && marked.some((line) => line.text.textContent.startsWith(words));
}"""
"""Whether the rows that a link names are in view, and one of them begins with the words."""
COUNTER = """
import sys, time
for number in range({lines}):
    print(f"line {{number}}", flush=True)
    time.sleep({pause})
print("the end")
"""


def zipped(folder: Path, target: Path) -> Path:
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.iterdir()):
            archive.write(path, path.name)
    return target


async def text_has(page: Page, words: str, timeout: float = SHORT) -> str:
    await page.wait_for_function(
        f"(words) => ({TEXT})().includes(words)", arg=words, timeout=timeout
    )
    return str(await page.evaluate(TEXT))


async def test_digits_from_the_upload_to_the_end(page: Page, tmp_path: Path, shoot: Shoot) -> None:
    bundle = zipped(ROOT / "examples" / "digits", tmp_path / "digits.zip")
    await page.goto("/")
    await page.set_input_files("#zip-input", bundle)
    await expect(page.locator("#bundle-facts")).to_contain_text("3 files")
    await expect(page.locator("#files")).to_contain_text("requirements.txt")
    await shoot(page, "1-before-sending")
    await page.click("#send")
    await page.wait_for_url(re.compile(r"/jobs/"), timeout=SHORT)

    await text_has(page, "epoch  3/", LONG)
    await shoot(page, "2-training")
    await page.reload()
    text = await text_has(page, "epoch  6/", LONG)
    assert text.count("Reading the digits") == 1, "the whole log is there after a reload"
    await shoot(page, "3-after-a-reload")

    await expect(page.locator("#state")).to_have_text("succeeded", timeout=LONG)
    text = await text_has(page, "saved to", SHORT)
    for epoch in range(1, 31):
        assert len(re.findall(rf"^epoch +{epoch}/30 ", text, re.MULTILINE)) == 1
    assert "succeeded" in await page.title()
    await expect(page.locator("#reason")).to_contain_text("exit code 0")
    await expect(page.locator("#live")).to_have_text("complete")
    await shoot(page, "4-the-end")


async def test_a_page_that_was_offline_catches_up(page: Page, tmp_path: Path, shoot: Shoot) -> None:
    code = COUNTER.format(lines=80, pause=0.05)
    await submit(page, zip_of(tmp_path / "count.zip", main__py=code))
    await text_has(page, "line 5\n")
    await page.context.set_offline(True)
    await expect(page.locator("#live")).to_have_text("connecting again…")
    await shoot(page, "offline")
    await page.wait_for_timeout(1500)
    await page.context.set_offline(False)
    text = await text_has(page, "the end")
    lines = [line for line in text.splitlines() if line.startswith("line ")]
    assert lines == [f"line {number}" for number in range(80)]
    await expect(page.locator("#state")).to_have_text("succeeded")


async def test_a_folder_is_packed_in_the_browser(page: Page, tmp_path: Path, shoot: Shoot) -> None:
    folder = tmp_path / "project"
    for name in ("package", ".git", "runs", "package/data"):
        (folder / name).mkdir(parents=True)
    (folder / ".git" / "config").write_text("not to be sent")
    (folder / ".gitignore").write_text("runs/\n*.log\ndata\n")
    (folder / "package" / ".stokerignore").write_text("!data/\nsecret.txt\n")
    for name in ("runs/1", "runs/2", "a.log", "package/data/x", "package/secret.txt"):
        (folder / name).write_text("x")
    (folder / "package" / "__init__.py").write_text("WORD = 'packed'\n")
    (folder / "train.py").write_text("import sys, package\nprint(package.WORD, sys.argv[1:])\n")
    await page.goto("/")
    await page.set_input_files("#folder-input", folder)
    await expect(page.locator("#bundle-facts")).to_contain_text("5 files")
    notes = page.locator("#bundle-notes")
    await expect(notes).to_contain_text("Left out: 4 files or folders")
    for told in (
        ".git/ (never wanted)",
        "runs/ (.gitignore)",
        "a.log (.gitignore)",
        "package/secret.txt (package/.stokerignore)",
    ):
        await expect(notes).to_contain_text(told)
    await shoot(page, "left-out")
    await expect(page.locator("#entry")).to_have_value("train.py")
    await page.fill("input[name=arguments]", "--note 'two words'")
    await page.click("#send")
    await page.wait_for_url(re.compile(r"/jobs/"), timeout=SHORT)
    await text_has(page, "packed ['--note', 'two words']")


async def test_a_refusal_names_the_field(page: Page, tmp_path: Path, shoot: Shoot) -> None:
    await page.goto("/")
    await page.set_input_files("#zip-input", zip_of(tmp_path / "a.zip", main__py="print(1)"))
    await page.click("#more summary")
    await page.fill("input[name=memory]", "-5")
    await page.click("#send")
    await expect(page.locator("#submit-error")).to_contain_text("is not a size")
    await expect(page.locator("input[name=memory]")).to_have_attribute("aria-invalid", "true")
    await shoot(page, "refused")
    await page.fill("input[name=memory]", "512m")
    await page.click("#send")
    await page.wait_for_url(re.compile(r"/jobs/"), timeout=SHORT)


async def test_cancel_asks_twice_and_the_list_follows(page: Page, tmp_path: Path) -> None:
    code = COUNTER.format(lines=2000, pause=0.05)
    listing = await page.context.new_page()
    await listing.goto("/")
    await submit(page, zip_of(tmp_path / "count.zip", main__py=code))
    await text_has(page, "line 2\n")
    await expect(listing.locator("#rows .chip").first).to_have_text("running")
    await page.click("#cancel")
    await expect(page.locator("#cancel")).to_have_text("Press again to cancel")
    await page.click("#cancel")
    await expect(page.locator("#state")).to_have_text("cancelled", timeout=SHORT)
    await expect(listing.locator("#rows .chip").first).to_have_text("cancelled")
    await expect(listing.locator("#filters")).to_contain_text("cancelled 1")


async def test_colours_progress_bars_and_odd_characters(page: Page, tmp_path: Path) -> None:
    code = (
        "import sys, time\n"
        "for i in range(101):\n"
        "    sys.stderr.write(f'\\rstep {i:3d} %'); sys.stderr.flush(); time.sleep(0.002)\n"
        "print()\n"
        "sys.stdout.buffer.write('漢字 ü\\n'.encode()); sys.stdout.flush()\n"
        "print('\\033[31mred\\033[0m plain')\n"
        "print('x' * 3000)\n"
    )
    await submit(page, zip_of(tmp_path / "bars.zip", main__py=code))
    await expect(page.locator("#live")).to_have_text("complete", timeout=SHORT)
    text = str(await page.evaluate(TEXT))
    assert len(re.findall(r"step +\d+ %", text)) == 1, "a bar stays one line"
    assert "step 100 %" in text
    assert "漢字 ü" in text
    assert "red plain" in text
    assert "x" * 3000 in text


async def test_search_follow_and_keys(page: Page, tmp_path: Path, shoot: Shoot) -> None:
    code = COUNTER.format(lines=3000, pause=0.0005)
    await submit(page, zip_of(tmp_path / "count.zip", main__py=code))
    await text_has(page, "the end")
    await page.locator("#name").click()
    await page.keyboard.press("t")
    await expect(page.locator(".jump")).to_be_visible()
    await page.keyboard.press("/")
    await page.keyboard.type("line 2999")
    await expect(page.locator("#hits")).to_have_text("1 of 1")
    await expect(page.locator(".hit mark")).to_have_text("line 2999")
    await shoot(page, "search")
    await page.keyboard.press("Escape")
    await page.keyboard.press("g")
    await expect(page.locator(".jump")).to_be_hidden()
    await page.keyboard.press("?")
    await expect(page.locator("#help")).to_be_visible()
    await page.keyboard.press("Escape")
    await expect(page.locator("#help")).to_be_hidden()
    await page.keyboard.press("f")
    await expect(page.locator("#log")).to_have_class(re.compile("full"))
    await shoot(page, "full")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
async def test_every_page_fits(
    browser: Browser,
    stack: Stack,
    page: Page,
    shoot: Shoot,
    tmp_path: Path,
    scheme: str,
    width: int,
) -> None:
    await submit(page, zip_of(tmp_path / "one.zip", main__py="print(1)"))
    await expect(page.locator("#state")).to_have_text("succeeded", timeout=SHORT)
    job = page.url
    context = await browser.new_context(
        base_url=stack.url,
        viewport={"width": width, "height": 844},
        color_scheme="dark" if scheme == "dark" else "light",
    )
    await enter(context, stack.url, stack.welcome.token)
    looked = await context.new_page()
    for name, path in (("home", "/"), ("job", job), ("workers", "/workers"), ("api", "/api")):
        await looked.goto(path)
        await looked.wait_for_load_state("networkidle")
        over = await looked.evaluate("document.scrollingElement.scrollWidth - innerWidth")
        assert over <= 0, f"{name} is {over} pixels too wide"
        await shoot(looked, f"{name}-{scheme}-{width}")
    await context.close()


async def test_the_sample_is_one_click_and_a_clone_keeps_the_bundle(
    page: Page, tmp_path: Path
) -> None:
    await page.goto("/")
    await page.select_option("#samples", "hello")
    await page.click("#run-sample")
    await page.wait_for_url(re.compile(r"/jobs/"), timeout=SHORT)
    await expect(page.locator("#state")).to_have_text("succeeded", timeout=SHORT)
    first = page.url
    await page.click("#clone")
    await expect(page.locator("#bundle-facts")).to_contain_text("nothing to send")
    await page.fill("input[name=name]", "edited")
    await page.click("#send")
    await page.wait_for_url(re.compile(r"/jobs/"), timeout=SHORT)
    assert page.url != first
    await expect(page.locator("#name")).to_have_text("edited")
    await expect(page.locator("#state")).to_have_text("succeeded", timeout=SHORT)
    link = page.locator("#reproduce a")
    await expect(link).to_have_attribute("href", f"/jobs/{first.rsplit('/', 1)[-1]}")
    command = f"stoker submit --like {page.url.rsplit('/', 1)[-1]}"
    await expect(page.locator("#reproduce-command")).to_contain_text(command)
    await page.click("#retry")
    await expect(page.locator("#reproduce")).to_contain_text("Repeats")


async def test_a_secret_is_shown_to_nobody_and_a_clone_keeps_it(page: Page) -> None:
    await page.goto("/")
    await page.select_option("#samples", "hello")
    await page.click("#run-sample")
    await page.wait_for_url(re.compile(r"/jobs/"), timeout=SHORT)
    await page.click("#clone")
    await expect(page.locator("#bundle-facts")).to_contain_text("nothing to send")
    for value in ("API_KEY=abcdef0123", "API_KEY=•••"):
        before = page.url
        environment = page.locator("textarea[name=environment]")
        if value.endswith("•"):
            await expect(environment).to_have_value(value)
        await environment.fill(value)
        await page.click("#send")
        await page.wait_for_url(re.compile(r"/jobs/"), timeout=SHORT)
        assert page.url != before
        await expect(page.locator("#asked")).to_contain_text("API_KEY=•••")
        await page.click("#clone")
        await expect(page.locator("#bundle-facts")).to_contain_text("nothing to send")


async def test_a_job_that_does_not_exist_says_so(page: Page) -> None:
    await page.goto("/jobs/0d4k8q2m-7xv3")
    await expect(page.locator("#reason")).to_contain_text("There is no job")
    await page.goto("/jobs/nonsense")
    await expect(page.locator("h1")).to_contain_text("There is no job")


async def test_a_worker_is_drained_from_its_page(page: Page, shoot: Shoot) -> None:
    await page.goto("/workers")
    await expect(page.locator("#no-sandbox")).to_contain_text("No sandbox")
    await page.get_by_role("button", name="Drain").click()
    await expect(page.locator(".presence")).to_have_text("draining")
    await page.get_by_role("button", name="Take jobs again").click()
    await expect(page.locator(".presence")).to_have_text("online")


FAILING = """
import sys
sys.stdout = sys.stderr  # two pipes have no order in common
for number in range(1000):
    print("row", number)
try:
    {}["x"]
except KeyError:
    import traceback
    traceback.print_exc()
print("KeyError: 'not this one'", flush=True)
for number in range(200):
    print("column", number, flush=True)
class Loader:
    def __del__(self): raise BrokenPipeError("<b>closed</b>")
loader = Loader()
raise ValueError("<i>7</i> is no shape")
"""


async def test_the_lines_that_say_why_are_quoted_and_lead_to_their_place(
    page: Page, tmp_path: Path, shoot: Shoot
) -> None:
    await submit(page, zip_of(tmp_path / "fails.zip", main__py=FAILING))
    await expect(page.locator("#state")).to_have_text("failed", timeout=SHORT)
    quote = page.locator("#quote-lines")
    await expect(quote).to_contain_text("ValueError: <i>7</i> is no shape")
    assert (await quote.inner_text()).startswith("Traceback (most recent call last):")
    assert "BrokenPipe" not in await quote.inner_text()
    await text_has(page, "BrokenPipe")
    for _ in range(2):  # as it was watched, and after a reload
        await page.keyboard.press("t")
        await page.click("#quote-place")
        await page.wait_for_function(MARKED, arg="ValueError: <i>7</i> is no shape")
        await shoot(page, "quote")
        await page.reload()
        await expect(page.locator("#quote-place")).to_be_visible()


async def test_a_quote_leads_to_the_attempt_that_it_is_of(page: Page, tmp_path: Path) -> None:
    code = "import os\nraise ValueError('attempt ' + os.environ['STOKER_ATTEMPT'])\n"
    await page.goto("/")
    await page.set_input_files("#zip-input", zip_of(tmp_path / "twice.zip", main__py=code))
    await page.click("#more summary")
    await page.fill("input[name=retries]", "1")
    await page.click("#send")
    await page.wait_for_url(re.compile(r"/jobs/"), timeout=SHORT)
    await expect(page.locator("#state")).to_have_text("failed", timeout=SHORT)
    await expect(page.locator("#quote-lines")).to_contain_text("ValueError: attempt 2")
    await page.get_by_role("button", name="Attempt 1").click()
    await text_has(page, "ValueError: attempt 1")
    await page.click("#quote-place")
    await page.wait_for_function(MARKED, arg="ValueError: attempt 2")
    await expect(page.locator("#quote-place")).to_have_text("Show in the log of attempt 2")
