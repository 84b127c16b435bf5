"""Until when may an exclusive job run, if nobody hears of its worker any more?

The agent notes when it sent the last beat that was answered; the shim of an exclusive job looks at
the note by itself, so that a frozen or dead agent renews nothing. Counted by the boot clock, which
goes on while the machine sleeps. The lease ends well before the scheduler, which counts from when
it heard the beat, takes the worker for lost: nobody else runs the job before this program is gone.
"""

from __future__ import annotations

import contextlib
import os
import struct
import time
from pathlib import Path

NOTE = struct.Struct("<dd")
"""When the beat was sent, and after how long silence is a loss."""
SHARE = 0.75
"""Share of that time at which the program is killed; the rest is for the kill itself."""
WARNING = 0.2
"""Share of it for SIGTERM, before the kill."""
LOOK_EVERY = 1.0
"""Most seconds between two looks at the note: timers stand still while the machine sleeps."""
RAN_OUT = "no beat of the worker was answered until the lease of its exclusive job ran out"
CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def boot_time() -> float:
    """Seconds since the machine started, sleep included."""
    return time.clock_gettime(CLOCK)


class Lease:
    """The note in a work directory, for the agent that writes it and the shims that read it."""

    def __init__(self, work: Path) -> None:
        self._path = work / "lease"

    def renew(self, sent_at: float, lost_after: float) -> None:
        """A beat that was sent at that boot time was answered."""
        with contextlib.suppress(OSError):  # a full disk: the lease runs out
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.pwrite(descriptor, NOTE.pack(sent_at, lost_after), 0)
            finally:
                os.close(descriptor)

    def ends_in(self, now: float) -> tuple[float, float]:
        """Seconds until SIGTERM, and until SIGKILL; nothing is left where there is no note."""
        try:
            sent_at, lost_after = NOTE.unpack(self._path.read_bytes())
        except (OSError, struct.error):
            return 0.0, 0.0
        if sent_at > now:  # of an earlier start of the machine
            return 0.0, 0.0
        end = sent_at + SHARE * lost_after
        return end - WARNING * lost_after - now, end - now


def of_attempt(folder: Path) -> Lease:
    """The lease of the work directory that an attempt's folder lies in."""
    return Lease(folder.parent.parent)
