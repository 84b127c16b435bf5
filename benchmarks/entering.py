"""How does a browser sign in where only a token is known?"""

from __future__ import annotations

from playwright.async_api import APIResponse, BrowserContext


async def enter(context: BrowserContext, url: str, token: str | None) -> None:
    """As whoever the token is of: by a one-time link, as a person would."""
    who = {"Authorization": f"Bearer {token}"}
    ask = context.request
    user = (await good(await ask.get(f"{url}/api/v1/me", headers=who)))["name"]
    made = await ask.post(f"{url}/api/v1/people/{user}/link", headers=who, data={})
    link = str((await good(made))["link"]).partition("link=")[2]
    await good(await ask.post(f"{url}/api/v1/sign-in", data={"link": link}))


async def good(answer: APIResponse) -> dict[str, object]:
    if not answer.ok:
        raise RuntimeError(f"{answer.url}: {answer.status} {await answer.text()}")
    return dict(await answer.json())
