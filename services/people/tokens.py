"""Which tokens stand for a user where a program asks?"""

from __future__ import annotations

from bus.errors import Conflict
from schemas.audit import Deed
from schemas.message import Empty
from schemas.people import Principal, Role, Way
from schemas.people_requests import ListTokens, MadeToken, MakeToken, RevokeToken, TokenList
from services.people.desk import Desk, life, refused, until_won
from services.people.kept import Token, User, token_key
from services.people.passes import Pass, token_text
from services.people.sound import check_name, no_such_user

LONGEST_LIFE = 3650 * 86_400.0
MOST_TOKENS = 200
"""Of one user, those that were revoked lately among them."""
LONGEST_NAME = 100


class Tokens:
    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def on_tokens(self, asked: ListTokens, subject: str) -> TokenList:
        who = await self._desk.asker(asked, Role.ADMIN if asked.every else Role.VIEWER)
        below = "token" if asked.every else f"token.{check_name(who.name)}"
        kept = await self._desk.book.all(below, Token)
        views = [
            one.value.view(*key.split(".")[1:]) for key, one in kept.items()
            if not one.value.revoked_at
        ]  # fmt: skip
        return TokenList(tokens=tuple(sorted(views, key=lambda view: view.created_at)))

    async def on_make(self, asked: MakeToken, subject: str) -> MadeToken:
        who = await self._desk.asker(asked)
        name = asked.name.strip()
        if not 1 <= len(name) <= LONGEST_NAME or not name.isprintable():
            raise refused("bad_name", "say in 1 to 100 characters what the token is for")
        user = await self._user(asked, who)
        if asked.scope.rank > who.role.rank and user.name == who.name:
            raise refused("scope", f"whoever is {who.role} makes no token for {asked.scope}", 403)
        one = self._desk.maker.derive("token", user.name, asked.request)
        token = Token(
            user_id=user.id, digest=one.digest, name=name, scope=asked.scope,
            created_at=self._desk.clock(), expires_at=self._end(asked, who),
        )  # fmt: skip
        token = await self._written(user, one, token, asked, who)
        return MadeToken(secret=token_text(one), token=token.view(user.name, one.id))

    async def on_revoke(self, asked: RevokeToken, subject: str) -> Empty:
        who = await self._desk.asker(asked)
        below = "token" if who.role is Role.ADMIN else f"token.{check_name(who.name)}"
        for key, kept in (await self._desk.book.all(below, Token)).items():
            user, id = key.split(".")[1:]
            if id == asked.id and await self._revoked(key):
                detail = f"{kept.value.name} of {user}"
                await self._desk.note(Deed.TOKEN_REVOKED, who.name, id, detail, asked.address)
        return Empty()

    async def _user(self, asked: MakeToken, who: Principal) -> User:
        name = check_name(asked.user or who.name)
        if name != who.name and who.role is not Role.ADMIN:
            raise refused("not_allowed", "only an admin makes tokens for somebody else", 403)
        user = await self._desk.user(name)
        if user is None:
            raise no_such_user(name)
        return user

    def _end(self, asked: MakeToken, who: Principal) -> float | None:
        end = None
        if asked.life is not None:
            end = self._desk.clock() + life(asked.life, LONGEST_LIFE, "a token")
        if who.way is Way.TOKEN and who.expires_at is not None:
            end = who.expires_at if end is None else min(end, who.expires_at)
        return end

    async def _written(
        self, user: User, one: Pass, token: Token, asked: MakeToken, who: Principal
    ) -> Token:
        if len(await self._desk.book.all(f"token.{user.name}", Token)) >= MOST_TOKENS:
            raise refused(
                "too_many_tokens", f"{user.name} has {MOST_TOKENS} tokens; revoke some", 409
            )
        try:
            await self._desk.book.write(token_key(user.name, one.id), token, 0)
        except Conflict:
            return await self._again(user, one)
        detail = f"{token.name} of {user.name}, {token.scope}"
        await self._desk.note(Deed.TOKEN_MADE, who.name, one.id, detail, asked.address)
        return token

    async def _again(self, user: User, one: Pass) -> Token:
        """The request was repeated."""
        found = await self._desk.book.get(token_key(user.name, one.id), Token)
        if found is None or found.value.revoked_at or found.value.user_id != user.id:
            raise refused("revoked", "the token of that request was revoked", 409)
        return found.value

    async def _revoked(self, key: str) -> bool:
        async def change() -> bool:
            found = await self._desk.book.get(key, Token)
            if found is None or found.value.revoked_at:
                return False
            void = found.value.model_copy(update={"revoked_at": self._desk.clock()})
            await self._desk.book.write(key, void, found.revision)
            return True

        return await until_won(change)
