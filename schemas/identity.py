"""What is asked of the service ``identity``, and what does it keep of each worker?"""

from __future__ import annotations

from schemas.message import Message


class Invite(Message):
    """``stoker.req.identity.invite``: let one machine join under that name."""

    worker: str
    pool: str
    by: str = ""
    """Who invites."""
    life: float
    """Seconds for which the invitation stands."""
    address: str = ""
    """Where the request came from, where a page saw it; for the audit."""


class Invited(Message):
    """The token may be used once, and only to join."""

    id: str
    token: str
    expires_at: float
    """Unix seconds."""


class Enrol(Message):
    """``stoker.req.identity.enrol.<invitation>``: a machine shows the key that it has made."""

    key: str
    """Its public half."""
    signature: bytes
    """Of ``proof``: whoever asks has the other half."""


class Renew(Message):
    """``stoker.req.identity.renew.<worker>``: the same key for another while."""


class Enrolled(Message):
    """Who the worker is from now on; repeated with the same key, it gets the same."""

    token: str
    worker: str
    pool: str


class Revoke(Message):
    """``stoker.req.identity.revoke``: the worker is thrown out, and its invitations are void."""

    worker: str
    by: str = ""
    address: str = ""


class ListIdentities(Message):
    """``stoker.req.identity.list``"""


class Invitation(Message):
    """Kept under ``token.<id>`` until it has expired."""

    id: str
    worker: str
    pool: str
    by: str
    key: str
    """Public half of the token's own key; nobody has the other one."""
    expires_at: float
    used_by: str = ""
    """The public key that joined with it."""
    used_at: float = 0.0


class WorkerIdentity(Message):
    """Kept under ``worker.<name>``."""

    worker: str
    pool: str
    key: str
    by: str = ""
    """Who invited it."""
    joined_at: float
    expires_at: float
    """When its token runs out, unless it is renewed before."""
    revoked_at: float | None = None
    revoked_by: str = ""


class Revoked(Message):
    """Kept under ``revoked.<public key>`` for as long as a token of that key could count."""

    at: int
    until: float


class Identities(Message):
    workers: tuple[WorkerIdentity, ...] = ()
    invitations: tuple[Invitation, ...] = ()


def proof(invitation: str, key: str) -> bytes:
    """What a machine signs when it joins."""
    return f"stoker enrol {invitation} {key}".encode()
