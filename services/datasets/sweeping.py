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
        self._unnamed: dict[str, float] = {}
        """Key of a tree, and when it was first seen that no version names it."""

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
        """A commit that comes at the same moment looks whether its tree is still there."""
        found: dict[str, float] = {}
        for scope in await self._trees.scopes():
            for key, stored in (await self._trees.all_of(scope)).items():
                if stored.whole and key.split(".")[1] == DATA:
                    found[key] = self._unnamed.get(key, now)
        named = {
            key_of(scope_of(owner), DATA, tree)
            for owner, tree in named_trees(await self._shelf.all())
        }
        self._unnamed = {key: since for key, since in found.items() if key not in named}
        for key, since in self._unnamed.items():
            if now - since >= self._config.abandoned_after:
                scope, _, tree = key.split(".")
                await self._trees.remove(scope, DATA, tree)
                log.info("the tree %s of a deleted version goes", tree[:12])
