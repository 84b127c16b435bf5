"""Which trees does no version name any more? Their pieces are collected with those of bundles."""

from __future__ import annotations

import asyncio
import logging
import time

from bus.connection import Bus
from bus.errors import BusError
from bus.trees import DATA, Trees, key_of
from schemas.tree import scope_of
from services.datasets.config import DatasetsConfig
from services.datasets.rules import named_trees
from services.datasets.shelf import Shelf

log = logging.getLogger(__name__)

FIRST = 300.0
"""Seconds after the start: what is restarted often has to sweep, too."""


class Sweeper:
    """Replicas may do it at the same time."""

    def __init__(self, bus: Bus, shelf: Shelf, config: DatasetsConfig) -> None:
        self._trees = Trees(bus)
        self._shelf = shelf
        self._config = config
        self._unnamed: dict[tuple[str, int], float] = {}
        """Key and revision of a tree, and when it was first seen that no version names it: one
        that a commit took up again has another revision, and is nobody's from then on."""

    async def run(self) -> None:
        pause = min(FIRST, self._config.sweep_every)
        while True:
            await asyncio.sleep(pause)
            pause = self._config.sweep_every
            try:
                await self.round(time.monotonic())
            except BusError as error:
                log.warning("trees that no version names stay for now: %s", error)
            except Exception:
                log.exception("sweeping the trees of datasets failed")

    async def round(self, now: float) -> None:
        """A commit that comes at the same moment writes its tree anew first: then that stays."""
        found: dict[tuple[str, int], float] = {}
        for scope in await self._trees.scopes():
            for key, (stored, revision) in (await self._trees.all_of(scope)).items():
                if stored.whole and key.split(".")[1] == DATA:
                    found[key, revision] = self._unnamed.get((key, revision), now)
        named = {
            key_of(scope_of(owner), DATA, tree)
            for owner, tree in named_trees(await self._shelf.all())
        }
        self._unnamed = {one: since for one, since in found.items() if one[0] not in named}
        for (key, revision), since in self._unnamed.items():
            old = now - since >= self._config.abandoned_after
            if old and await self._trees.remove(key, revision):
                log.info("the tree %s of a deleted version goes", key.split(".")[2][:12])
