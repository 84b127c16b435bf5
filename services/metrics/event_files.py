"""What has come to the event files of TensorBoard in an attempt's outputs?"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable, Mapping

from bus.errors import Corrupt, NotFound
from bus.outputs import OutputStore
from schemas.metric_head import FileCursor, MetricsHead
from schemas.metrics import Source
from schemas.outputs import Manifest, OutputFile
from services.metrics.growing import News

log = logging.getLogger(__name__)

MOST_FILES = 100
"""Event files of one attempt; the others are not read."""
LONGEST_PATH = 400
"""Characters: paths lie in the index."""
AT_ONCE = 64 << 20
"""Bytes that are read in one go."""


class EventFiles:
    """Those of one attempt."""

    def __init__(self, store: OutputStore, job: str, attempt: int) -> None:
        self._store = store
        self._job = job
        self._attempt = attempt
        self._looked = -1e9

    def due(self, every: float) -> bool:
        return time.monotonic() - self._looked >= every

    async def read(self, head: MetricsHead, news: News) -> tuple[int, dict[str, FileCursor], bool]:
        """The round that is read, how far each file was, and whether there is more.

        What came is in ``news``. Raises ``BusError``.
        """
        self._looked = time.monotonic()
        stored = await self._store.head(self._job, self._attempt)
        if stored is None or stored.head.round <= head.round:
            return head.round, head.files, False
        manifest = await self._store.manifest(stored.head)
        files = event_files(manifest, head.files)
        cursors = cursors_of(files, head.files)
        left = AT_ONCE
        for file in files:
            left -= await self._file(file, cursors, news, left)
            if left <= 0:
                return head.round, cursors, True
        return stored.head.round, cursors, False

    async def _file(
        self, file: OutputFile, cursors: dict[str, FileCursor], news: News, most: int
    ) -> int:
        """Bytes that were read of it."""
        from services.metrics.tensorboard import WINDOW, Reading, read_events, series_name

        cursor = cursors.get(file.path, FileCursor())
        state = Reading(cursor.offset, cursor.damaged, cursor.lost)
        begun = state.offset
        while state.offset < file.size and state.offset - begun < most:
            stop = min(file.size, state.offset + WINDOW)
            try:
                parts = self._store.read(self._job, file, state.offset, stop)
                data = b"".join([part async for part in parts])
            except (NotFound, Corrupt) as error:
                log.warning("%s.%d: %s: %s", self._job, self._attempt, file.path, error)
                break
            found, after = await asyncio.to_thread(read_events, data, state)
            for tag, points in found.items():
                news.add((Source.TENSORBOARD, series_name(file.path, tag)), points)
            if after == state:
                break
            state = after
        cursors[file.path] = FileCursor(offset=state.offset, damaged=state.damaged, lost=state.lost)
        return state.offset - begun


def cursors_of(
    files: Iterable[OutputFile], known: Mapping[str, FileCursor]
) -> dict[str, FileCursor]:
    """Of those files alone: what is no longer among the outputs has none in the index, either."""
    return {file.path: known[file.path] for file in files if file.path in known}


def event_files(manifest: Manifest, known: Iterable[str]) -> list[OutputFile]:
    """Those that are read, in the order of their paths: what is known goes on."""
    from services.metrics.tensorboard import is_event_file

    named = (file for file in manifest.files if len(file.path) <= LONGEST_PATH)
    files = [file for file in named if is_event_file(file.path)]
    kept = set(known)
    files.sort(key=lambda file: (file.path not in kept, file.path))
    return sorted(files[:MOST_FILES], key=lambda file: file.path)
