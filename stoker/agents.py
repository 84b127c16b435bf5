"""How is the agent configured and run, from flags and file?"""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import stoker
from schemas.ids import NAME_TOKEN
from schemas.spec import Network, parse_size
from stoker import config
from stoker.answers import StokerError

if TYPE_CHECKING:
    from agent.config import AgentConfig
    from agent.data_rules import DataRules

AUTO = "auto"
RUNTIMES = ("docker", "process", "dummy")
LONGEST_NAME = 63
MEMBERSHIP = "identity"
"""Folder in the agent's own, with who this machine is."""
POLICY = (
    "pool",
    "base_image",
    "gpu_base_image",
    "template",
    "dockerfiles",
    "networks",
    "install_network",
    "sandbox",
    "registry",
    "registry_credentials",
    "docker_command",
)
FILES = ("work", "credentials", "ca", "template", "registry_credentials")


@dataclass(frozen=True, slots=True)
class AgentFlags:
    """What was asked for, by flag or file; None where nothing was said."""

    name: str | None = None
    pool: str | None = None
    labels: Mapping[str, str] | None = None
    runtime: str | None = None
    work: Path | None = None
    base_image: str | None = None
    gpu_base_image: str | None = None
    template: Path | None = None
    dockerfiles: bool | None = None
    networks: tuple[str, ...] | None = None
    install_network: str | None = None
    sandbox: str | None = None
    registry: str | None = None
    """``HOST/PATH`` through which environments are shared."""
    registry_credentials: Path | None = None
    package_cache: str | int | None = None
    docker_command: str | None = None
    slots: int | None = None
    cpus: float | None = None
    memory: str | int | None = None
    gpus: int | None = None
    keep_outputs: str | int | None = None
    data_cache: str | int | None = None
    data_paths: tuple[Path, ...] | None = None
    data_sources: tuple[str, ...] | None = None
    s3_endpoint: str | None = None
    credentials: Path | None = None
    ca: Path | None = None
    """Who alone vouches for NATS."""
    servers: tuple[str, ...] | None = None
    join: str | None = None
    """A token of an invitation."""

    @classmethod
    def over(cls, table: Mapping[str, Any], **flags: Any) -> AgentFlags:
        """The flags, and the file's table where they are silent."""
        values = {**table, **(table.get("capacity") or {})}
        values.pop("capacity", None)
        for name in FILES:
            if values.get(name):
                values[name] = Path(values[name]).expanduser()
        for name in ("servers", "networks", "data_paths", "data_sources"):
            if values.get(name):
                values[name] = tuple(values[name])
        given = {name: value for name, value in flags.items() if value is not None}
        return cls(**{**values, **given})

    def said(self, *names: str) -> dict[str, Any]:
        """Those of the named fields that something was said for."""
        pairs = ((field.name, getattr(self, field.name)) for field in fields(self))
        return {name: value for name, value in pairs if name in names and value is not None}


async def agent_config(flags: AgentFlags, work: Path) -> AgentConfig:
    """Raises ``StokerError`` for what cannot be; ``work`` where no other folder was named."""
    from agent.config import AgentConfig, machine_capacity
    from agent.outputs import OutputBounds

    name = flags.name or host_token()
    for value in (name, flags.pool or name):
        if not NAME_TOKEN.match(value):
            raise StokerError(f"{value!r} is no name: use a-z, 0-9 and '-', at most 63")
    check_networks((*(flags.networks or ()), flags.install_network or "full"))
    check_registry(flags)
    work = (flags.work or work).absolute()
    kept = size_of("keep_outputs", flags.keep_outputs)
    cached = size_of("package_cache", flags.package_cache)
    return AgentConfig(
        name=name,
        work=work,
        runtime=await chosen_runtime(flags.runtime or "docker", work, name),
        capacity=machine_capacity(
            memory=size_of("memory", flags.memory), **flags.said("cpus", "gpus", "slots")
        ),
        labels={str(key): str(value) for key, value in (flags.labels or {}).items()},
        engine=os.environ.get("DOCKER_HOST") or None,
        version=stoker.__version__,
        data=data_rules(flags),
        outputs=OutputBounds() if kept is None else OutputBounds(size=kept),
        package_cache=AgentConfig.package_cache if cached is None else cached,
        **flags.said(*POLICY),
    )


def data_rules(flags: AgentFlags) -> DataRules:
    """Raises ``StokerError``."""
    from agent.data_rules import CACHE_BYTES, DataRules

    size = size_of("data_cache", flags.data_cache)
    paths = tuple(Path(path).expanduser() for path in flags.data_paths or ())
    for path in paths:
        if not path.is_absolute() or path == Path("/"):
            raise StokerError(f"data_paths: {path} is no folder to give to jobs: write /FOLDER")
    return DataRules(
        CACHE_BYTES if size is None else size,
        paths,
        tuple(flags.data_sources or ()),
        flags.s3_endpoint or "",
    )


def size_of(field: str, asked: str | int | None) -> int | None:
    try:
        return None if asked is None else parse_size(asked)
    except ValueError as error:
        raise StokerError(f"{field}: {error}") from None


def check_networks(names: Iterable[str]) -> None:
    known = get_args(Network)
    for name in names:
        if name not in known:
            raise StokerError(f"there is no network {name!r}; write some of {', '.join(known)}")


def check_registry(flags: AgentFlags) -> None:
    from agent.runtimes.docker_registry import REGISTRY, BadCredentials, Logins

    if flags.registry and not REGISTRY.match(flags.registry):
        raise StokerError(
            f"registry {flags.registry!r}: write HOST/PATH, such as registry.example:5000/stoker;"
            " the host has a dot or a port"
        )
    if flags.registry_credentials is not None:
        try:
            Logins(flags.registry_credentials.absolute()).header(flags.registry or "")
        except BadCredentials as error:
            raise StokerError(f"registry_credentials: {error}") from error


def host_token() -> str:
    """The host's name as a token of a subject."""
    short = platform.node().split(".")[0].lower()
    return re.sub(r"[^a-z0-9-]", "-", short).strip("-")[:LONGEST_NAME] or "worker"


async def chosen_runtime(asked: str, work: Path, name: str) -> str:
    """``auto`` is Docker where an engine answers, and plain processes elsewhere."""
    if asked != AUTO:
        if asked not in RUNTIMES:
            raise StokerError(f"there is no runtime {asked!r}; write one of {', '.join(RUNTIMES)}")
        return asked
    from agent.runtimes.docker_engine import SOCKET
    from agent.runtimes.docker_runtime import DockerConfig, DockerRuntime

    runtime = DockerRuntime(work, name, DockerConfig(os.environ.get("DOCKER_HOST") or SOCKET))
    try:
        return "process" if await runtime.check() else "docker"
    finally:
        await runtime.close()


async def run_configured_agent(flags: AgentFlags) -> None:
    """Until signals make it go: see ``stopping.leaving_by_signals``."""
    from agent.main import run_agent
    from stoker.parts import bus_config
    from stoker.stopping import leaving_by_signals

    if flags.runtime == AUTO:
        raise StokerError("auto is for stoker up; choose docker, or process (no sandbox)")
    work = config.data_folder() / "agent"
    flags = await as_member(flags, ((flags.work or work) / MEMBERSHIP).absolute())
    servers = flags.servers or config.nats_servers(None)
    settings = await agent_config(flags, work)
    trust = config.NatsTrust(flags.ca and flags.ca.absolute())
    bus = bus_config(servers, f"agent {settings.name}", flags.credentials, trust)
    await run_agent(bus, settings, leaving_by_signals())


async def as_member(flags: AgentFlags, folder: Path) -> AgentFlags:
    """Joins where that is asked for; a machine that has joined is who its credentials say."""
    from bus.joining import join, membership
    from bus.tokens import identity_of

    member = await join(flags.join, folder) if flags.join else None
    if member is None and flags.credentials is None:
        member = membership(folder)
    if member is not None:
        servers, ca = flags.servers or member.servers, flags.ca or member.authority
        flags = replace(flags, credentials=member.credentials, servers=servers, ca=ca)
    if flags.credentials is None:
        return flags
    identity = identity_of(flags.credentials)
    if identity.pool is None:
        return flags
    for flag, asked, said in (
        ("--name", flags.name, identity.name),
        ("--pool", flags.pool, identity.pool),
    ):
        if asked not in (None, said):
            raise StokerError(f"{flag} {asked}: this machine joined as {said!r}; invite it anew")
    return replace(flags, name=identity.name, pool=identity.pool)
