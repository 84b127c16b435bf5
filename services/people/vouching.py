"""Which user is it that an identity provider vouches for?"""

from __future__ import annotations

import contextlib
import logging

from bus.errors import Conflict, Refused
from schemas.audit import Deed
from schemas.people import Role
from schemas.people_requests import SignedIn, Vouched
from services.people.desk import Desk, refused, until_won
from services.people.kept import Known, User, known_key, user_key
from services.people.naming import EVERYBODY, names_for, role_by_groups
from services.people.signing import Signing
from services.people.users import Users

log = logging.getLogger(__name__)


class Vouching:
    """Nobody becomes a user that was there before, but one with the e-mail address of theirs."""

    def __init__(self, desk: Desk, users: Users, signing: Signing) -> None:
        self._desk = desk
        self._users = users
        self._signing = signing

    async def on_vouched(self, asked: Vouched, subject: str) -> SignedIn:
        named = role_by_groups(asked.groups, self._desk.config.groups)
        role = named or self._desk.config.groups.get(EVERYBODY)
        user = await self._known(asked) or await self._by_email(asked)
        if role is None and (user is None or self._desk.config.groups):
            await self._desk.note(
                Deed.SIGN_IN_REFUSED, "", asked.name, f"by {asked.issuer}", asked.address
            )
            raise refused("not_admitted", "none of your groups is admitted here", 403)
        if user is None:
            user = await self._made(asked, role or Role.VIEWER)
        elif named is not None:
            user = await self._changed(user, named)
        one = self._desk.maker.derive("session", user.name, asked.request)
        return await self._signing.begin(user, one, asked.issuer, asked.address)

    async def _known(self, asked: Vouched) -> User | None:
        found = await self._desk.book.get(known_key(asked.issuer, asked.subject), Known)
        user = await self._desk.user(found.value.user) if found else None
        return user if user and found and user.id == found.value.user_id else None

    async def _by_email(self, asked: Vouched) -> User | None:
        """An admin has said beforehand whose address it is."""
        wanted = asked.email.strip().casefold()
        if not wanted:
            return None
        for kept in (await self._desk.book.all("user", User)).values():
            if kept.value.email == wanted and kept.value.issuer in ("", asked.issuer):
                return await self._tied(asked, kept.value)
        return None

    async def _made(self, asked: Vouched, role: Role) -> User:
        for name in names_for(asked.name, asked.email):
            user = self._users.fresh(name, role, asked.issuer)
            user = user.model_copy(update={"issuer": asked.issuer})
            with contextlib.suppress(Conflict):
                await self._users.create(user)
                return await self._settled(asked, user, role)
        raise refused("name_taken", f"there are too many users of the name {asked.name}", 409)

    async def _settled(self, asked: Vouched, user: User, role: Role) -> User:
        tied = await self._tied(asked, user)
        if tied.id != user.id:  # Another replica was asked at the same time.
            await self._desk.book.erase(user_key(user.name))
            return tied
        await self._users.set_role(user, role)
        self._desk.forget_teams()
        detail = f"{role}, vouched for by {asked.issuer}"
        await self._desk.note(Deed.USER_PUT, user.name, user.name, detail, asked.address)
        return user

    async def _tied(self, asked: Vouched, user: User) -> User:
        """Who belongs to that subject from now on: this user, or who was faster."""
        key = known_key(asked.issuer, asked.subject)

        async def change() -> User:
            found = await self._desk.book.get(key, Known)
            if found is not None:
                other = await self._desk.user(found.value.user)
                if other is not None and other.id == found.value.user_id:
                    return other
            known = Known(user=user.name, user_id=user.id)
            await self._desk.book.write(key, known, found.revision if found else 0)
            return user

        tied = await until_won(change)
        return await self._changed(tied, None, asked.issuer) if tied.id == user.id else tied

    async def _changed(self, user: User, role: Role | None, issuer: str = "") -> User:
        """The provider's groups say what they are; the last admin stays one."""

        async def change() -> User:
            found = await self._desk.book.get(user_key(user.name), User)
            if found is None:
                raise refused("not_admitted", "that user was removed in this moment", 403)
            noted: dict[str, object] = {"issuer": issuer or found.value.issuer}
            if role is not None and role is not Role.ADMIN:
                noted["role"] = role
            fresh = found.value.model_copy(update=noted)
            if fresh != found.value:
                await self._desk.book.write(user_key(user.name), fresh, found.revision)
            return fresh

        fresh = await until_won(change)
        if role is not None:
            try:
                await self._users.set_role(fresh, role)
            except Refused as error:
                log.warning("%s stays admin, though the groups say %s: %s", user.name, role, error)
        return fresh
