"""How does whoever starts ``stoker up`` get in: by the command, and on the page?

Both are asked of ``people`` over the bus, as the page would: whoever owns the data folder owns the
keys of the bus, too.
"""

from __future__ import annotations

import logging
import pwd
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from bus import subjects
from bus.connection import Bus
from bus.errors import BusError
from bus.keys import write_private
from bus.link import BusConfig
from schemas.ids import USER_NAME
from schemas.message import Empty
from schemas.people import Principal, Role, Way
from schemas.people_requests import (
    First,
    FirstAdmin,
    ListTokens,
    MadeLink,
    MadeToken,
    MakeLink,
    MakeToken,
    RevokeToken,
    TokenList,
    UserView,
)
from stoker import config
from stoker.keeping import OWN_TOKEN

log = logging.getLogger(__name__)


TOKEN_NAME = "the command where stoker up runs"
LINK_LIFE = 900.0
ANYBODY = "admin"


@dataclass(frozen=True, slots=True)
class Welcome:
    """How the first admin gets in."""

    user: str
    token: str | None = None
    """For the command; None where that admin was removed since."""
    link: str = ""
    """Address that signs in once; empty where they have a password, or nobody has to sign in."""
    link_file: Path | None = None


def owner_of(data: Path) -> str:
    """The user of the machine that the folder belongs to, as a user's name here."""
    with suppress(OSError, KeyError):
        name = pwd.getpwuid(data.stat().st_uid).pw_name
        if USER_NAME.fullmatch(name):
            return name
    return ANYBODY


async def welcomed(page_bus: BusConfig, data: Path, url: str) -> Welcome:
    """Makes the admin where there is none, a new token for the command, and a link."""
    who = Principal(name=owner_of(data), role=Role.ADMIN, sees=None, way=Way.LOCAL)
    clear(data)
    async with Bus.connect(page_bus) as bus:
        desk = Desk(bus, who)
        first = await bus.request(request("first"), First(name=who.name), FirstAdmin)
        if first.user is None:
            log.warning("%s was removed: the command needs stoker login here, too", first.name)
            return Welcome(first.name)
        token = await desk.token(first.name)
        write_private(data / config.KEYS / OWN_TOKEN, token + "\n")
        link = await desk.link(first.user, url)
    if not link:
        return Welcome(first.name, token)
    file = data / config.LINK_FILE
    write_private(file, link + "\n")
    return Welcome(first.name, token, link, file)


def clear(data: Path) -> None:
    """What the start before has left does not count any more."""
    for path in (data / config.LINK_FILE, data / config.KEYS / OWN_TOKEN):
        path.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class Desk:
    """Asks ``people`` as the owner of everything."""

    bus: Bus
    who: Principal

    async def token(self, user: str) -> str:
        """A new one; those of the starts before are void."""
        asked = MakeToken(who=self.who, name=TOKEN_NAME, scope=Role.ADMIN, user=user)
        made = await self.bus.request(request("make_token"), asked, MadeToken)
        try:
            await self._revoke_but(made)
        except BusError as error:
            log.warning("the token of the last start still counts: %s", error)
        return made.secret

    async def _revoke_but(self, made: MadeToken) -> None:
        every = ListTokens(who=self.who, every=True)
        for old in (await self.bus.request(request("tokens"), every, TokenList)).tokens:
            if (old.user, old.name) == (made.token.user, TOKEN_NAME) and old.id != made.token.id:
                await self.bus.request(
                    request("revoke_token"), RevokeToken(who=self.who, id=old.id), Empty
                )

    async def link(self, user: UserView, url: str) -> str:
        """Empty where they have another way in."""
        if user.password or user.issuer:
            return ""
        asked = MakeLink(who=self.who, user=user.name, life=LINK_LIFE)
        made = await self.bus.request(request("link"), asked, MadeLink)
        return f"{url}/sign-in#link={made.link}"


def request(verb: str) -> str:
    return subjects.request("people", verb)
