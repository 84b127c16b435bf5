"""How does output get into an attempt's log where no shim runs: of builds, of what pretends?"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from agent.flood import Bound
from agent.intake import Intake
from agent.redact import NOTHING
from agent.spool import SpoolWriter
from schemas.stream import Stream


class LoopIntake:
    """An intake with the clock of the running loop."""

    def __init__(
        self,
        spool: SpoolWriter,
        environment: Mapping[str, str],
        bound: Bound,
        news: Callable[[], None],
        secrets: Mapping[str, str] = NOTHING,
    ) -> None:
        """``news`` is called when something comes into the log by itself, later."""
        self._loop = asyncio.get_running_loop()
        self._intake = Intake(spool, environment, bound, self._loop.time(), secrets)
        self._news = news
        self._timer: asyncio.TimerHandle | None = None

    def append(self, stream: Stream, data: bytes) -> None:
        self._intake.append(stream, data, self._loop.time())
        self._wait()

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._intake.close(self._loop.time())

    def _wait(self) -> None:
        if self._timer is None and self._intake.due is not None:
            self._timer = self._loop.call_at(self._intake.due, self._on_due)

    def _on_due(self) -> None:
        self._timer = None
        self._intake.tick(self._loop.time())
        self._news()
        self._wait()
