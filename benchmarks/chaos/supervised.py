"""How is a part kept running by something that starts it again, and killed by something else?"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.stack import ROOT, environment

PAUSE = 0.3
"""Seconds before a part that ended by itself is started again."""
STOP_SECONDS = 8.0


@dataclass
class Part:
    """One process, started again whenever it ends."""

    name: str
    command: Sequence[str]
    log: Path
    environment: dict[str, str] = field(default_factory=dict)
    process: asyncio.subprocess.Process | None = None
    starts: int = 0
    pause: float = PAUSE
    """Seconds before the next start; a fault chooses another once."""

    async def keep(self) -> None:
        """Until cancelled."""
        try:
            while True:
                with self.log.open("ab") as out:
                    self.process = await asyncio.create_subprocess_exec(
                        *self.command,
                        cwd=ROOT,
                        stdin=asyncio.subprocess.DEVNULL,
                        stdout=out,
                        stderr=out,
                        env={**environment(), **self.environment},
                        start_new_session=True,
                    )
                self.starts += 1
                await self.process.wait()
                pause, self.pause = self.pause, PAUSE
                await asyncio.sleep(pause)
        finally:
            await self._stop()

    def kill(self, pause: float = PAUSE) -> None:
        """SIGKILL; it is started again after ``pause`` seconds."""
        self.pause = pause
        self.send(signal.SIGKILL)

    def send(self, number: signal.Signals) -> None:
        if self.process is not None and self.process.returncode is None:
            with suppress(ProcessLookupError):
                self.process.send_signal(number)

    @property
    def pid(self) -> int:
        return self.process.pid if self.process is not None else 0

    async def _stop(self) -> None:
        if self.process is None:
            return
        for number in (signal.SIGCONT, signal.SIGTERM, signal.SIGKILL):
            self.send(number)
            if number is signal.SIGCONT:
                continue
            with suppress(TimeoutError):
                async with asyncio.timeout(STOP_SECONDS):
                    await self.process.wait()
                    return


async def command(*words: str, seconds: float = 60.0) -> str:
    """What it printed; raises ``RuntimeError`` where it fails."""
    process = await asyncio.create_subprocess_exec(
        *words,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(seconds):
            out, _ = await process.communicate()
    except BaseException:
        with suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)
        raise
    if process.returncode:
        raise RuntimeError(f"{' '.join(words)}: {out.decode(errors='replace').strip()}")
    return out.decode(errors="replace")
