"""Does another worker build this environment, has one built it, or is it built here?

Nothing here is needed to run a job: without the service each worker builds for itself, and says so.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

from agent import image_blobs
from agent.redact import Needles, Redactor
from agent.runtimes.protocol import CannotPrepare, Output
from agent.shares import Shares
from bus.connection import Bus
from bus.errors import BusError, Refused
from schemas.environments import (
    DETAIL,
    TAIL,
    Ask,
    Asked,
    BuildFailed,
    BuiltImage,
    LeaseAnswer,
    LeaseBeat,
    LeaseKey,
    SharedImage,
    Turn,
)
from schemas.reason import Reason
from schemas.stream import Stream
from schemas.worker import Grant

log = logging.getLogger(__name__)

ASK_EVERY = 1.0
"""Seconds between two looks at what another worker builds."""
BEAT_EVERY, BEAT_MOST = 5.0, 1.0
"""Seconds between two beats of a builder; and at least, while its build prints."""
ASK_TRIES, BEAT_SECONDS = 3, 2.0
SILENT_SECONDS = 25.0
"""How long one who waits bears that the service is away: the bus may elect a leader meanwhile."""
LAST_WORDS = 5.0
AWAY = "the service environments does not answer"


class Fleet:
    """The other workers of the pool, as far as environments go."""

    def __init__(self, bus: Bus, worker: str, shares: Shares) -> None:
        self._bus = bus
        self._worker = worker
        self.shares = shares

    async def turn(
        self, grant: Grant, key: str, here: Callable[[], Awaitable[bool]], output: Output
    ) -> Asked | None:
        """What to do: ``BUILD``, ``FETCH`` or ``ALONE``; None where the image is ``here`` by now.

        Waits while another worker builds, and shows what that prints. Raises ``CannotPrepare``
        where that build failed. Cancellable at any time.
        """
        waiting = Waiting(output)
        heard_at = time.monotonic()
        while True:
            asked = await self._ask(grant, key, waiting)
            if asked is not None:
                heard_at = time.monotonic()
                waiting.hear(asked)
                if asked.turn is Turn.FAIL:
                    raise CannotPrepare(asked.detail, asked.reason or Reason.BUILD_FAILED)
                if asked.turn is not Turn.WAIT:
                    return asked
            elif not waiting.number or time.monotonic() - heard_at > SILENT_SECONDS:
                return Asked(turn=Turn.ALONE, because=AWAY)
            await asyncio.sleep(ASK_EVERY)
            if await here():
                return None

    async def _ask(
        self, grant: Grant, key: str, waiting: Waiting, lost: str | None = None
    ) -> Asked | None:
        """None where nobody answers."""
        asked = Ask(
            job=grant.job,
            attempt=grant.attempt,
            nonce=grant.nonce,
            key=key,
            waited=waiting.number,
            heard=waiting.heard,
            lost=lost,
        )
        try:
            return await self._bus.request(
                image_blobs.subject("ask", self._worker), asked, Asked, attempts=ASK_TRIES
            )
        except Refused as error:
            return Asked(turn=Turn.ALONE, because=error.problem.detail or error.problem.title)
        except BusError as error:
            log.info("no answer about environment %s: %s", key[:8], error)
            return None

    async def lost(self, grant: Grant, key: str, number: int, digest: str) -> Asked | None:
        """Says that what was shared cannot be had; None where there is no answer."""
        waiting = Waiting(lambda stream, data: None)
        waiting.number = number
        return await self._ask(grant, key, waiting, digest)

    async def fetch(
        self, grant: Grant, key: str, image: SharedImage, folder: Path
    ) -> dict[str, Path]:
        """Raises ``LostBlob``, ``BusError``, ``OSError``."""
        return await image_blobs.fetch(self._bus, self._worker, grant, key, image, folder)

    @contextlib.asynccontextmanager
    async def building(
        self, lease: LeaseKey, grant: Grant, layers: tuple[str, ...], output: Output
    ) -> AsyncIterator[Output]:
        """For the time of a build: beats, what it prints, and how it ended.

        ``layers``: of the base image, which every taker has.
        """
        needles = Needles.of(grant.spec.environment)
        voice = Voice(needles)
        await asyncio.to_thread(self.shares.keep, lease, layers, whole=False)
        beats = asyncio.ensure_future(self._beats(lease, voice))
        try:
            yield voice.heard_with(output)
            await self._built(lease, layers)
        except CannotPrepare as error:
            detail = needles.redacted(str(error))[:DETAIL]
            await self._ended(BuildFailed(**lease.model_dump(), reason=error.reason, detail=detail))
            raise
        except BaseException:
            await self._ended(BuildFailed(**lease.model_dump(), reason=Reason.AGENT_ERROR))
            raise
        finally:
            beats.cancel()
            await asyncio.wait([beats])

    async def _beats(self, lease: LeaseKey, voice: Voice) -> None:
        """Without them another worker takes over; a build that was taken over goes on here."""
        while True:
            beat = LeaseBeat(**lease.model_dump(), tail=voice.tail, printed=voice.printed)
            if not await self._tell("beat", beat, attempts=1):
                log.warning("another worker took over environment %s", lease.key[:8])
                return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(BEAT_EVERY):
                    await voice.printed_more.wait()
                    await asyncio.sleep(BEAT_MOST)
            voice.printed_more.clear()

    async def _built(self, lease: LeaseKey, layers: tuple[str, ...]) -> None:
        await asyncio.to_thread(self.shares.keep, lease, layers, whole=True)
        told = BuiltImage(**lease.model_dump())
        answer = await self._answer("built", told, attempts=ASK_TRIES)
        if answer is not None and answer.holds and (answer.wanted or self.shares.eager):
            self.shares.want(lease.key)

    async def _ended(self, told: BuildFailed) -> None:
        """Its last words have a short time of their own, also where the build was cancelled."""
        self.shares.forget(told.key)
        with contextlib.suppress(TimeoutError):
            await asyncio.shield(
                asyncio.wait_for(self._answer("failed", told, attempts=2), LAST_WORDS)
            )

    async def _tell(self, verb: str, told: LeaseKey, attempts: int) -> bool:
        """False where the lease is another's."""
        answer = await self._answer(verb, told, attempts)
        return answer is None or answer.holds

    async def _answer(self, verb: str, told: LeaseKey, attempts: int) -> LeaseAnswer | None:
        try:
            return await self._bus.request(
                image_blobs.subject(verb, self._worker),
                told,
                LeaseAnswer,
                timeout=BEAT_SECONDS,
                attempts=attempts,
            )
        except BusError as error:
            log.info("no answer to %s of environment %s: %s", verb, told.key[:8], error)
            return None


class Waiting:
    """What one who waits has heard."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self.number = 0
        self.heard = 0
        self._because = ""

    def hear(self, asked: Asked) -> None:
        waits_or_builds = asked.turn in (Turn.WAIT, Turn.BUILD)
        if waits_or_builds and asked.because not in ("", self._because):
            self._because = asked.because
            ends = ": waiting for it" if asked.turn is Turn.WAIT else ""
            self._output(Stream.STOKER, f"[stoker] {asked.because}{ends}\n".encode())
        if asked.printed:
            self._output(Stream.BUILD, asked.printed)
        self.number, self.heard = asked.number, asked.heard


class Voice:
    """The end of what a build prints, without the secrets that its job names."""

    def __init__(self, needles: Needles) -> None:
        self._redactor = Redactor(needles)
        self.printed = 0
        self.tail = b""
        """No longer than a beat may have."""
        self.printed_more = asyncio.Event()

    def heard_with(self, output: Output) -> Output:
        def tell(stream: Stream, data: bytes) -> None:
            output(stream, data)
            if stream is Stream.BUILD:
                self._add(self._redactor.feed(data))

        return tell

    def _add(self, data: bytes) -> None:
        self.printed += len(data)
        self.tail = (self.tail + data)[-TAIL:]
        self.printed_more.set()
