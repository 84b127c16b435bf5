"""Who sees a job because somebody gave them its link?"""

from __future__ import annotations

from bus.errors import Conflict, NotFound
from bus.records import Records
from schemas.access import Action, may
from schemas.audit import Deed
from schemas.ids import JOB_ID
from schemas.message import Empty
from schemas.people import Principal, Way
from schemas.people_requests import (
    AskedBy,
    ListShares,
    MadeShare,
    ShareJob,
    ShareList,
    Unshare,
)
from services.people.desk import Desk, life, refused, until_won
from services.people.kept import Share, share_key
from services.people.passes import Pass, plain_text

LONGEST_SHARE = 90 * 86_400.0
MOST_SHARES = 100
"""Of one job."""


class Shares:
    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._records = Records(desk.bus)

    async def on_share(self, asked: ShareJob, subject: str) -> MadeShare:
        who = await self._allowed(asked, asked.job)
        now = self._desk.clock()
        ends = now + life(asked.life, LONGEST_SHARE, "the link of a job")
        one = self._desk.maker.derive("share", asked.job, f"{who.name} {asked.request}")
        share = Share(
            digest=one.digest, by=who.name, user_id=await self._id(who), created_at=now,
            expires_at=ends,
        )  # fmt: skip
        share = await self._written(asked, who, one, share)
        return MadeShare(secret=plain_text(one), share=share.view(asked.job, one.id))

    async def on_shares(self, asked: ListShares, subject: str) -> ShareList:
        await self._allowed(asked, asked.job)
        kept, now = await self._desk.book.all(f"share.{asked.job}", Share), self._desk.clock()
        views = [
            one.value.view(*key.split(".")[1:]) for key, one in kept.items()
            if not one.value.revoked_at and one.value.expires_at > now
        ]  # fmt: skip
        return ShareList(shares=tuple(sorted(views, key=lambda view: view.created_at)))

    async def on_unshare(self, asked: Unshare, subject: str) -> Empty:
        who = await self._allowed(asked, asked.job)
        if not asked.id.isalnum():
            raise refused("bad_id", f"{asked.id!r} is no id of a shared link")

        async def change() -> bool:
            key = share_key(asked.job, asked.id)
            found = await self._desk.book.get(key, Share)
            if found is None or found.value.revoked_at:
                return False
            void = found.value.model_copy(update={"revoked_at": self._desk.clock()})
            await self._desk.book.write(key, void, found.revision)
            return True

        if await until_won(change):
            await self._desk.note(
                Deed.UNSHARED, who.name, asked.job, f"link {asked.id}", asked.address
            )
        return Empty()

    async def _allowed(self, asked: AskedBy, job: str) -> Principal:
        """Whoever may stop the job; for all others there is none."""
        who = await self._desk.asker(asked)
        if not JOB_ID.fullmatch(job):
            raise no_such_job(job)
        try:
            owner = (await self._records.get(job)).record.owner
        except NotFound as error:
            raise no_such_job(job) from error
        if not may(who, Action.SEE_JOB, owner, job):
            raise no_such_job(job)
        if not may(who, Action.STOP_JOB, owner, job):
            raise refused("not_allowed", "whoever may stop a job may share it", 403)
        return who

    async def _id(self, who: Principal) -> str:
        if who.way is Way.LOCAL:
            return ""
        user = await self._desk.user(who.name)
        return user.id if user else "gone"

    async def _written(self, asked: ShareJob, who: Principal, one: Pass, share: Share) -> Share:
        if len(await self._desk.book.all(f"share.{asked.job}", Share)) >= MOST_SHARES:
            raise refused("too_many_shares", f"that job has {MOST_SHARES} links", 409)
        key = share_key(asked.job, one.id)
        try:
            await self._desk.book.write(key, share, 0)
        except Conflict:
            found = await self._desk.book.get(key, Share)
            if found is None or found.value.revoked_at:
                raise refused("revoked", "the link of that request was revoked", 409) from None
            return found.value
        await self._desk.note(Deed.SHARED, who.name, asked.job, f"link {one.id}", asked.address)
        return share


def no_such_job(job: str) -> Exception:
    return refused("not_found", f"there is no job {job}", 404)
