"""Why did an attempt end, and whose fault was it? Imports nothing heavy: shims use it."""

from __future__ import annotations

from enum import StrEnum


class Kind(StrEnum):
    """Whose fault a reason is; decides what is retried by default."""

    USER = "user"
    INFRASTRUCTURE = "infrastructure"


class Reason(StrEnum):
    """Why an attempt ended (or a job did without one)."""

    EXIT = "exit"
    OOM = "oom"
    TIMEOUT = "timeout"
    IDLE_TIMEOUT = "idle_timeout"
    QUEUE_TIMEOUT = "queue_timeout"
    CANCELLED = "cancelled"
    BUILD_FAILED = "build_failed"
    IMAGE_UNAVAILABLE = "image_unavailable"
    DATA_UNAVAILABLE = "data_unavailable"
    SECRET_UNAVAILABLE = "secret_unavailable"
    """A secret that the job names was removed, or cannot be given in that form."""
    OUTPUTS_TOO_LARGE = "outputs_too_large"
    DISK_FULL = "disk_full"
    WORKER_LOST = "worker_lost"
    LEASE_EXPIRED = "lease_expired"
    ENGINE_RESTARTED = "engine_restarted"
    PREEMPTED = "preempted"
    AGENT_ERROR = "agent_error"

    @property
    def kind(self) -> Kind:
        return Kind.INFRASTRUCTURE if self in INFRASTRUCTURE else Kind.USER


INFRASTRUCTURE = frozenset(
    {
        Reason.IMAGE_UNAVAILABLE,
        Reason.DATA_UNAVAILABLE,
        Reason.DISK_FULL,
        Reason.WORKER_LOST,
        Reason.LEASE_EXPIRED,
        Reason.ENGINE_RESTARTED,
        Reason.PREEMPTED,
        Reason.AGENT_ERROR,
    }
)
