"""What does the id of a job, a worker, a request look like?"""

from __future__ import annotations

import re

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
"""Crockford's base32 in lower case: no i, l, o, u; its order is also the order of its bytes."""

EPOCH = 1_704_067_200.0
"""2024-01-01 UTC in Unix seconds: job ids count from here."""

TICK = 0.01
"""Seconds that one step of a job id's time part stands for."""

JOB_ID = re.compile(r"^[0-9a-hjkmnp-tv-z]{8}-[0-9a-hjkmnp-tv-z]{4}$")
NAME_TOKEN = re.compile(r"^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$")
"""Names of pools and workers: one token of a subject."""
USER_NAME = re.compile(r"^[a-z0-9](?:[a-z0-9_-]{0,61}[a-z0-9])?$")
"""Names of users and teams: those of Unix users, as far as they are one token of a subject."""


def base32(number: int, width: int) -> str:
    """The lowest ``width`` base32 digits of ``number``."""
    digits = []
    for _ in range(width):
        number, digit = divmod(number, 32)
        digits.append(ALPHABET[digit])
    return "".join(reversed(digits))


def job_id(now: float, entropy: int) -> str:
    """An id that sorts by time (10 ms) and reads aloud: ``0d4k8q2m-7xv3``.

    ``now`` is Unix seconds, ``entropy`` any random integer (20 bits of it are used).
    """
    return f"{base32(int((now - EPOCH) / TICK), 8)}-{base32(entropy, 4)}"
