"""Where do the layers of built images lie?

``$O.images.C.<upload>.<digest>.<index>`` holds one chunk of a blob. An upload belongs to one lease:
what a builder stored that was given up is nobody else's, and is swept.
"""

from __future__ import annotations

import base64
import json

from nats.errors import ConnectionClosedError, NoRespondersError
from nats.errors import TimeoutError as NatsTimeout

from bus.connection import API_TIMEOUT, Bus
from bus.errors import Conflict, Unanswered
from bus.headers import EXPECTED
from bus.link import ask
from bus.objects import CHUNK_TIMEOUT

STREAM = "OBJ_images"


def chunk_subject(upload: str, digest: str = "*", index: int | str = "*") -> str:
    return f"$O.images.C.{upload}.{digest}.{index}"


class ImageStore:
    """The chunks of all blobs; which of them count is said elsewhere."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def put(self, upload: str, digest: str, index: int, data: bytes) -> None:
        """Once: where it is there already, nothing is written."""
        try:
            await self._bus.append(
                chunk_subject(upload, digest, index),
                data,
                {EXPECTED: "0"},
                timeout=CHUNK_TIMEOUT,
                client=await self._bus.bulk(),
            )
        except Conflict:
            return

    async def chunk(self, upload: str, digest: str, index: int) -> bytes:
        """Raises ``NotFound``. Any server of a cluster answers, and its leader says no."""
        subject = chunk_subject(upload, digest, index)
        client = await self._bus.bulk()
        asked = json.dumps({"last_by_subj": subject}).encode()
        try:
            reply = await ask(client, f"$JS.API.DIRECT.GET.{STREAM}", asked, API_TIMEOUT)
        except (NatsTimeout, NoRespondersError, ConnectionClosedError) as error:
            raise Unanswered(subject, API_TIMEOUT) from error
        if "Nats-Sequence" in (reply.headers or {}):
            return reply.data
        answer = await self._bus.api(f"STREAM.MSG.GET.{STREAM}", {"last_by_subj": subject})
        return base64.b64decode(answer["message"].get("data", ""))

    async def stored(self) -> set[tuple[str, str]]:
        """Every upload and digest of which there is something."""
        found: set[tuple[str, str]] = set()
        seen = 0
        while True:
            body = {"subjects_filter": chunk_subject("*"), "offset": seen}
            info = await self._bus.api(f"STREAM.INFO.{STREAM}", body)
            page = info["state"].get("subjects") or {}
            for subject in page:
                _, _, _, upload, digest, _ = subject.split(".")
                found.add((upload, digest))
            seen += len(page)
            if not page or seen >= info.get("total", 0):
                return found

    async def remove(self, upload: str, digest: str = "*") -> None:
        """Of a blob, or of a whole upload."""
        body = {"filter": chunk_subject(upload, digest)}
        await self._bus.api(f"STREAM.PURGE.{STREAM}", body)
