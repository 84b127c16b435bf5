"""From the first link to signing out, and what a guest sees: as people click it."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from playwright.async_api import Browser, BrowserContext, Page, expect

from bus.connection import Bus
from stoker.stack import Stack
from tests.browser.conftest import Shoot, note_complaint
from tests.browser.log_tools import SHORT, submit, zip_of
from tests.integration.signed_in import town
from ui.rounds import Rounds

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

PASSWORD = "four words that fit"
HELLO = "print('hello from the job', flush=True)\n"


@asynccontextmanager
async def person(
    browser: Browser, stack: Stack, *, phone: bool = False, dark: bool = False
) -> AsyncIterator[Page]:
    """A browser of their own; what its console complains of fails the test."""
    context: BrowserContext = await browser.new_context(
        base_url=stack.url,
        viewport={"width": 390, "height": 844} if phone else {"width": 1280, "height": 860},
        color_scheme="dark" if dark else "light",
    )
    await context.grant_permissions(["clipboard-read", "clipboard-write"])
    page = await context.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: note_complaint(message, complaints))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    try:
        yield page
        assert not complaints
    finally:
        await context.close()


async def by_link(page: Page, link: str) -> None:
    await page.goto(link)
    await page.click("#use-link")
    await page.wait_for_url(re.compile(r"/account"), timeout=SHORT)


async def by_password(page: Page, name: str, password: str = PASSWORD) -> None:
    await page.fill("input[name=name]", name)
    await page.fill("#by-password input[name=password]", password)
    await page.click("#enter")


async def set_password(page: Page) -> None:
    await page.fill("#password-form input[name=new]", PASSWORD)
    await page.click("#password-save")
    await expect(page.locator("#toasts")).to_contain_text("The password is set", timeout=SHORT)


async def sign_out(page: Page) -> None:
    await page.click("#user-menu summary")
    await page.click("#sign-out")
    await page.wait_for_url(re.compile(r"/sign-in$"), timeout=SHORT)


async def test_from_the_first_link_to_signing_out(
    browser: Browser, stack: Stack, tmp_path: Path, shoot: Shoot
) -> None:
    link, name = stack.welcome.link, stack.welcome.user
    async with person(browser, stack) as page:
        await page.goto("/workers")
        await expect(page).to_have_url(re.compile(r"/sign-in\?next=/workers"))
        await shoot(page, "sign-in")

        await page.goto(link)  # As a preview of links does: without a click nothing is used up.
        await expect(page.locator("#link-text")).to_contain_text(f"as {name}:")
        assert "link=" not in page.url
        await shoot(page, "sign-in-by-link")
        await by_link(page, link)
        await expect(page.locator("#account-name")).to_have_text(name)
        await set_password(page)
        await expect(page.locator("#sessions li")).to_have_count(1)
        await shoot(page, "account")

        await submit(page, zip_of(tmp_path / "hello.zip", main__py=HELLO))
        await expect(page.locator("#state")).to_have_text("succeeded", timeout=SHORT * 4)
        job = page.url.rsplit("/", 1)[1]
        await page.click("#share")
        await page.click("#share-make")
        await expect(page.locator("#share-link")).to_contain_text("/shared/")
        await expect(page.locator("#shares li")).to_have_count(1)
        await page.click("#share-copy")
        shared = await page.evaluate("navigator.clipboard.readText()")
        await shoot(page, "share")

        async with person(browser, stack) as guest:
            await sees_the_job_alone(guest, shared, job)
            await shoot(guest, "guest")
            await page.click("#shares button")
            await expect(page.locator("#shares li")).to_have_count(0)
            await guest.goto(shared)
            await expect(guest.locator("h1")).to_have_text("This link shows nothing")

        await page.keyboard.press("Escape")
        await sign_out(page)
        await page.go_back()
        await expect(page).to_have_url(re.compile(r"/sign-in"))
        await page.goto("/sign-in?next=/workers")
        await by_password(page, name)
        await expect(page).to_have_url(re.compile(r"/workers$"), timeout=SHORT)


async def sees_the_job_alone(guest: Page, shared: str, job: str) -> None:
    await guest.goto(shared)
    await expect(guest).to_have_url(re.compile(rf"/jobs/{job}$"))
    await expect(guest.locator("#state")).to_have_text("succeeded")
    await expect(guest.locator(".log-rows").first).to_contain_text("hello from the job")
    await expect(guest.locator("#guest-note")).to_be_visible()
    for gone in ("nav", "#share", "#user-menu", "#retry", "#cancel", "#clone"):
        await expect(guest.locator(gone)).not_to_be_visible()
    await guest.goto("/")
    await expect(guest).to_have_url(re.compile(r"/sign-in$"))
    await guest.goto(f"/jobs/{job}")
    await expect(guest.locator(".log-rows").first).to_contain_text("hello from the job")


async def test_a_link_counts_where_the_page_to_sign_in_is_open_already(
    browser: Browser, stack: Stack
) -> None:
    """The browser does not load it anew: only what stands behind the # has changed."""
    async with person(browser, stack) as page:
        await page.goto("/sign-in")
        await by_link(page, stack.welcome.link)


async def test_an_admin_lets_a_viewer_in(
    browser: Browser, stack: Stack, tmp_path: Path, shoot: Shoot
) -> None:
    async with person(browser, stack, dark=True) as page, person(browser, stack) as other:
        await by_link(page, stack.welcome.link)
        await page.goto("/people")
        await page.fill("#add-form input[name=name]", "vera")
        await page.select_option("#add-form select[name=role]", "viewer")
        await page.fill("#add-form input[name=teams]", "Vision, speech")
        await page.click("#add")
        await expect(page.locator("#link-secret")).to_contain_text("/sign-in#link=vera.")
        await expect(page.locator("[data-person=vera]")).to_contain_text("no password yet")
        await expect(page.locator("[data-person=vera] input")).to_have_value("speech, vision")
        await shoot(page, "people-dark")

        link = await page.locator("#link-secret").text_content()
        assert link is not None
        await by_link(other, link)
        await other.goto("/")
        await expect(other.locator("#drop")).not_to_be_visible()
        await expect(other.locator("#empty")).to_have_text("No jobs yet.")
        await other.goto("/people")
        await expect(other.locator("h1")).to_have_text("You may not see this page")
        await other.goto("/workers")
        await expect(other.locator(".worker")).to_have_count(1)
        await expect(other.locator("[data-drain]")).to_have_count(0)

        await page.select_option("[data-person=vera] select", "member")
        await expect(page.locator("#toasts")).to_contain_text("vera is changed")
        await page.locator("[data-person=vera] button.danger").click()
        await page.locator("[data-person=vera] button.sure").click()
        await expect(page.locator("[data-person=vera]")).to_have_count(0)
        await other.wait_for_url(
            re.compile(r"/sign-in\?next=%2Fworkers|/sign-in\?next=/workers"), timeout=SHORT * 2
        )


async def test_a_token_is_shown_once_and_revoked(
    browser: Browser, stack: Stack, shoot: Shoot
) -> None:
    async with person(browser, stack) as page:
        await by_link(page, stack.welcome.link)
        await page.goto("/account")
        await page.click("#token-make")
        await expect(page.locator("#tokens-error")).to_contain_text("what the token is for")
        await page.fill("#token-form input[name=name]", "laptop")
        await page.select_option("#token-form select[name=scope]", "viewer")
        await page.click("#token-make")
        await expect(page.locator("#token-secret")).to_contain_text("stk_")
        secret = await page.locator("#token-secret").text_content()
        assert secret is not None
        await expect(page.locator("#token-rows")).to_contain_text("laptop")
        await shoot(page, "token")
        bearer = {"Authorization": f"Bearer {secret}"}
        answer = await page.request.get("/api/v1/jobs", headers=bearer)
        assert answer.status == 200
        await page.reload()
        await expect(page.locator("#token-rows")).to_contain_text("laptop")
        assert secret not in await page.content()
        await page.get_by_role("button", name="Revoke laptop").click()
        await expect(page.locator("#token-rows tr", has_text="laptop")).to_have_count(0)


async def test_who_guesses_is_told_to_wait(browser: Browser, stack: Stack, shoot: Shoot) -> None:
    async with person(browser, stack, phone=True) as page:
        await page.goto("/sign-in")
        await page.click("#enter")
        await expect(page.locator("#sign-in-error")).to_contain_text("Write your name")
        for _ in range(12):
            await by_password(page, "nobody-here", "wrong")
            await expect(page.locator("#sign-in-error")).to_be_visible(timeout=SHORT)
            if "Try again in" in (await page.locator("#enter").text_content() or ""):
                break
        await expect(page.locator("#enter")).to_contain_text("Try again in")
        await expect(page.locator("#enter")).to_be_disabled()
        await shoot(page, "throttled-phone")


async def test_the_pages_fit_a_phone(browser: Browser, stack: Stack, shoot: Shoot) -> None:
    async with person(browser, stack, phone=True, dark=True) as page:
        await by_link(page, stack.welcome.link)
        for path in ("/account", "/people"):
            await page.goto(path)
            await expect(page.locator("tbody tr").first).to_be_visible()
            await shoot(page, f"phone{path.replace('/', '-')}")
            wide = "document.documentElement.scrollWidth > innerWidth"
            assert not await page.evaluate(wide), f"{path} is wider than a phone"
        await page.click("#user-menu summary")
        await shoot(page, "phone-menu")


async def test_a_page_whose_session_ended_leads_to_the_sign_in(browser: Browser, bus: Bus) -> None:
    """The list asks for nothing while it is open: its line is what tells it."""
    async with town(bus) as place:
        await place.person("ann")
        context = await browser.new_context(base_url=place.url)
        page = await context.new_page()
        await by_link(page, f"{place.url}/sign-in#link={await place.link('ann')}")
        async with page.expect_websocket() as opening:
            await page.goto("/?show=failed")
        await (await opening.value).wait_for_event("framereceived")
        (cookie,) = await context.cookies()
        headers = {"Cookie": f"stoker={cookie['value']}", "Origin": place.url}
        assert (await place.send("POST", "/api/v1/sign-out", headers))[0] == 204
        await Rounds(place.app).once()
        await expect(page).to_have_url(re.compile(r"/sign-in\?next=.*show.*failed"), timeout=SHORT)
        await context.close()
