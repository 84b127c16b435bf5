"""How does what lies elsewhere get onto this machine, once, and is it still the same?"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import secrets
import shutil
import signal
import sys
import time
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from agent.caches import COMPLETE
from agent.data_rules import DataRules, NoData, begin_line, done_line, progress_line
from agent.disk import DiskBounds, free_bytes
from schemas.data import DataMount
from schemas.reason import Reason

log = logging.getLogger(__name__)

BOOT = "import sys; sys.path.insert(0, sys.argv[1]); from agent import data_program as p; p.main()"
STALL_SECONDS = 180.0
"""How long it may say nothing; listing a large bucket takes a while."""
TELL_EVERY = 5.0
KEY, SECRET, TOKEN = "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"
REGIONS, ENDPOINTS = (
    ("AWS_REGION", "AWS_DEFAULT_REGION"),
    ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"),
)
AUTHORIZATION = "STOKER_DATA_AUTHORIZATION"
"""A job's variable, or secret: the header ``Authorization`` of what comes by https."""
QUIET = {
    # It would be asked for the machine's own rights.
    "AWS_EC2_METADATA_DISABLED": "true",
    # A program of its own, on which the guard of addresses has no hold.
    "HF_HUB_DISABLE_XET": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1",
}


Line = dict[str, Any]
Room = Callable[[DataMount, int], Awaitable[None]]


class External:
    """One source, for one user. Each state of it has a folder of its own: jobs use the ones before.

    ``<key>-<start of its fingerprint>``, with ``complete`` in it once it is whole.
    """

    def __init__(
        self, mount: DataMount, root: Path, key: str, variables: Mapping[str, str], rules: DataRules
    ) -> None:
        self._mount = mount
        self._root = root
        self._key = key
        self._variables = variables
        self._rules = rules

    async def settled(self, make_room: Room, say: Callable[[str], None]) -> Path:
        """The folder with what is there now; where nobody can tell, with what was there last.

        Raises ``NoData``.
        """
        try:
            return await self._settled(make_room, say)
        except NoData as error:
            last = await asyncio.to_thread(self._last)
            if last is None or error.reason is Reason.DISK_FULL:
                raise
            say(f"data {self._mount.text}: as it was before, for now it cannot be had: {error}")
            return last

    async def _settled(self, make_room: Room, say: Callable[[str], None]) -> Path:
        async with self._child() as child:
            found = await self._line(child)
            folder = self._root / f"{self._key}-{found['fingerprint'][:16]}"
            if (folder / COMPLETE).exists():
                os.utime(folder / COMPLETE)
                say(f"data {self._mount.text}: cached, at {self._mount.path}")
                return folder
            say(begin_line(self._mount, found["size"], found["files"]))
            await make_room(self._mount, found["size"])
            folder.mkdir(mode=0o755, exist_ok=True)
            room = max(0, free_bytes(self._root) - 2 * DiskBounds().floor)
            try:
                await send(child, {"folder": str(folder / "files"), "most": room})
                await self._follow(child, folder, found["size"], say)
            except BaseException:
                # What grew without end must not keep the disk full until the next cleaning.
                await asyncio.shield(asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True))
                raise
            return folder

    async def _follow(
        self, child: Process, folder: Path, size: int, say: Callable[[str], None]
    ) -> None:
        begun = told_at = time.monotonic()
        while "end" not in (words := await self._line(child)):
            now = time.monotonic()
            if now - told_at >= TELL_EVERY:
                told_at = now
                say(progress_line(self._mount, words["done"], size, now - begun))
        (folder / COMPLETE).write_text(str(words["end"]))
        say(done_line(self._mount, words["end"], time.monotonic() - begun))

    def _last(self) -> Path | None:
        marks = list(self._root.glob(f"{self._key}-*/complete"))
        newest = max(marks, key=lambda mark: mark.stat().st_mtime, default=None)
        return newest.parent if newest else None

    @contextlib.asynccontextmanager
    async def _child(self) -> AsyncIterator[Process]:
        home = self._root / f"home-{secrets.token_hex(8)}"
        home.mkdir(mode=0o700)
        child = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-c", BOOT, str(Path(__file__).resolve().parent.parent)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,
            env={"PATH": os.defpath, "HOME": str(home), **QUIET},
            limit=1 << 20,
        )
        try:
            await send(child, self._asked())
            yield child
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            await child.wait()
            await asyncio.to_thread(shutil.rmtree, home, ignore_errors=True)

    async def _line(self, child: Process) -> Line:
        """The next one. Raises ``NoData`` for an error, an end and a silence."""
        assert child.stdout is not None
        try:
            async with asyncio.timeout(STALL_SECONDS):
                line = await child.stdout.readline()
        except TimeoutError:
            raise NoData(f"{self._mount.text}: nothing came for {STALL_SECONDS:.0f} s") from None
        if not line:
            raise NoData(f"{self._mount.text}: what fetches it ended without a word")
        words: Line = json.loads(line)
        if "error" in words:
            raise NoData(f"{self._mount.text}: {words['error']}")
        return words

    def _asked(self) -> Line:
        return {
            "source": self._mount.source,
            "private": bool(self._rules.sources),
            "options": options(self._mount, self._variables, self._rules),
        }


async def send(child: Process, words: Line) -> None:
    assert child.stdin is not None
    child.stdin.write(json.dumps(words).encode() + b"\n")
    with contextlib.suppress(ConnectionError):  # it died: that is heard where it answers
        async with asyncio.timeout(STALL_SECONDS):
            await child.stdin.drain()


def options(mount: DataMount, variables: Mapping[str, str], rules: DataRules) -> dict[str, Any]:
    """For the library: who asks. Nothing of the worker's own goes along. Pure."""
    match mount.scheme:
        case "s3":
            return s3_options(variables, rules)
        case "hf":
            return {"token": variables.get("HF_TOKEN") or False}
    header = variables.get(AUTHORIZATION)
    return {"client_kwargs": {"headers": {"Authorization": header}}} if header else {}


def s3_options(variables: Mapping[str, str], rules: DataRules) -> dict[str, Any]:
    given = {"key": KEY, "secret": SECRET, "token": TOKEN}
    found: dict[str, Any] = {
        name: variables[variable] for name, variable in given.items() if variables.get(variable)
    }
    found["anon"] = "key" not in found
    region = next((variables[name] for name in REGIONS if variables.get(name)), "")
    if region:
        found["client_kwargs"] = {"region_name": region}
    # Where private addresses are allowed, nobody but the worker's admin says which.
    own = "" if rules.sources else next((variables[n] for n in ENDPOINTS if variables.get(n)), "")
    if endpoint := rules.s3_endpoint or own:
        found["endpoint_url"] = endpoint
    return found
