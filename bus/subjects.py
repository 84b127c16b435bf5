"""Which subject does a message travel on?"""

from __future__ import annotations

from typing import NamedTuple

JOBS_ALL = "stoker.job.>"
LOGS_ALL = "stoker.log.>"
METRICS_ALL = "stoker.metric.>"
BEATS_ALL = "stoker.beat.*.*"
AUDIT_ALL = "stoker.audit.>"


class LogSubject(NamedTuple):
    job: str
    attempt: int
    rank: int
    worker: str


def job(job_id: str, fact: str = "*") -> str:
    return f"stoker.job.{job_id}.{fact}"


def work(pool: str, class_name: str = "*", job_id: str = "*") -> str:
    return f"stoker.work.{pool}.{class_name}.{job_id}"


def log(job_id: str, attempt: int | str = "*", rank: int | str = "*", worker: str = "*") -> str:
    return f"stoker.log.{job_id}.{attempt}.{rank}.{worker}"


def metric(job_id: str = "*", attempt: int | str = "*", worker: str = "*") -> str:
    return f"stoker.metric.{job_id}.{attempt}.{worker}"


def request(service: str, verb: str, worker: str | None = None) -> str:
    """A worker's own requests end in its name: its permissions say no other."""
    return f"stoker.req.{service}.{verb}" + (f".{worker}" if worker else "")


def asker(subject: str) -> str:
    """Who made a request that ends in its own name: that is what an agent's rights are tied to."""
    return subject.rsplit(".", 1)[1]


def beat(worker: str, pool: str) -> str:
    """The pool stands in it for the server to check: nobody beats, or claims, for another one."""
    return f"stoker.beat.{pool}.{worker}"


def claim(worker: str, pool: str) -> str:
    return f"stoker.req.scheduler.claim.{pool}.{worker}"


def parse_claim(subject: str) -> tuple[str, str]:
    """Worker and pool; raises ``ValueError`` for any other subject."""
    match subject.split("."):
        case ["stoker", "req", "scheduler", "claim", pool, worker]:
            return worker, pool
    raise ValueError(f"{subject} is not a claim's subject")


def audit(service: str, deed: str = "*") -> str:
    """The service that wrote it down stands in it: the server lets nobody write for another."""
    return f"stoker.audit.{service}.{deed}"


def command(worker: str, verb: str = "*") -> str:
    return f"stoker.cmd.{worker}.{verb}"


def parse_job(subject: str) -> tuple[str, str]:
    """Job id and fact; raises ``ValueError`` for any other subject."""
    match subject.split("."):
        case ["stoker", "job", job_id, fact]:
            return job_id, fact
    raise ValueError(f"{subject} is not a job's subject")


def parse_log(subject: str) -> LogSubject:
    """Raises ``ValueError`` for any other subject."""
    match subject.split("."):
        case ["stoker", "log", job_id, attempt, rank, worker]:
            return LogSubject(job_id, int(attempt), int(rank), worker)
    raise ValueError(f"{subject} is not a log's subject")


def parse_metric(subject: str) -> tuple[str, int, str]:
    """Job, attempt and worker; raises ``ValueError`` for any other subject."""
    match subject.split("."):
        case ["stoker", "metric", job_id, attempt, worker]:
            return job_id, int(attempt), worker
    raise ValueError(f"{subject} is not a metric's subject")


def work_stream(pool: str) -> str:
    return f"WORK_{pool}"
