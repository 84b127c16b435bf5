"""How does output get into an attempt's log: without secrets, and no more than is allowed?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from agent.flood import Bound, Flood, Part
from agent.redact import NOTHING, Needles, Redactor
from agent.spool import SpoolWriter
from schemas.stream import Stream

HOLD_SECONDS = 0.2
"""How long the begin of what may become a secret waits for its rest."""


class Intake:
    """One writer's way into the spool. Who has a clock calls ``tick`` when it is ``due``."""

    def __init__(
        self,
        spool: SpoolWriter,
        environment: Mapping[str, str],
        bound: Bound,
        now: float,
        secrets: Mapping[str, str] = NOTHING,
    ) -> None:
        """``environment`` is the job's: some of its values are secrets, as all ``secrets`` are."""
        self._spool = spool
        self._needles = Needles.of(environment, secrets)
        self._redactors = {stream: Redactor(self._needles) for stream in Stream}
        self._release_at: float | None = None
        self._flood = Flood(bound, spool.offset, now)

    @property
    def due(self) -> float | None:
        return min(
            (at for at in (self._release_at, self._flood.due) if at is not None), default=None
        )

    def append(self, stream: Stream, data: bytes, now: float) -> None:
        redactor = self._redactors[stream]
        data = redactor.feed(data)
        if data:
            self._write(self._flood.take(stream, data, now))
        if redactor.held:
            self._release_at = now + HOLD_SECONDS

    def say(self, words: str) -> None:
        """A line of Stoker's own, which no bound leaves out."""
        self._spool.append(Stream.STOKER, f"[stoker] {self.redacted(words)}\n".encode())

    def redacted(self, text: str) -> str:
        return self._needles.redacted(text)

    def tick(self, now: float) -> None:
        if self._release_at is not None and now >= self._release_at:
            self._release(now)
        self._write(self._flood.tick(now))

    def close(self, now: float) -> None:
        """What was held back, the last words, what is missing; then the spool's own end."""
        self._release(now)
        self._write(self._flood.end())
        self._spool.close()

    def _release(self, now: float) -> None:
        self._release_at = None
        for stream, redactor in self._redactors.items():
            if redactor.held:
                self._write(self._flood.take(stream, redactor.flush(), now))

    def _write(self, parts: Iterable[Part]) -> None:
        for stream, data in parts:
            self._spool.append(stream, data)
