"""What becomes of programs that mean harm, and of what runs beside them?"""

from __future__ import annotations

import asyncio
import stat
from pathlib import Path

import psutil
import pytest

from agent.outputs import OutputBounds, Outputs
from agent.runtimes.docker_engine import Engine, EngineError
from schemas.reason import Reason

from .conftest import Bundle, until
from .hostile import HOSTILE, PREFIX

pytestmark = pytest.mark.docker

NEIGHBOUR = "import time\nfor beat in range(10):\n    time.sleep(0.1)\n    print(beat)"
FLOOD_MOST = 4 << 20


@pytest.mark.parametrize("kind", HOSTILE)
async def test_a_hostile_job_ends_as_it_must_and_disturbs_nobody(
    bundle: Bundle, engine: Engine, kind: str
) -> None:
    harm = HOSTILE[kind]
    attempt = bundle({"main.py": PREFIX + harm.code}, **harm.spec)
    attempt.grant = attempt.grant.model_copy(update={"log_total": FLOOD_MOST})
    neighbour = bundle({"main.py": NEIGHBOUR})
    exit, beside = await asyncio.gather(attempt.run(), neighbour.run())
    said = attempt.printed()
    assert exit.reason is harm.reason, (exit, said[-500:])
    if harm.code_at_end is not None:
        assert exit.code == harm.code_at_end, (exit, said[-500:])
    assert harm.says in exit.detail
    assert len(said) < FLOOD_MOST + (1 << 20)
    assert (beside.reason, beside.code) == (Reason.EXIT, 0)
    assert neighbour.printed().split() == [str(beat) for beat in range(10)]
    await until(lambda: not is_there(engine, attempt.container))
    assert not left_of(attempt.grant.job)


async def test_what_a_job_plants_into_its_outputs_leads_nowhere(
    bundle: Bundle, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("of the machine's")
    code = PREFIX + (
        f"os.symlink({str(secret)!r}, outputs / 'link')\n"
        "os.symlink('/', outputs / 'top')\n"
        "os.mkfifo(outputs / 'fifo')\n"
        "(outputs / 'deep').mkdir()\n"
        "os.symlink('../../../..', outputs / 'deep' / 'up')\n"
        "tool = outputs / 'tool'\n"
        "tool.write_text('#!/bin/sh')\n"
        "tool.chmod(0o6777)\n"
        "(outputs / 'shut').mkdir(mode=0)\n"
    )
    attempt = bundle({"main.py": code}, grace=0)
    await attempt.run()
    root = tmp_path / "kept"
    root.mkdir()
    outputs = Outputs(root, OutputBounds())
    await asyncio.to_thread(outputs.keep, attempt.folder)
    tool = root / attempt.folder.name / "tool"
    assert stat.S_IMODE(tool.stat().st_mode) == 0o777
    await asyncio.to_thread(outputs.trim, 1 << 40)
    assert not list(root.iterdir())
    assert secret.read_text() == "of the machine's"


def is_there(engine: Engine, container: str) -> bool:
    try:
        engine.container_state(container)
    except EngineError as error:
        return error.status != 404
    return True


def left_of(job: str) -> list[int]:
    """Processes of the machine that were the job's."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("STOKER_JOB") == job:
                found.append(process.pid)
        except psutil.Error:
            continue
    return found
