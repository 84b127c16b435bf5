"""What becomes of a program that writes more than it may?"""

from __future__ import annotations

import pytest

from schemas.reason import Reason

from .conftest import Begin
from .programs import Program

WRITES = Program(
    "import os, time\n"
    "for number in range(100):\n"
    "    with open(os.path.join(os.environ['STOKER_OUTPUTS'], str(number)), 'wb') as file:\n"
    "        file.write(os.urandom(1 << 20))\n"
    "time.sleep(60)"
)


async def test_a_program_that_writes_more_than_its_disk_is_stopped(begin: Begin, kind: str) -> None:
    if kind == "dummy":
        pytest.skip("the dummy writes nothing")
    exit = await begin(WRITES, resources={"disk": "32m"}, grace=1).run()
    assert exit.reason is Reason.OUTPUTS_TOO_LARGE
    assert "32 MiB" in exit.detail


async def test_one_that_writes_less_is_left_alone(begin: Begin, kind: str) -> None:
    if kind == "dummy":
        pytest.skip("the dummy writes nothing")
    code = WRITES.code.replace("range(100)", "range(8)").replace("sleep(60)", "sleep(1.5)")
    exit = await begin(Program(code), resources={"disk": "32m"}).run()
    assert (exit.reason, exit.code) == (Reason.EXIT, 0)
