"""Is an endless log bounded, with nobody else feeling it, and does a secret stay on its worker?"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bus.connection import Bus
from bus.server import EmbeddedServer
from schemas.job import State
from services.scheduler.config import SchedulerConfig
from tests.integration.house import House, open_house

ENDLESS = "import sys\nwhile True:\n    sys.stdout.write('endless ' * 12 + '\\n')"
MODEST = "for i in range(2000):\n    print('line', i)"
LEAKY = (
    "import os\nprint('with', os.environ['WANDB_API_KEY'])\n"
    "raise RuntimeError('refused: ' + os.environ['WANDB_API_KEY'])"
)
KEY = "0123456789abcdef0123"


@pytest.fixture
async def house(server: EmbeddedServer, bus: Bus, tmp_path: Path) -> AsyncIterator[House]:
    config = SchedulerConfig(pools_log_rate={"default": 20 << 10})
    async with open_house(server.url, bus, tmp_path, config) as opened:
        yield opened


async def test_beside_an_endless_log_another_one_is_whole(house: House) -> None:
    house.agent("process")
    flood = await house.submit({"main.py": ENDLESS})
    await house.printed(await house.running(flood), b"output is left out from here on")
    record = await house.ended(await house.submit({"main.py": MODEST}))
    assert record.state is State.SUCCEEDED
    expected = b"".join(b"line %d\n" % index for index in range(2000))
    assert (await house.log(record)).endswith(expected)
    await house.cancel(flood)
    log = await house.log(await house.ended(flood))
    assert b"of output are missing here: more than 20 KiB a second" in log
    assert log.rstrip().endswith(b"endless endless")
    assert len(log) < 100 * 20_000


async def test_a_secret_is_in_no_log_and_in_no_reason(house: House) -> None:
    house.agent("process")
    job = await house.submit({"main.py": LEAKY}, environment={"WANDB_API_KEY": KEY})
    record = await house.ended(job)
    assert record.state is State.FAILED
    log = await house.log(record)
    assert KEY.encode() not in log
    assert log.count(b"[redacted WANDB_API_KEY]") >= 2
    end = record.current.end if record.current else None
    assert end is not None
    assert KEY not in end.model_dump_json()
    assert end.quote is not None
    assert "RuntimeError: refused: [redacted WANDB_API_KEY]" in end.quote.lines
