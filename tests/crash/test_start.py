"""A service that dies while it makes the streams leaves nothing that its successor cannot end."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

from bus.errors import NotFound
from bus.layout import DURABLES, STREAMS
from tests.crash.child import Program
from tests.crash.harness import Scenario, crash_everywhere
from tests.crash.worlds import Server, World


async def everything_is_made(world: World) -> None:
    names = [f"STREAM.INFO.{stream.name}" for stream in STREAMS]
    names += [f"CONSUMER.INFO.{durable.stream}.{durable.name}" for durable in DURABLES]
    for name in names:
        while not await there(world, name):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    for stream in STREAMS:
        config = (await world.bus.api(f"STREAM.INFO.{stream.name}"))["config"]
        wanted = stream.config(1)
        assert {key: config.get(key) for key in ("subjects", "max_bytes", "discard")} == {
            key: wanted[key] for key in ("subjects", "max_bytes", "discard")
        }


async def there(world: World, name: str) -> bool:
    with contextlib.suppress(NotFound):
        return bool(await world.bus.api(name))
    return False


async def test_the_streams_are_made_whoever_dies_over_it(worlds: Server, tmp_path: Path) -> None:
    program = Program("declare")
    scenario = Scenario(program, everything_is_made, declared=False, ends=True)
    outcome = await crash_everywhere(worlds, scenario, tmp_path)
    outcome.check(at_least=len(STREAMS) + len(DURABLES))
