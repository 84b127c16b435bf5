"""How does a test get a real provider? From the lock file beside this, once a machine."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from html import unescape
from pathlib import Path
from urllib.parse import urljoin

import aiohttp
from yarl import URL

HERE = Path(__file__).resolve().parent
CACHE = HERE.parents[1] / ".cache" / "oidc"
FILES = ("package.json", "package-lock.json", "provider.mjs")
INSTALL_SECONDS = 240
START_SECONDS = 60
CLIENT, SECRET = "stoker", "a secret & 100% more: +"
FORM = re.compile(r'<form[^>]*action="([^"]+)"')
PROMPT = re.compile(r'name="prompt" value="([^"]+)"')
MOST_STEPS = 15


def installed() -> Path:
    """The folder with the provider and all that it needs; several tests may ask at one time."""
    digest = hashlib.sha256(b"".join((HERE / name).read_bytes() for name in FILES)).hexdigest()
    target = CACHE / digest[:16]
    if target.is_dir():
        return target
    CACHE.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(dir=CACHE))
    for name in FILES:
        shutil.copy(HERE / name, made / name)
    command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"]
    subprocess.run(command, cwd=made, check=True, timeout=INSTALL_SECONDS)
    try:
        made.rename(target)
    except OSError:  # Somebody was faster.
        shutil.rmtree(made)
    return target


@dataclass(frozen=True, slots=True)
class RunningProvider:
    issuer: str


@contextlib.asynccontextmanager
async def provider(port: int, back: str, host: str = "127.0.0.1") -> AsyncIterator[RunningProvider]:
    """Until the context is left; ``back`` is where it may send browsers."""
    folder = await asyncio.to_thread(installed)
    process = await asyncio.create_subprocess_exec(
        "node",
        "provider.mjs",
        host,
        str(port),
        CLIENT,
        SECRET,
        back,
        cwd=folder,
        env={**os.environ, "NODE_NO_WARNINGS": "1"},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(START_SECONDS):
            line = (await process.stdout.readline()).decode()
        assert line.startswith("listening "), line
        yield RunningProvider(line.split()[1])
    finally:
        process.kill()
        await process.wait()


async def sign_in_there(browser: aiohttp.ClientSession, address: str, login: str) -> URL:
    """What a person does on the provider's pages; gives where it sends them back to."""
    method, body = "GET", None
    for _ in range(MOST_STEPS):
        async with browser.request(method, address, data=body, allow_redirects=False) as answer:
            text = await answer.text()
            here, moved = str(answer.url), answer.headers.get("Location")
        if moved is not None:
            address, method, body = urljoin(here, moved), "GET", None
            if URL(address).path.startswith("/sign-in"):
                return URL(address, encoded=True)
            continue
        form, prompt = FORM.search(text), PROMPT.search(text)
        assert form is not None, text[-800:]
        assert prompt is not None, text[-800:]
        address, method = urljoin(here, unescape(form[1])), "POST"
        body = {"prompt": prompt[1], "login": login, "password": "whatever"}
    raise AssertionError("the provider never came to an end")
