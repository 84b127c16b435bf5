"""Who may be here, as what, and how do they come in for the first time?"""

from __future__ import annotations

import secrets
from collections.abc import Mapping

from bus.errors import Conflict
from schemas.audit import Deed
from schemas.message import Empty
from schemas.people import Principal, Role
from schemas.people_requests import (
    First,
    FirstAdmin,
    ListUsers,
    MadeLink,
    MakeLink,
    PutUser,
    RemoveUser,
    UserList,
    UserView,
)
from services.people.desk import Desk, life, refused, role_of, until_won
from services.people.kept import ADMINS, Admins, Link, Owned, User, hashed, link_key, user_key
from services.people.passes import plain_text
from services.people.sound import changes, check_name, check_new, check_user, no_such_user

LONGEST_LINK = 7 * 86_400.0
MOST_USERS = 10_000


class Users:
    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def on_users(self, asked: ListUsers, subject: str) -> UserList:
        await self._desk.asker(asked, Role.ADMIN)
        kept, admins = await self._desk.book.all("user", User), await self._desk.admins()
        views = [one.value.view(role_of(one.value, admins)) for one in kept.values()]
        return UserList(users=tuple(sorted(views, key=lambda view: view.name)))

    async def on_put(self, asked: PutUser, subject: str) -> UserView:
        who = await self._desk.asker(asked, Role.ADMIN)
        check_user(asked)
        before = await self._desk.user(asked.user)
        check_new(asked, before)
        if before is not None and asked.role not in (None, Role.ADMIN):
            await self._not_admin(
                before
            )  # Before all else: where that is refused, nothing changes.
        user = await until_won(lambda: self._written(asked, who))
        if asked.role is Role.ADMIN:
            await self.set_role(user, asked.role)
        self._desk.forget_teams()
        view = user.view(role_of(user, await self._desk.admins()))
        detail = f"{view.role}, teams: {', '.join(view.teams) or 'none'}"
        await self._desk.note(Deed.USER_PUT, who.name, user.name, detail, asked.address)
        return view

    async def on_remove(self, asked: RemoveUser, subject: str) -> Empty:
        who = await self._desk.asker(asked, Role.ADMIN)
        user = await self._desk.user(check_name(asked.user))
        if user is not None:
            await self._not_admin(user)
            await self._desk.book.erase(user_key(user.name))
            self._desk.forget_teams()
            await self._desk.note(Deed.USER_REMOVED, who.name, user.name, address=asked.address)
        await self._swept(asked.user)
        return Empty()

    async def on_link(self, asked: MakeLink, subject: str) -> MadeLink:
        who = await self._desk.asker(asked, Role.ADMIN)
        seconds = life(asked.life, LONGEST_LINK, "a sign-in link")
        user = await self._desk.user(check_name(asked.user))
        if user is None:
            raise no_such_user(asked.user)
        made = await self.make_link(user, seconds, asked.request)
        await self._desk.note(
            Deed.USER_PUT, who.name, user.name, "one-time sign-in link", asked.address
        )
        return made

    async def on_first(self, asked: First, subject: str) -> FirstAdmin:
        return await self.first(asked.name)

    async def first(self, name: str) -> FirstAdmin:
        """The admin of the first start; of several replicas one makes it.

        Made anew where no admin is left, whatever has happened: whoever can start the services, or
        ask them over the bus, owns all of it anyway.
        """
        found = await self._desk.book.get(ADMINS, Admins)
        if found is None or not await self._living(found.value.ids):
            admins = await self._begun(check_name(name), found.revision if found else 0)
        else:
            admins = found.value
        user = await self._desk.user(admins.first)
        view = user.view(role_of(user, admins)) if user else None
        return FirstAdmin(name=admins.first, user=view)

    async def make_link(self, user: User, seconds: float, request: str) -> MadeLink:
        """The same request gets the same link, used or not."""
        one = self._desk.maker.derive("link", user.name, request)
        expires_at = self._desk.clock() + seconds

        async def change() -> float:
            found = await self._desk.book.get(link_key(user.name), Link)
            if found is not None and one.proves(found.value.digest):
                return found.value.expires_at
            link = Link(user_id=user.id, digest=one.digest, expires_at=expires_at)
            await self._desk.book.write(link_key(user.name), link, found.revision if found else 0)
            return expires_at

        return MadeLink(expires_at=await until_won(change), link=plain_text(one))

    async def set_role(self, user: User, role: Role) -> None:
        """Refused with 409 ``last_admin`` where nobody would be left to rule."""
        if role is not Role.ADMIN:
            await self._not_admin(user)
            return

        async def change() -> None:
            found = await self._desk.book.get(ADMINS, Admins)
            admins = found.value if found else Admins(first=user.name)
            if admins.ids.get(user.name) != user.id:
                ids = {**admins.ids, user.name: user.id}
                fresh = admins.model_copy(update={"ids": ids})
                await self._desk.book.write(ADMINS, fresh, found.revision if found else 0)

        await until_won(change)

    async def create(self, user: User) -> User:
        """Raises ``Conflict`` where the name is taken."""
        if len(await self._desk.book.all("user", User)) >= MOST_USERS:
            raise refused("too_many_users", f"there are {MOST_USERS} users; remove some", 409)
        await self._desk.book.write(user_key(user.name), user, 0)
        return user

    def fresh(self, name: str, role: Role, by: str, request: str = "") -> User:
        # Until they are among the admins an admin is nothing more than a viewer.
        least = Role.VIEWER if role is Role.ADMIN else role
        return User(
            name=name,
            id=secrets.token_hex(8),
            request=request,
            role=least,
            created_at=self._desk.clock(),
            created_by=by,
        )

    async def _written(self, asked: PutUser, who: Principal) -> User:
        found = await self._desk.book.get(user_key(asked.user), User)
        before = found.value if found else None
        check_new(asked, before)
        role, request = asked.role or Role.MEMBER, hashed(asked.request)
        made = before or self.fresh(asked.user, role, who.name, request)
        user = made.model_copy(update=changes(asked))
        if before is None:
            return await self.create(user)
        if user != before and found is not None:
            await self._desk.book.write(user_key(user.name), user, found.revision)
        return user

    async def _not_admin(self, user: User) -> None:
        async def change() -> None:
            found = await self._desk.book.get(ADMINS, Admins)
            if found is None or found.value.ids.get(user.name) != user.id:
                return
            ids = {name: id for name, id in found.value.ids.items() if name != user.name}
            if not await self._living(ids):
                raise refused(
                    "last_admin", f"{user.name} is the only admin; make another one first", 409
                )
            fresh = found.value.model_copy(update={"ids": ids})
            await self._desk.book.write(ADMINS, fresh, found.revision)

        await until_won(change)

    async def _living(self, ids: Mapping[str, str]) -> bool:
        """Whether one of them is a user: who was removed may have been made an admin meanwhile."""
        for name, id in ids.items():
            user = await self._desk.user(name)
            if user is not None and user.id == id:
                return True
        return False

    async def _begun(self, name: str, revision: int) -> Admins:
        """Whoever writes ``admins`` has made the first one."""
        user = await self._desk.user(name)
        if user is None:
            user = self.fresh(name, Role.ADMIN, "first start")
            try:
                await self.create(user)
            except Conflict:
                return await self._begun(name, revision)
        admins = Admins(ids={name: user.id}, first=name)
        try:
            await self._desk.book.write(ADMINS, admins, revision)
        except Conflict:
            return await self._desk.admins()
        await self._desk.note(Deed.USER_PUT, "", name, "admin of the first start")
        return admins

    async def _swept(self, name: str) -> None:
        """What they left is void already, by the ``id`` of the user that is gone."""
        left = [await self._desk.book.get(link_key(name), Owned)]
        for below in ("session", "token"):
            left += (await self._desk.book.all(f"{below}.{name}", Owned)).values()
        user = await self._desk.user(name)
        for one in left:
            if one is not None and (user is None or one.value.user_id != user.id):
                await self._desk.book.erase_at(one.revision)
