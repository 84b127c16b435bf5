"""Does a whole ``stoker up`` answer every request that its own description allows, and others?

From outside, by HTTP: an admin's token, a job that has run, then whatever schemathesis makes of the
description. No answer of 500 or more, no traceback in a log, no memory that grows and grows.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import requests
import schemathesis
from hypothesis import strategies as st
from schemathesis.core.result import Err

from stoker.client import Client
from tests.fuzz import rounds as turns
from tests.fuzz.rounds import Target

START_SECONDS = 60.0
ANSWER_SECONDS = 30.0
CASES = 5
"""Of one operation in one round."""
GROWTH = 96 << 20
"""Bytes that one process may grow by: caches fill; every request that leaks 10 KiB would be more.
"""
PROGRAM = 'print("hello")\nprint("\\033[31mred\\033[0m", end="\\r")\n'
LEFT_OUT = ("/api/v1/sign-out",)
"""It would end the session that asks."""


@dataclass(frozen=True)
class House:
    """A running one, and who asks."""

    url: str
    data: Path
    token: str
    job: str

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}

    def tracebacks(self) -> list[str]:
        """The last frame and the error of each that a log has, once."""
        found: dict[str, None] = {}
        for log in sorted(self.data.glob("*.log")):
            _, *parts = log.read_text(errors="replace").split("Traceback (most recent call last)")
            found |= {ending(part): None for part in parts}
        return list(found)


def ending(part: str) -> str:
    """Frames are indented; the line behind them is the error."""
    lines = part.splitlines()[1:]
    end = next((n for n, line in enumerate(lines) if line[:1] not in ("", " ")), len(lines))
    return " ".join(" ".join(lines[max(0, end - 4) : end + 1]).split())[:600]


def rounds(seconds: float, seed: int) -> tuple[int, list[str]]:
    with house() as made:
        targets = targets_of(made)
        _, found = turns.rounds(targets, 0.0, seed)  # loads what is loaded once, fills caches
        before = memory()
        tried, more = turns.rounds(targets, seconds, seed + 1)
        found += more
        after = memory()
        grown = {pid: after[pid] - size for pid, size in before.items() if pid in after}
        found += [f"process {pid} grew by {size >> 20} MiB" for pid, size in grown.items()
                  if size > GROWTH]  # fmt: skip
        found += [f"process {pid} is gone" for pid in before if pid not in after]
        found += [f"a traceback: {text}" for text in made.tracebacks()[:5]]
    return tried, found


@contextlib.contextmanager
def house() -> Iterator[House]:
    with tempfile.TemporaryDirectory(prefix="stoker-fuzz-") as folder:
        data = Path(folder) / "data"
        command = (sys.executable, "-m", "stoker", "up", "--data", str(data), "--port", "0",
                   "--nats-port", "0", "--runtime", "process", "--quota", "queued=500",
                   "--no-browser")  # fmt: skip
        with open(Path(folder) / "out", "w") as out:
            process = subprocess.Popen(command, stdout=out, stderr=out, start_new_session=True)
        try:
            url = address(data, process)
            token = (data / "identities" / "cli.token").read_text().strip()
            yield House(url, data, token, first_job(url, token, Path(folder)))
        finally:
            stop(process)


def address(data: Path, process: subprocess.Popen[bytes]) -> str:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError, ValueError):
            return str(json.loads((data / "up.json").read_text())["url"])
        time.sleep(0.1)
    raise RuntimeError("stoker up did not start")


def first_job(url: str, token: str, folder: Path) -> str:
    """One that has printed and ended; no other runs after it."""
    os.environ["STOKER_TOKEN"] = token
    program = folder / "job"
    program.mkdir()
    (program / "main.py").write_text(PROGRAM)
    client = Client(url)
    job = client.submit(program)
    client.wait(job.id, 60)
    client.transport.put(f"/api/v1/quotas/{job.owner}", {"limits": {"running": 0}})
    return job.id


def stop(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(5)


def memory() -> dict[int, int]:
    """Resident bytes of every process below this one."""
    found = {}
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            found[process.pid] = process.memory_info().rss
    return found


def targets_of(made: House) -> list[Target]:
    schema = schemathesis.openapi.from_url(f"{made.url}/api/v1/openapi.json", headers=made.headers)
    found = []
    for result in schema.get_all_operations():
        if isinstance(result, Err):
            raise result.err()
        operation = result.ok()
        if operation.path not in LEFT_OUT:
            name = f"{operation.method.upper()} {operation.path}"
            found.append(Target(name, cases(operation, made), asking(made), CASES))
    return found


def cases(operation: Any, made: House) -> st.SearchStrategy[Any]:
    """Those that fit the description and those that do not; of a job that is there, and of none."""
    kinds = [operation.as_strategy(generation_mode=mode) for mode in schemathesis.GenerationMode]
    return st.tuples(st.one_of(kinds), st.booleans()).map(lambda pair: aimed(*pair, made))


def aimed(case: Any, there: bool, made: House) -> Any:
    if there and "job" in (case.path_parameters or {}):
        case.path_parameters["job"] = made.job
    return case


def asking(made: House) -> Any:
    session = requests.Session()

    def ask(case: Any) -> None:
        answer = case.call(session=session, headers=made.headers, timeout=ANSWER_SECONDS)
        words = f"{answer.status_code} {answer.content[:300]!r} to {case.as_curl_command()[:600]}"
        assert answer.status_code < 500, words
        if answer.status_code >= 400 and not no_http(answer):
            kind = answer.headers.get("content-type", "")
            assert "application/problem+json" in str(kind), f"{kind}: {words}"

    return ask


def no_http(answer: Any) -> bool:
    """Whether the server refused the bytes before anybody of ours saw a request."""
    kind = str(answer.headers.get("content-type", ""))
    return answer.status_code == 400 and "text/plain" in kind
