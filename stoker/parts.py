"""How is each part configured and run, from what was asked on the command line?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import stoker
from bus.connection import Bus, BusConfig
from bus.layout import declare
from stoker import config, places
from stoker.answers import StokerError

SERVICES = ("upload", "scheduler", "archive", "catalog")


@dataclass(frozen=True, slots=True)
class AgentFlags:
    """What was asked for, by flag or file; None where nothing was said."""

    name: str | None = None
    pool: str | None = None
    labels: Mapping[str, str] | None = None
    runtime: str | None = None
    work: Path | None = None
    base_image: str | None = None
    slots: int | None = None
    cpus: float | None = None
    memory: str | int | None = None
    gpus: int | None = None
    credentials: Path | None = None
    servers: tuple[str, ...] | None = None

    @classmethod
    def over(cls, table: Mapping[str, Any], **flags: Any) -> AgentFlags:
        """The flags, and the file's table where they are silent."""
        values = {**table, **(table.get("capacity") or {})}
        values.pop("capacity", None)
        for name in ("work", "credentials"):
            if values.get(name):
                values[name] = Path(values[name]).expanduser()
        if values.get("servers"):
            values["servers"] = tuple(values["servers"])
        given = {name: value for name, value in flags.items() if value is not None}
        return cls(**{**values, **given})

    def settings(self) -> dict[str, Any]:
        """Only what was said."""
        pairs = ((field.name, getattr(self, field.name)) for field in fields(self))
        return {name: value for name, value in pairs if value is not None}


@dataclass(frozen=True, slots=True)
class PageFlags:
    """Where the page listens."""

    host: str = "127.0.0.1"
    port: int = config.PORT
    """0 for any free one."""
    hosts: tuple[str, ...] = ()
    """More names under which it may be opened."""


@dataclass(frozen=True, slots=True)
class ServeFlags:
    """What ``stoker serve`` was asked for."""

    name: str
    servers: tuple[str, ...]
    credentials: Path | None
    replicas: int
    data: Path
    page: PageFlags


async def run_service(name: str, bus: Bus, data: Path) -> None:
    """Imports only what it runs: ``stoker serve upload`` loads no SQLite."""
    match name:
        case "upload":
            from services.upload.service import UploadConfig
            from services.upload.service import run as run_upload

            await run_upload(bus, UploadConfig())
        case "scheduler":
            from services.scheduler.config import SchedulerConfig
            from services.scheduler.service import run as run_scheduler

            await run_scheduler(bus, SchedulerConfig())
        case "archive":
            from services.archive.service import ArchiveConfig
            from services.archive.service import run as run_archive

            await run_archive(bus, ArchiveConfig())
        case "catalog":
            from services.catalog.service import CatalogConfig
            from services.catalog.service import run as run_catalog

            await run_catalog(bus, CatalogConfig())
        case _:
            raise StokerError(f"there is no service {name!r}")


async def run_ui(bus: Bus, flags: PageFlags, on_ready: Callable[[str], None] | None = None) -> None:
    from ui.app import run_ui as run
    from ui.config import UiConfig

    settings = UiConfig(
        host=flags.host,
        port=flags.port,
        hosts=flags.hosts,
        examples=places.examples(),
        version=stoker.__version__,
    )
    await run(bus, settings, on_ready)


async def run_alone(flags: ServeFlags) -> None:
    """One service with a connection of its own, until cancelled."""
    settings = bus_config(flags.servers, flags.name, flags.credentials)
    async with Bus.connect(settings) as bus:
        await declare(bus, flags.replicas)
        if flags.name == "ui":
            await run_ui(bus, flags.page)
        else:
            await run_service(flags.name, bus, flags.data)


async def run_configured_agent(flags: AgentFlags) -> None:
    from agent.run import run_agent

    servers = flags.servers or config.nats_servers(None)
    settings = await agent_config(flags, config.data_folder() / "agent")
    await run_agent(bus_config(servers, f"agent {settings.name}", flags.credentials), settings)


def bus_config(servers: tuple[str, ...], name: str, credentials: Path | None = None) -> BusConfig:
    return BusConfig(
        servers=servers, name=name, credentials=str(credentials) if credentials else None
    )
