"""Which stored bundle does a submission mean, and what it sent has to become one first?"""

from __future__ import annotations

import logging
from collections import OrderedDict

from bus.clock import ServerClock
from bus.connection import Bus
from bus.errors import BusError, NotFound
from bus.objects import Objects
from bus.records import Records
from schemas.requests import Submit
from schemas.tree import scope_of
from services.upload.admission import Admission
from services.upload.archives import MOST_PARTS, ArchiveBundles
from services.upload.config import UploadConfig
from services.upload.refusals import BadBundle
from services.upload.stored import StoredBundle
from services.upload.trees import TreeBundles

log = logging.getLogger(__name__)

REMEMBERED = 1024
MOST_NAMES = 10_000
"""Of a bundle that is remembered."""


class Taking:
    """Of one replica."""

    def __init__(
        self, bus: Bus, config: UploadConfig, admission: Admission, clock: ServerClock
    ) -> None:
        self._objects = Objects(bus)
        self._records = Records(bus)
        self._archives = ArchiveBundles(bus, config, admission)
        self._trees = TreeBundles(bus, config, admission, clock)
        self._known: OrderedDict[tuple[str, str], StoredBundle] = OrderedDict()

    async def bundle(self, asked: Submit) -> StoredBundle:
        """Raises ``BadBundle``."""
        if asked.bundle is not None:
            return await self._stored(asked, asked.bundle)
        if asked.tree is not None:
            return self._remember(await self._trees.accept(asked.owner, asked.tree))
        if asked.upload is None:
            raise BadBundle("no_bundle", "a job needs a bundle: send a zip, or name a stored one")
        return self._remember(await self._archives.accept(parts_of(asked), asked.owner))

    async def discard(self, asked: Submit) -> None:
        """What was sent as a raw zip; a sweep takes what stays."""
        try:
            for name in parts_of(asked):
                await self._objects.delete("uploads", name)
        except BusError as error:
            log.info("upload %s stays until it is swept: %s", asked.upload, error)

    def forget(self, digest: str) -> None:
        """An archive that is not there any more."""
        self._known.pop(("", digest), None)

    async def _stored(self, asked: Submit, digest: str) -> StoredBundle:
        """As the job has it that this one repeats; among the owner's pieces; or as an archive."""
        for scope in dict.fromkeys([await self._scope_of_other(asked), scope_of(asked.owner), ""]):
            if scope is None:
                continue
            if (scope, digest) in self._known:
                return self._known[scope, digest]
            found = (
                await self._trees.find(scope, digest)
                if scope
                else await self._archives.find(digest)
            )
            if found is not None:
                return self._remember(found)
        raise BadBundle("no_such_bundle", f"no bundle {digest} is stored; send the zip", 404)

    async def _scope_of_other(self, asked: Submit) -> str | None:
        """None where there is no other job, or not with this bundle."""
        other = asked.retry_of or asked.like
        if other is None:
            return None
        try:
            record = (await self._records.get(other)).record
        except NotFound:
            return None
        return record.bundle_scope if record.bundle == asked.bundle else None

    def _remember(self, bundle: StoredBundle) -> StoredBundle:
        if len(bundle.files or ()) <= MOST_NAMES:
            self._known[bundle.scope, bundle.digest] = bundle
        while len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        return bundle


def parts_of(asked: Submit) -> list[str]:
    """The names of the objects in which a raw zip lies."""
    if asked.upload is None:
        return []
    if not asked.parts:
        return [asked.upload]
    return [f"{asked.upload}.{number}" for number in range(min(asked.parts, MOST_PARTS))]
