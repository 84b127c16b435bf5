"""How is each part configured and run, from what was asked on the command line?"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import stoker
from bus.certificates import renewing
from bus.connection import Bus
from bus.layout import declare, declared
from bus.link import BusConfig
from bus.tokens import identity_of
from stoker import config, places, tls
from stoker.answers import StokerError
from stoker.oidc import OidcFlags

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PageFlags:
    """Where the page listens."""

    host: str = "127.0.0.1"
    port: int = config.PORT
    """0 for any free one."""
    hosts: tuple[str, ...] = ()
    """More names under which it may be opened."""
    sign_in: bool = True
    owner: str = "local"
    """Whose jobs are submitted where nobody signs in."""
    certificate: Path | None = None
    """PEM of what it shows: HTTPS."""
    key: Path | None = None
    """The certificate's, where it is not in the same file."""
    plain: bool = False
    """Plain HTTP beyond this machine, too."""
    proxies: tuple[str, ...] = ()
    """Networks of proxies whose ``X-Forwarded-*`` is believed."""
    signed: Path | None = None
    """Folder of the authority of our own that signs the certificate: renewed there."""
    oidc: OidcFlags | None = None
    """The provider at which people may sign in, too."""


@dataclass(frozen=True, slots=True)
class ServiceFlags:
    """What services can be told."""

    data: Path | None = None
    """A folder of its own for what it may lose; None: memory, the temporary folder."""
    keys: Path | None = None
    """The folder of the bus's keys, for ``identity`` alone."""
    secret_keys: Path | None = None
    """The file of keys that lock secrets, for ``secrets`` alone."""
    admin: str = ""
    """Name of the admin of a first start, for ``people``; empty: ``stoker up`` asks for it."""
    page: str = ""
    """The page's address, for that admin's sign-in link."""
    groups: Mapping[str, str] = field(default_factory=dict)
    """Group of the identity provider to role, for ``people``."""
    replicas: int = 1
    """Of the streams that it makes."""
    quota: Mapping[str, int | None] = field(default_factory=dict)
    """What one user may have where nothing else is set, for ``upload`` and ``scheduler``."""
    lost_after: float = config.LOST_AFTER
    pools_lost_after: Mapping[str, float] = field(default_factory=dict)
    """Seconds of a worker's silence after which its jobs are lost: of all pools, and of some."""
    keep_logs: Mapping[str, tuple[float | None, int | None]] = field(default_factory=dict)
    """Pool to age in seconds and size in bytes up to which logs are kept; empty name: all pools."""
    log_rates: Mapping[str, int] = field(default_factory=dict)
    log_totals: Mapping[str, int] = field(default_factory=dict)
    """Pool to bytes a second, and bytes, that a job's log may get, likewise; 0 for no limit."""
    outputs_sizes: Mapping[str, int] = field(default_factory=dict)
    outputs_counts: Mapping[str, int] = field(default_factory=dict)
    """Pool to bytes, and files, that a job's outputs may have, likewise."""
    base_images: Mapping[str, str] = field(default_factory=dict)
    gpu_base_images: Mapping[str, str] = field(default_factory=dict)
    """Pool to the image on which its jobs' environments are made, likewise."""
    keep_outputs: float | None = None
    """Seconds after a job's end up to which its outputs are kept; None: for ever."""
    keep_checkpoints: float | None = None
    """Likewise its last checkpoint; None: as long as usual, infinity: for ever."""


@dataclass(frozen=True, slots=True)
class ServeFlags:
    """What ``stoker serve`` was asked for."""

    name: str
    servers: tuple[str, ...]
    credentials: Path | None
    service: ServiceFlags
    page: PageFlags
    trust: config.NatsTrust = config.USUAL_TRUST


async def run_service(name: str, bus: Bus, flags: ServiceFlags) -> None:
    """Imports only what it runs: ``stoker serve upload`` loads no SQLite."""
    run = RUNNERS.get(name)
    if run is None:
        raise StokerError(f"there is no service {name!r}")
    await run(bus, flags)


async def upload(bus: Bus, flags: ServiceFlags) -> None:
    from schemas.quota import Quota
    from services.upload.config import UploadConfig
    from services.upload.service import run

    quota = Quota.model_validate(flags.quota)
    await run(bus, UploadConfig(scratch=folder(flags.data, "scratch"), quota=quota))


async def scheduler(bus: Bus, flags: ServiceFlags) -> None:
    from schemas.outputs import MOST_BYTES, MOST_FILES
    from schemas.quota import Quota
    from schemas.worker import LOG_RATE, LOG_TOTAL
    from services.scheduler.config import SchedulerConfig
    from services.scheduler.service import run

    settings = SchedulerConfig(
        lost_after=flags.lost_after,
        pools_lost_after=flags.pools_lost_after,
        replicas=flags.replicas,
        quota=Quota.model_validate(flags.quota),
        log_rate=flags.log_rates.get("", LOG_RATE),
        log_total=flags.log_totals.get("", LOG_TOTAL),
        pools_log_rate=flags.log_rates,
        pools_log_total=flags.log_totals,
        outputs_size=flags.outputs_sizes.get("", MOST_BYTES),
        outputs_files=flags.outputs_counts.get("", MOST_FILES),
        pools_outputs_size=flags.outputs_sizes,
        pools_outputs_files=flags.outputs_counts,
        images=flags.base_images,
        gpu_images=flags.gpu_base_images,
    )
    await run(bus, settings)


async def archive(bus: Bus, flags: ServiceFlags) -> None:
    from services.archive.config import ArchiveConfig, Keep
    from services.archive.service import run

    pools = {pool: Keep(*limits) for pool, limits in flags.keep_logs.items()}
    keep = pools.pop("", Keep())
    await run(bus, ArchiveConfig(keep=keep, pools_keep=pools))


async def catalog(bus: Bus, flags: ServiceFlags) -> None:
    from services.catalog.service import CatalogConfig, run

    path = folder(flags.data, "catalog")
    await run(bus, CatalogConfig(path and path / "jobs.sqlite"))


async def secrets(bus: Bus, flags: ServiceFlags) -> None:
    from services.secrets.config import SecretsConfig
    from services.secrets.service import run

    keys = flags.secret_keys or (flags.data and flags.data / config.SECRET_KEYS)
    if keys is None:
        raise StokerError("secrets needs --key, the file of keys; it is made if missing")
    credentials = bus.config.credentials
    identified = credentials is not None and known_role(Path(credentials))
    await run(bus, SecretsConfig(keys, identified))


async def outputs(bus: Bus, flags: ServiceFlags) -> None:
    from services.outputs.config import OutputsConfig
    from services.outputs.service import run

    kept = flags.keep_checkpoints
    if kept is None:
        kept = OutputsConfig().keep_checkpoints
    await run(bus, OutputsConfig(keep=flags.keep_outputs, keep_checkpoints=kept))


async def metrics(bus: Bus, flags: ServiceFlags) -> None:
    from services.metrics.config import MetricsConfig
    from services.metrics.service import run

    await run(bus, MetricsConfig(keep=flags.keep_outputs))


async def environments(bus: Bus, _: ServiceFlags) -> None:
    from services.environments.config import EnvironmentsConfig
    from services.environments.service import run

    await run(bus, EnvironmentsConfig())


async def datasets(bus: Bus, _: ServiceFlags) -> None:
    from services.datasets.config import DatasetsConfig
    from services.datasets.service import run

    await run(bus, DatasetsConfig())


async def people(bus: Bus, flags: ServiceFlags) -> None:
    from schemas.people import Role
    from services.people.config import PeopleConfig
    from services.people.service import run

    kept = folder(flags.data, "") if flags.admin else None
    settings = PeopleConfig(
        first=flags.admin,
        link_file=kept and kept / config.LINK_FILE,
        page=flags.page,
        groups={group: Role(role) for group, role in flags.groups.items()},
    )
    await run(bus, settings)


async def identity(bus: Bus, flags: ServiceFlags) -> None:
    from services.identity.config import IdentityConfig
    from services.identity.service import run

    if flags.keys is None:
        raise StokerError("identity needs --keys, the folder that stoker nats-accounts made")
    await run(bus, IdentityConfig(flags.keys))


RUNNERS: Mapping[str, Callable[[Bus, ServiceFlags], Awaitable[None]]] = {
    "upload": upload,
    "scheduler": scheduler,
    "archive": archive,
    "catalog": catalog,
    "secrets": secrets,
    "people": people,
    "outputs": outputs,
    "metrics": metrics,
    "environments": environments,
    "datasets": datasets,
    "identity": identity,
}
"""All services; ``stoker up`` starts them in this order."""


def folder(data: Path | None, name: str) -> Path | None:
    if data is None:
        return None
    made = data / name
    made.mkdir(mode=0o700, parents=True, exist_ok=True)
    return made


async def run_ui(bus: Bus, flags: PageFlags, on_ready: Callable[[str], None] | None = None) -> None:
    from ui.app import run_ui as run
    from ui.config import UiConfig

    settings = UiConfig(
        host=flags.host,
        port=flags.port,
        hosts=flags.hosts,
        sign_in=flags.sign_in,
        certificate=flags.certificate,
        key=flags.key,
        proxies=flags.proxies,
        owner=flags.owner,
        oidc=flags.oidc.config() if flags.oidc else None,
        examples=places.examples(),
        version=stoker.__version__,
    )
    await run(bus, settings, on_ready)


async def run_page(bus: Bus, asked: PageFlags, keys: Path | None) -> None:
    """A page by itself, with a certificate that stays fresh."""
    flags = tls.page_with_tls(asked, keys, tls.machine_names(asked))
    for name in tls.plain_parts(flags):
        log.warning("%s", tls.PLAIN[name])
    async with renewing(flags.signed, lambda: tls.machine_names(asked)):
        await run_ui(bus, flags)


async def run_alone(flags: ServeFlags) -> None:
    """One service with a connection of its own, until cancelled."""
    settings = bus_config(flags.servers, flags.name, flags.credentials, flags.trust)
    async with Bus.connect(settings) as bus:
        if flags.credentials and flags.name != "identity" and known_role(flags.credentials):
            await declared(bus)
        else:
            await declare(bus, flags.service.replicas)
        if flags.name == "ui":
            await run_page(bus, flags.page, folder(flags.service.data, config.KEYS))
        else:
            await run_service(flags.name, bus, flags.service)


def known_role(credentials: Path) -> bool:
    """Whether they are ours: such a service may not make streams, ``identity`` does it."""
    return identity_of(credentials).inbox is not None


def bus_config(
    servers: tuple[str, ...],
    name: str,
    credentials: Path | None = None,
    trust: config.NatsTrust = config.USUAL_TRUST,
) -> BusConfig:
    return BusConfig(
        servers=servers,
        name=name,
        credentials=str(credentials) if credentials else None,
        authority=str(trust.authority) if trust.authority else None,
        tls_name=trust.name,
    )
