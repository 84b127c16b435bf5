"""What is asked of the service ``people``, and what does it answer?

Whatever makes a secret carries a ``request``: random, of the one who asks, and sent again when the
request is repeated. The same one gets the same secret, so that a lost answer leaves nothing behind.
"""

from __future__ import annotations

import secrets

from pydantic import Field

from schemas.message import Message
from schemas.people import Principal, Role, Way


def fresh() -> str:
    """A new ``request``."""
    return secrets.token_hex(32)


class AskedBy(Message):
    """Somebody who has signed in asks; ``people`` looks at who they are now, once more."""

    who: Principal
    address: str = ""
    """Where from, as the page saw it."""


class Check(Message):
    """``stoker.req.people.check``: whose is this? Answered by a ``Principal``.

    Refused with 401 ``not_signed_in`` where it is nobody's, or not any more.
    """

    kind: Way
    """``session``, ``token`` or ``share``."""
    value: str
    """The cookie, the token, or the secret of the link, as it came."""


class SignIn(Message):
    """``stoker.req.people.sign_in``: by a one-time link, or else by name and password.

    Refused with 401 ``wrong_sign_in`` or ``wrong_link``; with 429 ``too_many_tries``, whose
    ``Problem.retry_after`` says in how many seconds another try is looked at.
    """

    name: str = ""
    password: str = ""
    link: str = ""
    address: str = ""
    request: str = Field(default_factory=fresh)


class Vouched(Message):
    """``stoker.req.people.vouched``: an identity provider has shown to the page who this is."""

    issuer: str
    subject: str
    name: str = ""
    """What they like to be called; made into a user's name at the first sign-in."""
    email: str = ""
    """Only where the provider says that it is theirs."""
    groups: tuple[str, ...] = ()
    address: str = ""
    request: str = Field(default_factory=fresh)


class SignedIn(Message):
    """A session has begun: a new one each time."""

    cookie: str
    """The value to keep in the browser; shown to nobody else."""
    principal: Principal
    password: bool
    """Whether the user has one."""


class SignOut(Message):
    """``stoker.req.people.sign_out``: the session ends; repeated, no error."""

    cookie: str
    address: str = ""


class SetPassword(AskedBy):
    """``stoker.req.people.set_password``: their own, from a session; its other sessions end.

    Refused with 403 ``wrong_password`` where ``old`` is not the one before. A session that began by
    a one-time link needs no ``old`` in its first hour.
    """

    old: str = ""
    new: str


class ListSessions(AskedBy):
    """``stoker.req.people.sessions``: where they are signed in."""


class SessionView(Message):
    """What may be shown of a session: never its secret."""

    id: str
    created_at: float
    seen_at: float
    """Their last use, to a few minutes."""
    expires_at: float
    address: str = ""
    """Where they signed in from."""


class SessionList(Message):
    sessions: tuple[SessionView, ...] = ()


class EndSessions(AskedBy):
    """``stoker.req.people.end_sessions``: all of theirs but the one that asks."""


class MakeLink(AskedBy):
    """``stoker.req.people.link``: a one-time sign-in link for a user; the one before is void."""

    user: str
    life: float = 900.0
    """Seconds, at most a week."""
    request: str = Field(default_factory=fresh)


class MadeLink(Message):
    link: str
    """The secret; the page's address for it is ``/sign-in#link=<secret>``."""
    expires_at: float


class ListUsers(AskedBy):
    """``stoker.req.people.users``"""


class UserView(Message):
    """What may be shown of a user."""

    name: str
    role: Role
    teams: tuple[str, ...] = ()
    """Who shares one of them sees, and may stop, the other's jobs."""
    email: str = ""
    password: bool = False
    """Whether they have one."""
    issuer: str = ""
    """The identity provider that vouched for them."""
    created_at: float
    created_by: str = ""
    seen_at: float | None = None
    """Their last sign-in."""


class UserList(Message):
    users: tuple[UserView, ...] = ()


class PutUser(AskedBy):
    """``stoker.req.people.put_user``: make a user, or change one; None leaves that as it is.

    Refused with 409 ``last_admin`` where nobody would be left to rule.
    """

    user: str
    role: Role | None = None
    """Of a new user: member."""
    teams: tuple[str, ...] | None = None
    email: str | None = None
    """Whom an identity provider vouches for with that address is this user."""
    new: bool = False
    """Refused with 409 ``user_exists`` where there is such a user, of another request."""
    request: str = Field(default_factory=fresh)


class RemoveUser(AskedBy):
    """``stoker.req.people.remove_user``: their sessions, tokens, links and shares are void at once.

    Their jobs stay. Repeated, it is no error.
    """

    user: str


class ListTokens(AskedBy):
    """``stoker.req.people.tokens``: their own; of an admin who asks with ``every``, everybody's."""

    every: bool = False


class TokenView(Message):
    """What may be shown of a token: never its secret."""

    id: str
    user: str
    name: str
    """What it is for, in the user's words."""
    scope: Role
    """It may do no more than this, whatever its user is."""
    created_at: float
    expires_at: float | None = None
    last_used_at: float | None = None
    """To the minute."""


class TokenList(Message):
    tokens: tuple[TokenView, ...] = ()


class MakeToken(AskedBy):
    """``stoker.req.people.make_token``: for themselves; an admin may make one for somebody else."""

    name: str
    scope: Role
    life: float | None = None
    """Seconds; None: until it is revoked. One that a token makes ends with that at the latest."""
    user: str = ""
    request: str = Field(default_factory=fresh)


class MadeToken(Message):
    secret: str
    """Told this once."""
    token: TokenView


class RevokeToken(AskedBy):
    """``stoker.req.people.revoke_token``: one's own, or an admin anybody's; repeated, no error."""

    id: str


class ShareJob(AskedBy):
    """``stoker.req.people.share``: whoever has the link sees that job, and nothing else."""

    job: str
    life: float = 7 * 86_400.0
    """Seconds, at most 90 days."""
    request: str = Field(default_factory=fresh)


class ShareView(Message):
    id: str
    job: str
    by: str
    created_at: float
    expires_at: float


class MadeShare(Message):
    secret: str
    """The page's address for it is ``/shared/<secret>``; told this once."""
    share: ShareView


class ListShares(AskedBy):
    """``stoker.req.people.shares``: of one job."""

    job: str


class ShareList(Message):
    shares: tuple[ShareView, ...] = ()


class Unshare(AskedBy):
    """``stoker.req.people.unshare``: the link is void; repeated, no error."""

    job: str
    id: str


class First(Message):
    """``stoker.req.people.first``: make the first admin, where there is no user yet."""

    name: str


class FirstAdmin(Message):
    name: str
    """The admin that was made at the first start."""
    user: UserView | None = None
    """None: removed since."""
