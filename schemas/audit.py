"""What is written down of what people did?"""

from __future__ import annotations

from enum import StrEnum

from schemas.message import Message


class Deed(StrEnum):
    """What was done; the last token of ``stoker.audit.<service>.<deed>``."""

    SIGN_IN = "sign-in"
    SIGN_IN_REFUSED = "sign-in-refused"
    SIGN_OUT = "sign-out"
    USER_PUT = "user-put"
    USER_REMOVED = "user-removed"
    TOKEN_MADE = "token-made"
    TOKEN_REVOKED = "token-revoked"
    SHARED = "shared"
    UNSHARED = "unshared"
    SUBMIT = "submit"
    CANCEL = "cancel"
    DRAIN = "drain"
    INVITE = "invite"
    JOIN = "join"
    REVOKE = "revoke"
    SECRET_SET = "secret-set"
    SECRET_REMOVED = "secret-removed"
    QUOTA_SET = "quota-set"
    DATA_PUT = "data-put"
    DATA_REMOVED = "data-removed"


class AuditEntry(Message):
    """One deed. Never holds a secret."""

    at: float
    """Unix seconds, by the clock of the service that wrote it."""
    deed: Deed
    who: str
    """Name of the user; of a machine for what a worker does; empty where nobody is known."""
    target: str = ""
    """The job, worker, user, token or secret that it was done to."""
    detail: str = ""
    address: str = ""
    """Where the request came from, as the page saw it."""


class AuditRow(AuditEntry):
    """An entry, and what the stream knows of it."""

    sequence: int
    """Its place in the stream: there is none twice and none missing."""
    stored_at: float
    """Unix seconds, by the clock of the bus."""
    service: str
    """Who wrote it: the bus lets nobody write for another."""


class AuditList(Message):
    """Newest first."""

    entries: tuple[AuditRow, ...]
    before: int | None = None
    """To be asked for next, for older ones; None where there are none."""
    last: int = 0
    """The newest sequence of all: ``after`` it comes what is new."""
