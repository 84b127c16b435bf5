"""What can be set of the service of metrics? Times in seconds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class MetricsConfig:
    """Times in seconds, sizes in bytes."""

    look_every: float = 1.0
    """How often is asked whether something came."""
    fold_every: float = 5.0
    """How often an attempt's news are taken in, where nobody watches it."""
    fold_watched: float = 1.0
    fold_worker: float = 10.0
    """The same for what workers measure of themselves."""
    watched_for: float = 15.0
    """How long a nudge of the page counts."""
    theirs_for: float = 6.0
    """How long what another replica took in is left to it."""
    outputs_every: float = 10.0
    """How often a running attempt's outputs are looked at for files of TensorBoard."""
    log_at_once: int = 16 << 20
    """Bytes of a log that are read before others have their turn."""
    save_every: int = 64 << 20
    """Bytes of a log without numbers after which is noted that they were read."""
    turn: float = 10.0
    """How long one attempt with much to take in keeps its place from the others: well below what
    the server waits for the answer about an attempt's end."""
    side_by_side: int = 4
    """Attempts that are taken in at one time."""
    tail: int = 16 << 10
    """Bytes of the newest points that lie in the index itself."""
    block: int = 384 << 10
    """Bytes up to which blocks are joined."""
    keep: float | None = None
    """After a job's end its metrics are deleted; None: never."""
    keep_worker: float = 86_400.0
    """How long what a worker measured of itself is kept."""
    outputs_late: float = 3600.0
    """After an attempt's end so long is waited for outputs that the end did not wait for."""
    missing_again: float = 5.0
    """How long until a log that lacks its end is looked at again."""
    sweep_every: float = 3600.0
    orphans_after: float = 3600.0
