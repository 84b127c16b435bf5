"""What does a line look like that says why something failed? The rows are in the two tables."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from schemas.reason import Reason

EVERYWHERE, PROGRAM, BUILD = "oeb", "oe", "b"
FULL = frozenset({Reason.DISK_FULL})


class Extent(StrEnum):
    """How far a quote goes from the line that matches."""

    LINES = "lines"
    """It, and the lines after it that match ``also``."""
    UNTIL = "until"
    """Up to the line that matches ``until``; no quote where none does."""
    REST = "rest"
    """All that follows."""


class Pick(StrEnum):
    """Which one, where several lines match."""

    FIRST = "first"
    LAST = "last"


def r(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)


NEVER = r(r"(?!)")


@dataclass(frozen=True)
class Rule:
    """One row. Patterns are searched in a line without its escapes and its source's name."""

    name: str
    start: re.Pattern[str]
    priority: int
    """The highest wins; of equals the later in the log."""
    streams: str = EVERYWHERE
    extent: Extent = Extent.LINES
    most: int = 1
    """Lines that it may take."""
    also: re.Pattern[str] = NEVER
    until: re.Pattern[str] = NEVER
    unless: re.Pattern[str] = NEVER
    """What must not be in the first line."""
    pick: Pick = Pick.LAST
    reach: int = 30
    """Most lines of its stream that may follow: what failed does not go on for long."""
    head: int = 1
    """Lines at its beginning that stay when its middle is cut."""
    sure: frozenset[Reason] = frozenset()
    """Reasons for which it goes before all others."""


@dataclass(frozen=True)
class Kind:
    """What the end of a traceback says of it."""

    name: str
    says: re.Pattern[str]
    priority: int


TRACEBACK = 60
LAST_LINES = "last-lines"
"""The name where no rule fits."""
TRACEBACKS = (
    Kind(
        "launcher",
        r(
            r"ChildFailedError|CalledProcessError|ProcessExitedException"
            r"|Error (?:compiling objects for|building) extension"
        ),
        15,
    ),
    Kind("interrupted", r(r"^(?:KeyboardInterrupt|BrokenPipeError|EOFError)\b"), 40),
    Kind("nccl", r(r"NCCL|nccl[A-Z]|DistBackendError"), 50),
    Kind(
        "cuda-out-of-memory",
        r(r"(?i)CUDA(?: error:)? out of memory|CUBLAS_STATUS_ALLOC_FAILED"),
        TRACEBACK,
    ),
    Kind(
        "out-of-memory",
        r(r"RESOURCE_EXHAUSTED|OOM when allocating|(?m:^MemoryError\b)"),
        TRACEBACK,
    ),
    Kind("device-side-assert", r(r"device-side assert triggered"), TRACEBACK),
    Kind("cuda", r(r"(?i)cudnn|cublas|CUDA error|cuda runtime error"), TRACEBACK),
    Kind("dataloader-worker", r(r"DataLoader worker"), TRACEBACK),
    Kind("disk-full", r(r"No space left on device|Disk quota exceeded"), TRACEBACK),
    Kind("permission-denied", r(r"^PermissionError\b"), TRACEBACK),
    Kind("module-not-found", r(r"^(?:ModuleNotFoundError|ImportError)\b"), TRACEBACK),
    Kind("syntax-error", r(r"^(?:SyntaxError|IndentationError|TabError)\b"), TRACEBACK),
    Kind("traceback", r(r""), TRACEBACK),
)
"""The first that fits names it."""

HEADER = r(r"(?:\+ Exception Group |Original )?Traceback \(most recent call last\):\s*$")
CHAINED = r(r"^\s*(?:During handling of the above|The above exception was the direct cause)")
EXCEPTION = r(r"^(?:[A-Za-z_]\w*\.)*(?:[A-Z]\w*|\w*(?:error|exit|timeout))(?:: |:?$)")
"""The line that a traceback ends with, its indent taken away."""
CLEANUP = r(
    r"^Exception ignored (?:in|on|while)|^Error in atexit|^future: <|^--- Logging error ---"
)
"""What announces a traceback that ends nothing."""
HANDLED = r(r"\b(?:ERROR|WARNING|WARN|CRITICAL)\b")
"""What announces a traceback that was caught; where something follows it went on."""
FRAME = r(r"^\s*File \".*\", line \d+")
CARETS = r(r"^[\s|]*[~^]+[\s~^]*$")
STEP = r(r"^Step \d+/\d+ : ")
"""Where Docker begins the next instruction: those before it went well."""
NOISE = re.compile(
    r"""
    ^\s*$ | ^wandb:\s | resource_tracker
    | ^\ --->\ | ^Removing\ intermediate\ container
    | ^\S+:\ \w*Warning:\  | ^\s*warnings\.warn\(
    | ^[^|]*\d{1,3}%\|.*\| | \|\s*\d+/\d+\ \[[\d:?]+<
    | ^Set\ the\ environment\ variable\ HYDRA_FULL_ERROR
    | ^Task\ exception\ was\ never | ^future:\ <
    | ^\[notice\]\  | ^WARNING:\ Running\ pip\ as | ^note:\ This\ error\ originates
    """,
    re.VERBOSE,
)
"""Lines that say nothing of a failure."""
