"""How does a program learn why it is stopped? From a file, before the signal. Shims use it."""

from __future__ import annotations

import contextlib

from agent.folder import AttemptFolder
from schemas.reason import Reason

STOP_FILE = "reason"


def tell_why(folder: AttemptFolder, reason: Reason, grace: float) -> None:
    """The reason, and in a second line the seconds until it is killed. Whole or not at all.

    Only the agent's user writes in that folder. A program that is not told is stopped all the same.
    """
    place = folder.stop / STOP_FILE
    new = folder.stop / f"{STOP_FILE}.new"
    with contextlib.suppress(OSError):
        new.write_text(f"{reason.value}\n{grace:g}\n")
        new.chmod(0o644)
        new.rename(place)
