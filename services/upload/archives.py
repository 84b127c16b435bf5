"""How does a raw .zip become a stored bundle?"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import BinaryIO, cast

from bus.connection import Bus
from bus.errors import Corrupt, NotFound
from bus.objects import ObjectInfo, Objects
from services.upload.admission import Admission
from services.upload.bundle import Bundle, canonical, canonical_bytes, inspect
from services.upload.config import UploadConfig
from services.upload.refusals import BadBundle
from services.upload.stored import StoredBundle

SMALL = 4 << 20
"""Bytes up to which a bundle is handled in memory and in one go."""
CHECKS = 2
"""Big bundles that are checked at one time; the others wait."""
LISTING_BYTES = 256 * 1024
"""Longest list of file names that is kept with a bundle."""
MOST_PARTS = 1 << 16


class ArchiveBundles:
    """Bundles that lie as one archive."""

    def __init__(self, bus: Bus, config: UploadConfig, admission: Admission) -> None:
        self._config = config
        self._admission = admission
        self._objects = Objects(bus)
        self._checks = asyncio.Semaphore(CHECKS)

    async def find(self, digest: str) -> StoredBundle | None:
        info = await self._objects.find("bundles", digest)
        if info is None:
            return None
        listing = info.metadata.get("files")
        files = tuple(listing.split("\n")) if listing else None
        return StoredBundle(digest, int(info.metadata.get("size", "0")), files)

    async def accept(self, names: Sequence[str], owner: str) -> StoredBundle:
        """Checks the raw zip, which lies in those objects, and stores its canonical form.

        Raises ``BadBundle``.
        """
        try:
            infos = [await self._objects.info("uploads", name) for name in names]
        except NotFound as error:
            raise BadBundle(
                "no_such_upload", "the upload is not there any more; send it again", 404
            ) from error
        size = sum(info.size for info in infos)
        self._admission.check_upload(owner, size)
        if size <= SMALL:
            return await self._accept(infos, size, owner)
        async with self._checks:
            return await self._accept(infos, size, owner)

    async def _accept(self, infos: list[ObjectInfo], size: int, owner: str) -> StoredBundle:
        scratch = str(self._config.scratch) if self._config.scratch else None
        with tempfile.SpooledTemporaryFile(max_size=SMALL, dir=scratch) as spooled:
            file = cast(BinaryIO, spooled)
            for info in infos:
                await self._load(info, file)
            bundle = await asyncio.to_thread(inspect, file, size, self._config)
            await self._admission.check_storage(owner, bundle.digest, bundle.size)
            await self._store(file, bundle)
        return StoredBundle(bundle.digest, bundle.size, bundle.files, bundle.notes)

    async def _load(self, info: ObjectInfo, file: BinaryIO) -> None:
        try:
            if info.size <= SMALL:
                file.write(await self._objects.read(info))
                return
            async with contextlib.aclosing(self._objects.get("uploads", info.name)) as chunks:
                async for chunk in chunks:
                    await asyncio.to_thread(file.write, chunk)
        except (NotFound, Corrupt) as error:
            raise BadBundle(
                "upload_lost", "the upload was damaged or deleted meanwhile; send it again", 409
            ) from error
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            raise BadBundle(
                "no_room", "the server has no room to check it; free some and send it again", 507
            ) from error

    async def _store(self, file: BinaryIO, bundle: Bundle) -> None:
        if await self._objects.find("bundles", bundle.digest) is not None:
            return
        listing = "\n".join(bundle.files)
        metadata = {"size": str(bundle.size), "count": str(len(bundle.members))}
        if len(listing.encode()) <= LISTING_BYTES:
            metadata["files"] = listing
        await self._objects.put("bundles", bundle.digest, packed(file, bundle), metadata=metadata)


async def packed(file: BinaryIO, bundle: Bundle) -> AsyncIterator[bytes]:
    """The canonical form, made in a thread."""
    if bundle.size <= SMALL:
        yield await asyncio.to_thread(canonical_bytes, file, bundle)
        return
    pieces = canonical(file, bundle)
    while batch := await asyncio.to_thread(take, pieces):
        yield batch


def take(pieces: Iterator[bytes], size: int = 1 << 20) -> bytes:
    """About ``size`` bytes of the pieces; none at their end."""
    taken = bytearray()
    for piece in pieces:
        taken += piece
        if len(taken) >= size:
            break
    return bytes(taken)
