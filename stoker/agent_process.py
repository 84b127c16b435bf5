"""How does ``stoker up`` run its agent in a process of its own?

Files and programs are the agent's work, and each waits for the disk now and then: in the services'
process every job would wait with it. The child gets its settings on standard input, which it keeps
open: when that ends, whoever started it is gone or wants it to stop.
"""

from __future__ import annotations

import asyncio
import pickle
import struct
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from stoker.answers import StokerError

if TYPE_CHECKING:
    from agent.config import AgentConfig
    from bus.link import BusConfig

LENGTH = struct.Struct(">I")
STOP_SECONDS = 10.0
WORDS = 2000
"""Bytes of the last words that are told."""
BOOT = (
    "import sys; sys.path.insert(0, sys.argv[1]); sys.modules['aiohttp'] = None;"
    "from stoker import agent_process as p; p.main()"
)
"""Without aiohttp, which nats-py loads for WebSockets: 10 MiB for a way that it does not take."""


async def run_agent_process(bus: BusConfig, settings: AgentConfig, log_file: Path) -> None:
    """Until cancelled, then stopped in order. Raises ``StokerError`` where it ends by itself."""
    root = str(Path(__file__).resolve().parent.parent)
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", BOOT, root),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    assert child.stdin is not None
    assert child.stderr is not None
    data = pickle.dumps((bus, settings, log_file))
    try:
        child.stdin.write(LENGTH.pack(len(data)) + data)
        words = await last_words(child.stderr)
        raise StokerError(words or f"it ended with {await child.wait()}; {log_file} says more")
    finally:
        child.stdin.close()
        await stopped(child)


async def last_words(stream: asyncio.StreamReader) -> str:
    """The end of what it said, once it has nothing more to say."""
    words = b""
    while part := await stream.read(WORDS):
        words = (words + part)[-WORDS:]
    return words.decode(errors="replace").strip()


async def stopped(child: asyncio.subprocess.Process) -> None:
    try:
        async with asyncio.timeout(STOP_SECONDS):
            await child.wait()
    except TimeoutError:
        with suppress(ProcessLookupError):
            child.kill()
        await child.wait()


# In the child.


def main() -> None:
    from stoker.__main__ import put_app_on_path

    put_app_on_path()
    size = LENGTH.unpack(sys.stdin.buffer.read(LENGTH.size))[0]
    bus, settings, log_file = pickle.loads(sys.stdin.buffer.read(size))

    import uvloop

    from agent.main import AgentError
    from bus.errors import BusError
    from stoker.logfile import keep_log

    keep_log(log_file)
    try:
        uvloop.run(until_end_of_input(bus, settings))
    except (AgentError, BusError) as error:
        sys.exit(str(error))


async def until_end_of_input(bus: BusConfig, settings: AgentConfig) -> None:
    from agent.main import run_agent

    ended = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(ended), sys.stdin)
    work = asyncio.ensure_future(run_agent(bus, settings))
    asyncio.ensure_future(ended.read()).add_done_callback(lambda _: work.cancel())
    with suppress(asyncio.CancelledError):
        await work
