"""How is a real ``stoker up`` started for one measurement, and what does it consist of?"""

from __future__ import annotations

import asyncio
import io
import json
import os
import shutil
import signal
import socket
import sys
import tempfile
import zipfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import docker
import psutil

from benchmarks.floors import PROGRAM
from benchmarks.processes import family
from benchmarks.table import RESULTS

ROOT = Path(__file__).resolve().parent.parent
BASE_IMAGE = "STOKER_BASE_IMAGE"
LOCAL_IMAGE = "stoker-base:local"
READY = 30.0
"""Seconds that a stack may take until it is ready and its worker has been heard."""


@dataclass(frozen=True, slots=True)
class Stack:
    """A running ``stoker up`` in a folder of its own."""

    url: str
    nats: str
    folder: Path
    pid: int
    http: aiohttp.ClientSession

    @property
    def token(self) -> str:
        """Of who started it."""
        return token_of(self.folder)

    @property
    def admin(self) -> Path:
        """The credentials of who may do everything on its bus."""
        return self.folder / "identities" / "admin.creds"

    def processes(self) -> list[psutil.Process]:
        return family([self.pid], self.folder)

    async def get(self, path: str) -> Any:
        async with self.http.get(self.url + path) as answer:
            answer.raise_for_status()
            return await answer.json()

    async def upload(self, bundle: bytes, spec: dict[str, Any]) -> dict[str, Any]:
        """Submits a zip; the answer's ``job``."""
        form = aiohttp.FormData()
        form.add_field("spec", json.dumps(spec), content_type="application/json")
        form.add_field("bundle", bundle, filename="bench.zip", content_type="application/zip")
        return await self.post(form)

    async def submit(self, bundle: str, spec: dict[str, Any]) -> dict[str, Any]:
        """Submits a bundle that is stored already."""
        async with self.http.post(
            self.url + "/api/v1/jobs", json={"spec": spec, "bundle": bundle}
        ) as answer:
            return await job_of(answer)

    async def post(self, form: aiohttp.FormData) -> dict[str, Any]:
        async with self.http.post(self.url + "/api/v1/jobs", data=form) as answer:
            return await job_of(answer)

    async def ended(self, job: str, seconds: float = 60) -> dict[str, Any]:
        async with asyncio.timeout(seconds):
            while True:
                found = (await self.get(f"/api/v1/jobs/{job}"))["job"]
                if found["state"] in ("succeeded", "failed", "cancelled"):
                    return dict(found)
                await asyncio.sleep(0.1)

    async def stored(self, spec: dict[str, Any] | None = None) -> str:
        """Uploads ``print(1)`` and runs it once; the digest of its bundle."""
        job = await self.upload(zip_of({"main.py": PROGRAM}), spec or {})
        end = await self.ended(job["id"])
        if end["state"] != "succeeded":
            raise RuntimeError(f"the first job ended as {end['state']}: {end['detail']}")
        return str(end["bundle"])

    async def image(self) -> str:
        """Id of the image that the newest job ran in."""
        newest = (await self.get("/api/v1/jobs?limit=1"))["jobs"][0]
        job = (await self.get(f"/api/v1/jobs/{newest['id']}"))["job"]
        return str(job["attempts"][-1]["environment"]["image"])


async def job_of(answer: aiohttp.ClientResponse) -> dict[str, Any]:
    found = await answer.json()
    if answer.status >= 300:
        raise RuntimeError(f"refused with {answer.status}: {found}")
    return dict(found.get("job", found))


def zip_of(files: dict[str, str]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return out.getvalue()


def environment(folder: Path | None = None) -> dict[str, str]:
    """Ours without what an outer Stoker set, and with a base image that is here already.

    What a ``stoker up`` notes in the home folder is noted in that folder instead.
    """
    kept = {k: v for k, v in os.environ.items() if k == BASE_IMAGE or not k.startswith("STOKER_")}
    if BASE_IMAGE not in kept and has_local_image():
        kept[BASE_IMAGE] = LOCAL_IMAGE
    if folder is not None:
        kept["XDG_CONFIG_HOME"] = str(folder / "config")
    return {**kept, "NO_COLOR": "1"}


def has_local_image() -> bool:
    """Whether ``.ci/base-image`` made one: no registry is asked in a measurement."""
    with suppress(docker.errors.DockerException), closing(docker.APIClient(timeout=5)) as client:
        client.inspect_image(LOCAL_IMAGE)
        return True
    return False


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@asynccontextmanager
async def running_stack(runtime: str, slots: int = 4) -> AsyncIterator[Stack]:
    """``stoker up`` with its data, work and logs in a temporary folder; stopped at the end.

    Not under /tmp: an ext4 without a journal searches long for inodes where many were freed lately.
    """
    RESULTS.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="stoker-bench-", dir=RESULTS.absolute()))
    port, nats_port = free_port(), free_port()
    command = [
        *(sys.executable, "-m", "stoker", "up", "--data", str(folder), "--port", str(port)),
        *("--nats-port", str(nats_port), "--runtime", runtime, "--slots", str(slots)),
    ]
    out = (folder / "up.txt").open("wb")
    process = await asyncio.create_subprocess_exec(
        *command, cwd=ROOT, stdout=out, stderr=out, env=environment(folder)
    )
    try:
        await signed_in(folder, process)
        who = {"Authorization": f"Bearer {token_of(folder)}"}
        timeout = aiohttp.ClientTimeout(120)
        async with aiohttp.ClientSession(timeout=timeout, headers=who) as http:
            stack = Stack(
                f"http://127.0.0.1:{port}",
                f"nats://127.0.0.1:{nats_port}",
                folder,
                process.pid,
                http,
            )
            await ready(stack, process)
            yield stack
    finally:
        out.close()
        await stopped(process, folder)


def token_of(folder: Path) -> str:
    return (folder / "identities" / "cli.token").read_text().strip()


async def signed_in(folder: Path, process: asyncio.subprocess.Process) -> None:
    """Until there is an address, and with it a token for who started it."""
    try:
        async with asyncio.timeout(READY):
            while not (folder / "up.json").exists():
                if process.returncode is not None:
                    raise RuntimeError(f"stoker up ended:\n{tail(folder)}")
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise RuntimeError(f"no page after {READY:.0f} s:\n{tail(folder)}") from None


async def ready(stack: Stack, process: asyncio.subprocess.Process) -> None:
    """Until the page answers and one worker has been heard."""
    try:
        async with asyncio.timeout(READY):
            while not await has_worker(stack):
                if process.returncode is not None:
                    raise RuntimeError(f"stoker up ended:\n{tail(stack.folder)}")
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise RuntimeError(f"no worker after {READY:.0f} s:\n{tail(stack.folder)}") from None


async def has_worker(stack: Stack) -> bool:
    try:
        return bool((await stack.get("/api/v1/workers"))["workers"])
    except aiohttp.ClientError:
        return False


def tail(folder: Path) -> str:
    return (folder / "up.txt").read_text(errors="replace")[-3000:]


async def stopped(process: asyncio.subprocess.Process, folder: Path) -> None:
    """SIGINT, then whatever still names the folder is killed, then the folder goes."""
    if process.returncode is None:
        process.send_signal(signal.SIGINT)
        try:
            await asyncio.wait_for(process.wait(), 15)
        except TimeoutError:
            process.kill()
            await process.wait()
    for left in family([], folder):
        left.kill()
    shutil.rmtree(folder, ignore_errors=True)
