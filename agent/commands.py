"""How does the agent run a command and hear what it prints, so that nothing of it is left over?"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

READ_BYTES = 64 << 10
KILL_SECONDS = 5.0


async def run_command(
    command: Sequence[str],
    cwd: Path,
    heard: Callable[[bytes], None],
    timeout: float,
    environment: Mapping[str, str] | None = None,
) -> int:
    """The exit code. Cancelled or out of time (``TimeoutError``), it kills the whole group.

    ``environment``: all of it; None for one's own.
    """
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=cwd,
        env=environment,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(timeout):
            while data := await process.stdout.read(READ_BYTES):
                heard(data)
            return await process.wait()
    finally:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(KILL_SECONDS):
                await process.wait()
