"""How is the house asked over HTTP, whatever is down at the moment?"""

from __future__ import annotations

import asyncio
import json
import uuid
from dataclasses import dataclass
from typing import Any

import aiohttp

from benchmarks.chaos.house import House
from benchmarks.stack import zip_of

ERRORS = (aiohttp.ClientError, TimeoutError, OSError)
FIRST_SECONDS = 60.0


@dataclass
class Requests:
    """Submissions of one program."""

    house: House
    bundle: str = ""
    pause: float = 0.5
    """Seconds before a request is repeated."""

    async def insist(self, method: str, path: str, **rest: Any) -> dict[str, Any]:
        """The answer's ``job``; asked again until there is one."""
        while True:
            try:
                async with self.house.http.request(
                    method, f"{self.house.url}/api/v1{path}", **rest
                ) as answer:
                    if answer.status < 300:
                        found = await answer.json()
                        return dict(found.get("job", found))
                    if answer.status not in (429, 500, 502, 503, 504):
                        raise RuntimeError(f"{path}: {answer.status} {await answer.text()}")
            except ERRORS:
                pass
            await asyncio.sleep(self.pause)

    async def job(self, job: str) -> dict[str, Any]:
        return await self.insist("GET", f"/jobs/{job}")

    async def submit(self, spec: dict[str, Any]) -> str:
        """The job that was accepted in the end: repeated with the same key."""
        headers = {"Idempotency-Key": uuid.uuid4().hex}
        body = {"spec": spec, "bundle": self.bundle}
        return str((await self.insist("POST", "/jobs", json=body, headers=headers))["id"])

    async def cancel(self, job: str) -> None:
        await self.insist("POST", f"/jobs/{job}/cancel")

    async def upload(self, program: str, spec: dict[str, Any]) -> None:
        """Uploads the program and runs it once, to its success."""
        form = aiohttp.FormData()
        form.add_field("spec", json.dumps(spec), content_type="application/json")
        form.add_field("bundle", zip_of({"main.py": program}), filename="chaos.zip")
        job = await self.insist("POST", "/jobs", data=form)
        self.bundle = job["bundle"]
        async with asyncio.timeout(FIRST_SECONDS):
            while job["state"] not in ("succeeded", "failed", "cancelled"):
                await asyncio.sleep(0.1)
                job = await self.job(job["id"])
        if job["state"] != "succeeded":
            raise RuntimeError(f"the first job ended as {job['state']}: {job['detail']}")
