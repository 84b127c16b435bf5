"""With which code does the command end? docs/command.md tells the same to people."""

from __future__ import annotations

from stoker.answers import Job

USAGE = 2
NO_CODE = 121
"""The job failed without an exit code of its own: a build, a lost worker."""
CANCELLED = 122
TIMED_OUT = 124
"""The job's time limit, or that of ``stoker wait --timeout``."""
TROUBLE = 125
"""Stoker itself could not do it."""
DETACHED = 130
SIGNAL = 128
"""Added to the signal that ended the program."""


def code_of(job: Job) -> int:
    """The code that stands for an ended job."""
    if job.state == "succeeded":
        return 0
    if job.state == "cancelled":
        return CANCELLED
    if job.reason in ("timeout", "idle_timeout", "queue_timeout"):
        return TIMED_OUT
    if job.reason == "oom":
        return SIGNAL + 9
    if job.exit_code:
        return job.exit_code
    return SIGNAL + job.signal if job.signal else NO_CODE
