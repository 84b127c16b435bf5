"""Were the promises kept? Every accepted job is looked at over HTTP, once all is quiet."""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import aiohttp

from benchmarks.chaos.house import House
from benchmarks.chaos.load import Asked, Load

PATIENCE = 150.0
"""Seconds after the last fault in which every job has to end."""
SETTLE = 30.0
"""Seconds in which containers and shims have to be gone."""
LINE = re.compile(r"^line (\d+) at (\d+\.\d+)$", re.MULTILINE)
NOTICE = re.compile(r"^\[stoker.* missing")
ENDS = ("succeeded", "failed", "cancelled")
INFRASTRUCTURE = ("worker_lost", "agent_error", "engine_restarted", "lease_expired", "preempted")


@dataclass
class Verdict:
    """What was found; every count but the first four has to be 0."""

    jobs: int = 0
    attempts: int = 0
    cancelled: int = 0
    gave_up: int = 0
    """Failed after all tries that infrastructure faults get: told, so not lost."""
    lost: int = 0
    winners: int = 0
    """Jobs with two winners."""
    wrong: int = 0
    """Jobs that ended as their program cannot end."""
    lines_lost: int = 0
    """Without a word in their place."""
    lines_told: int = 0
    """Missing where the log says so."""
    lines_doubled: int = 0
    containers: int = 0
    shims: int = 0
    twice: int = 0
    """Exclusive jobs of which two attempts printed at one time."""
    outputs: int = 0
    """Jobs that succeeded and whose outputs are not what they wrote."""
    lines: int = 0
    troubles: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        return not (self.troubles or self.containers or self.shims)

    def trouble(self, job: str, text: str, record: dict[str, Any] | None = None) -> None:
        timeline = "".join(
            f"\n    {e['at']:.3f} {e['attempt']} {e['fact']} {e['text']}"
            for e in (record or {}).get("timeline", ())
        )
        self.troubles.append(f"{job}: {text}{timeline}")


async def judged(house: House, load: Load) -> Verdict:
    """Waits for the ends, then reads every record and every winner's log."""
    verdict = Verdict(jobs=len(load.jobs))
    give_up = time.monotonic() + PATIENCE
    for asked in list(load.jobs.values()):
        record = await ended(load, asked, give_up)
        judge_record(verdict, asked, record, load.ends.get(asked.id, {}))
        if record["state"] == "succeeded":
            judge_log(verdict, asked, record, await log_of(load, asked.id))
            await judge_outputs(verdict, asked, record, load, give_up)
        if asked.exclusive and len(record["attempts"]) > 1:
            logs = [await log_of(load, asked.id, a["number"]) for a in record["attempts"]]
            judge_exclusive(verdict, asked, record, logs)
    await settle(house, verdict)
    return verdict


async def ended(load: Load, asked: Asked, give_up: float) -> dict[str, Any]:
    while True:
        record = await load.requests.job(asked.id)
        if record["state"] in ENDS or time.monotonic() > give_up:
            return record
        await asyncio.sleep(0.5)


def judge_record(
    verdict: Verdict, asked: Asked, record: dict[str, Any], ends: dict[int, str]
) -> None:
    verdict.attempts += len(record["attempts"])
    won = [a["number"] for a in record["attempts"] if a["end"] and succeeded(a["end"])]
    if record["state"] not in ENDS:
        verdict.lost += 1
        verdict.trouble(asked.id, f"has not ended: {record['state']}", record)
    elif len(ends) > 1 or len(won) > 1:
        verdict.winners += 1
        verdict.trouble(asked.id, f"ends {ends}, winners {won}", record)
    elif record["state"] == "succeeded" and won != [record["attempt"]]:
        verdict.winners += 1
        verdict.trouble(asked.id, f"attempt {record['attempt']} is said to win, {won} did", record)
    elif record["state"] == "cancelled":
        verdict.cancelled += 1
        if not asked.cancelled:
            verdict.wrong += 1
            verdict.trouble(asked.id, "is cancelled, and nobody asked for it", record)
    elif record["state"] == "failed":
        judge_failure(verdict, asked, record)


def judge_failure(verdict: Verdict, asked: Asked, record: dict[str, Any]) -> None:
    if record["reason"] in INFRASTRUCTURE and len(record["attempts"]) > 3:
        verdict.gave_up += 1
    else:
        verdict.wrong += 1
        verdict.trouble(asked.id, f"failed: {record['reason']} {record['detail']}", record)


def succeeded(end: dict[str, Any]) -> bool:
    return bool(end["reason"] == "exit" and end["exit_code"] == 0)


async def log_of(load: Load, job: str, attempt: int = 0) -> str:
    """Of the newest attempt, or of another."""
    url = f"{load.requests.house.url}/api/v1/jobs/{job}/log"
    url += f"?attempt={attempt}" if attempt else ""
    for _ in range(3):
        try:
            async with load.requests.house.http.get(url) as answer:
                return await answer.text()
        except Exception as error:  # told as what it is: a log that cannot be read
            text = f"not read: {error!r}"
            await asyncio.sleep(1)
    return text


def judge_log(verdict: Verdict, asked: Asked, record: dict[str, Any], text: str) -> None:
    numbers = [int(number) for number, _ in LINE.findall(text)]
    counts = Counter(numbers)
    missing = [number for number in range(asked.lines) if not counts[number]]
    told = told_missing(text, asked.lines) & set(missing)
    doubled = len(numbers) - len(counts) + max(0, text.count("begun in ") - 1)
    doubled += sum(1 for number in counts if number >= asked.lines)
    verdict.lines += asked.lines
    verdict.lines_lost += len(missing) - len(told)
    verdict.lines_told += len(told)
    verdict.lines_doubled += doubled
    if missing or doubled or numbers != sorted(numbers):
        words = f"of {asked.lines} lines {len(missing)} are missing, from {missing[:1]} to"
        words += f" {missing[-1:]}, {len(told)} of them where it is told, {doubled} doubled"
        said = [line for line in text.splitlines() if not LINE.match(line)]
        verdict.trouble(asked.id, f"{words}; beside them: {said[:6]}", record)


def told_missing(text: str, lines: int) -> set[int]:
    """Numbers between the lines next to a notice that something may be missing there."""
    told: set[int] = set()
    last, noticed = -1, False
    for line in text.splitlines():
        if match := LINE.match(line):
            if noticed:
                told |= set(range(last + 1, int(match[1])))
            last, noticed = int(match[1]), False
        noticed = noticed or bool(NOTICE.search(line))
    return told | set(range(last + 1, lines)) if noticed else told


def judge_exclusive(
    verdict: Verdict, asked: Asked, record: dict[str, Any], logs: list[str]
) -> None:
    """Each attempt's last line, as far as it is known, comes before the next one's first."""
    times = [[float(at) for _, at in LINE.findall(log)] for log in logs]
    printed = [(one[0], one[-1]) for one in times if one]
    if any(after[0] < before[1] for before, after in pairwise(printed)):
        verdict.twice += 1
        verdict.trouble(asked.id, f"exclusive, and two ran at one time: {printed}", record)


async def judge_outputs(
    verdict: Verdict, asked: Asked, record: dict[str, Any], load: Load, give_up: float
) -> None:
    """An end that did not wait for them says so, and the worker goes on sending."""
    house, written = load.requests.house, f"{asked.lines}\n"
    url = f"{house.url}/api/v1/jobs/{asked.id}/outputs/lines.txt?attempt={record['attempt']}"
    while True:
        try:
            async with house.http.get(url) as answer:
                found = await answer.text()
        except (aiohttp.ClientError, TimeoutError) as error:
            found = repr(error)
        if found == written or time.monotonic() > give_up:
            break
        await asyncio.sleep(0.5)
    if found != written:
        verdict.outputs += 1
        verdict.trouble(asked.id, f"its outputs are {found[:200]!r}, not {written!r}", record)


async def settle(house: House, verdict: Verdict) -> None:
    give_up = time.monotonic() + SETTLE
    while True:
        containers = await asyncio.to_thread(house.containers)
        shims = await asyncio.to_thread(house.shims)
        if not (containers or shims) or time.monotonic() > give_up:
            break
        await asyncio.sleep(0.5)
    verdict.containers, verdict.shims = len(containers), shims
    for one in containers:
        verdict.trouble("container", f"left behind: {one}")
    if shims:
        verdict.trouble("shims", f"{shims} shims are left")
