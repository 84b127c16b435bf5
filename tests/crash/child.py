"""What runs in a process that is to be killed? One service, as ``stoker serve`` runs it."""

from __future__ import annotations

import asyncio
import importlib
import logging
import os
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bus.connection import Bus
from bus.layout import declare
from bus.link import BusConfig
from services.archive.config import ArchiveConfig
from services.archive.service import run as run_archive
from services.catalog.service import CatalogConfig
from services.catalog.service import run as run_catalog
from services.metrics.config import MetricsConfig
from services.metrics.service import run as run_metrics
from services.people.config import PeopleConfig
from services.people.service import run as run_people
from services.scheduler.config import SchedulerConfig
from services.scheduler.service import run as run_scheduler
from services.secrets.config import SecretsConfig
from services.secrets.service import run as run_secrets
from services.upload.config import UploadConfig
from services.upload.service import run as run_upload
from tests.crash.hook import Crash, Hook
from ui.app import run_ui
from ui.config import UiConfig


async def only_declare(bus: Bus, config: dict[str, Any]) -> None:
    """The start of every service."""
    await declare(bus)


async def serve_page(bus: Bus, config: dict[str, Any]) -> None:
    """Whoever looks for it finds its address in the folder ``pages``."""
    pages = Path(config["pages"])

    def on_ready(address: str) -> None:
        written = pages.with_name(f"address-{os.getpid()}")
        written.write_text(address)
        written.rename(pages / str(os.getpid()))

    await run_ui(bus, UiConfig(port=config["port"]), on_ready)


SERVICES: dict[str, Callable[[Bus, dict[str, Any]], Awaitable[None]]] = {
    "archive": lambda bus, config: run_archive(bus, ArchiveConfig(**config)),
    "catalog": lambda bus, config: run_catalog(bus, CatalogConfig(**config)),
    "declare": only_declare,
    "metrics": lambda bus, config: run_metrics(bus, MetricsConfig(**config)),
    "people": lambda bus, config: run_people(bus, PeopleConfig(**config)),
    "scheduler": lambda bus, config: run_scheduler(bus, SchedulerConfig(**config)),
    "secrets": lambda bus, config: run_secrets(bus, SecretsConfig(**config)),
    "ui": serve_page,
    "upload": lambda bus, config: run_upload(bus, UploadConfig(**config)),
}


@dataclass(frozen=True)
class Program:
    """One service, with its settings and the constants that a test makes shorter."""

    service: str
    config: dict[str, Any] = field(default_factory=dict)
    constants: dict[str, Any] = field(default_factory=dict)
    """``module:NAME`` to its value."""


@dataclass(frozen=True)
class Life:
    """What a process needs to know of the world it is in."""

    program: Program
    bus: BusConfig
    folder: Path
    crash: Crash | None = None
    everything: bool = False
    """Whether reads count, too."""


def main(life: Life) -> None:
    logging.basicConfig(
        filename=life.folder / "service.log", level=logging.INFO,
        format="%(asctime)s %(process)d %(name)s %(message)s",
    )  # fmt: skip
    sys.stderr = (life.folder / "service.err").open("a", buffering=1)
    for where, value in life.program.constants.items():
        module, name = where.split(":")
        setattr(importlib.import_module(module), name, value)
    Hook(life.crash, life.folder / "journal", life.everything).install()
    asyncio.run(live(life))


async def live(life: Life) -> None:
    async with Bus.connect(life.bus) as bus:
        await SERVICES[life.program.service](bus, life.program.config)
