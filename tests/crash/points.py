"""What is an effect of a service, what is it called, and is it one that changes anything? Pure."""

from __future__ import annotations

import base64
import binascii
import re
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from types import FrameType

OWN = ("services", "ui")
"""Where a call site is looked for first: these know why something is sent."""
JOB = re.compile(r"^[0-9a-hjkmnp-tv-z]{8}-[0-9a-hjkmnp-tv-z]{4}$")
HEX = re.compile(r"^[0-9a-f]{8}$|^[0-9a-f]{12,}$")
READER = re.compile(r"^r[0-9a-f]{16}$")
"""The consumer of one who only reads."""
READS = (
    "$JS.API.STREAM.INFO.",
    "$JS.API.STREAM.MSG.GET.",
    "$JS.API.DIRECT.GET.",
    "$JS.API.CONSUMER.INFO.",
)


@dataclass(frozen=True)
class Point:
    """The ``nth`` time that a process comes to the effect ``name``."""

    name: str
    nth: int

    def __str__(self) -> str:
        return self.name + (f" ({self.nth})" if self.nth > 1 else "")


def points(names: Iterable[str], most: int) -> list[Point]:
    """In the order of their first times; of what happens again and again the first ``most``."""
    counts = Counter(names)
    return [
        Point(name, nth) for name, count in counts.items() for nth in range(1, min(count, most) + 1)
    ]


def effect(subject: str, payload: bytes, caller: FrameType) -> str:
    """Who sends it, and what: ids are left out, so that it is the same in every run."""
    words = [word(token) for token in subject.split(".")]
    if subject.startswith("$JS.ACK."):
        sent = f"{payload.split(b' ')[0].decode() or '+ACK'} {words[2]}"
    elif subject.startswith("_INBOX."):
        sent = "answer"
    elif subject.startswith("$O.") and words[2] == "M":
        sent = ".".join([*words[:3], object_name(subject.split(".")[3])])
    else:
        sent = ".".join(words)
    return f"{call_site(caller)} > {sent}"


def changes(subject: str) -> bool:
    """Whether anything outside is another afterwards.

    Not so for what only reads: whoever is killed there leaves all as after the effect before it.
    """
    if subject.startswith(READS):
        return False
    tokens = subject.split(".")
    return not (subject.startswith("$JS.API.CONSUMER.") and READER.match(tokens[-1]))


def word(token: str) -> str:
    if JOB.match(token):
        return "JOB"
    if READER.match(token):
        return "READER"
    return "ID" if HEX.match(token) else token


def object_name(token: str) -> str:
    try:
        name = base64.urlsafe_b64decode(token).decode()
    except (binascii.Error, UnicodeDecodeError):
        return "?"
    return ".".join(word(part) for part in name.split("."))


def call_site(frame: FrameType | None) -> str:
    """The innermost function of a service on the stack, else the innermost one of the bus."""
    innermost = ""
    while frame is not None:
        package = str(frame.f_globals.get("__name__", "")).split(".", 1)[0]
        # A coroutine's frame has the frame of whoever awaits it behind it.
        name = frame.f_code.co_qualname.replace(".<locals>", "")
        if package in OWN:
            return name
        if package == "bus" and not innermost:
            innermost = name
        frame = frame.f_back
    return innermost or "?"


def here() -> FrameType:
    return sys._getframe(1)
