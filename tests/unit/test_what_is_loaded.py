"""What ``stoker up`` does not need here it does not load: it has to stay small."""

from __future__ import annotations

import subprocess
import sys

import pytest

from stoker.agent_process import BOOT
from stoker.parts import RUNNERS

PARTS = ("stoker.stack", "stoker.session", "ui.app", *(f"services.{s}.service" for s in RUNNERS))
EVERYTHING = f"import {', '.join(PARTS)}"
AGENT = f"{BOOT.rpartition(';')[0]}; import agent.main, agent.runtimes.docker_runtime"


@pytest.mark.parametrize(
    ("start", "modules"),
    [
        (
            f"import sys; {EVERYTHING}",
            ("cryptography", "joserfc", "docker", "pyarrow", "google_crc32c"),
        ),
        (AGENT, ("cryptography", "h11", "ui", "services")),
    ],
    ids=["services", "agent"],
)
def test_a_part_loads_nothing_heavy_that_it_may_not_need(
    start: str, modules: tuple[str, ...]
) -> None:
    told = f"{start}; print([one for one in {modules!r} if sys.modules.get(one)])"
    done = subprocess.run(
        [sys.executable, "-c", told, "."], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "[]"


def test_the_agent_of_up_loads_no_http_server() -> None:
    """nats-py would, for a way to NATS that this agent does not take."""
    told = f"{AGENT}; print(sys.modules.get('aiohttp'))"
    done = subprocess.run(
        [sys.executable, "-c", told, "."], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "None"
