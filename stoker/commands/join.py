"""``stoker agent`` and ``stoker serve``: how does one part run by itself?"""

from __future__ import annotations

from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Any

import typer

from stoker import config, oidc
from stoker.answers import StokerError
from stoker.limits import everybodys

NAMES = (
    "upload",
    "scheduler",
    "archive",
    "catalog",
    "identity",
    "secrets",
    "outputs",
    "metrics",
    "environments",
    "datasets",
    "people",
    "ui",
)
HINT = "a worker needs an invitation: stoker worker invite NAME, where stoker up runs"

Nats = Annotated[
    str | None,
    typer.Option(envvar="STOKER_NATS", show_envvar=False, metavar="URL", help="NATS' address."),
]
Credentials = Annotated[
    Path | None,
    typer.Option(envvar="STOKER_NATS_CREDENTIALS", show_envvar=False, help="A .creds file."),
]
NatsCa = Annotated[
    Path | None,
    typer.Option(
        "--ca",
        envvar="STOKER_NATS_CA",
        show_envvar=False,
        metavar="FILE",
        help="PEM of who alone vouches for NATS: TLS.",
    ),
]


def agent(
    file: Annotated[
        Path | None, typer.Option("--config", help="TOML with a table [agent].")
    ] = None,
    join: Annotated[
        str | None,
        typer.Option(
            envvar="STOKER_JOIN",
            show_envvar=False,
            metavar="TOKEN",
            help="Of an invitation (stoker worker invite); needed once.",
        ),
    ] = None,
    nats: Nats = None,
    name: Annotated[str | None, typer.Option(help="Default: the host's.")] = None,
    pool: Annotated[str | None, typer.Option(help="Whose jobs it takes.")] = None,
    label: Annotated[
        list[str] | None, typer.Option(metavar="K=V", help="Shown to people; repeatable.")
    ] = None,
    runtime: Annotated[
        str | None,
        typer.Option(
            envvar="STOKER_RUNTIME", show_envvar=False, help="docker, or process: no sandbox."
        ),
    ] = None,
    work: Annotated[Path | None, typer.Option(help="Folder for all it keeps.")] = None,
    base_image: Annotated[
        str | None,
        typer.Option(envvar="STOKER_BASE_IMAGE", show_envvar=False, help="Of plain bundles."),
    ] = None,
    gpu_base_image: Annotated[
        str | None, typer.Option(metavar="IMAGE", help="Likewise, for jobs that ask for GPUs.")
    ] = None,
    template: Annotated[
        Path | None, typer.Option(help="Script that installs the packages of bundles.")
    ] = None,
    dockerfiles: Annotated[
        bool | None,
        typer.Option(
            "--dockerfiles/--no-dockerfiles",
            help="Build bundles' own Dockerfiles: with root's rights in the build.",
            show_default=False,
        ),
    ] = None,
    registry: Annotated[
        str | None,
        typer.Option(metavar="HOST/PATH", help="Through which the pool shares environments."),
    ] = None,
    registry_credentials: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Passwords of registries, as docker login writes them."),
    ] = None,
    package_cache: Annotated[
        str | None,
        typer.Option(metavar="SIZE", help="Of downloads kept for the next build, such as 20g."),
    ] = None,
    slots: Annotated[int | None, typer.Option(min=1, help="Jobs at one time.")] = None,
    cpus: Annotated[float | None, typer.Option(min=0.1, help="Cores to give away.")] = None,
    memory: Annotated[str | None, typer.Option(help="To give away, such as 24g.")] = None,
    gpus: Annotated[int | None, typer.Option(min=0, help="To give away.")] = None,
    keep_outputs: Annotated[
        str | None, typer.Option(metavar="SIZE", help="Of outputs that nobody took, such as 50g.")
    ] = None,
    data_cache: Annotated[
        str | None,
        typer.Option(metavar="SIZE", help="Of data that no job uses.", show_default="100g"),
    ] = None,
    data_path: Annotated[
        list[Path] | None,
        typer.Option(metavar="FOLDER", help="Jobs may read what is in it; repeatable."),
    ] = None,
    data_source: Annotated[
        list[str] | None,
        typer.Option(
            metavar="URL",
            help="Data comes from addresses that begin so alone, private ones too; repeatable.",
            show_default="all public ones",
        ),
    ] = None,
    s3_endpoint: Annotated[
        str | None, typer.Option(metavar="URL", help="Where s3:// leads to.")
    ] = None,
    credentials: Credentials = None,
    ca: NatsCa = None,
) -> None:
    """Make this machine a worker. It dials out; nothing needs to reach it.

    Ctrl-C or SIGTERM: finish what runs, take nothing new. Once more, or SIGHUP: leave what runs to
    the next agent on this machine, as for a restart or an upgrade.
    """
    from stoker.agents import AgentFlags, run_configured_agent

    flags = AgentFlags.over(
        config.read_agent_file(file) if file else {},
        name=name,
        pool=pool,
        labels=config.labels(label or []) or None,
        runtime=runtime,
        work=work,
        base_image=base_image,
        gpu_base_image=gpu_base_image,
        template=template,
        dockerfiles=dockerfiles,
        registry=registry,
        registry_credentials=registry_credentials,
        package_cache=package_cache,
        slots=slots,
        cpus=cpus,
        memory=memory,
        gpus=gpus,
        keep_outputs=keep_outputs,
        data_cache=data_cache,
        data_paths=tuple(data_path) if data_path else None,
        data_sources=tuple(data_source) if data_source else None,
        s3_endpoint=s3_endpoint,
        credentials=credentials,
        servers=config.nats_servers(nats) if nats else None,
        join=join,
        ca=ca,
    )
    run_logged(run_configured_agent(flags))


Quota = Annotated[
    list[str] | None,
    typer.Option(
        metavar="KIND=LIMIT",
        help="upload and scheduler: what one user may have: running=8, queued=100, storage=50g,"
        " upload=2g; repeatable.",
        show_default="no limits",
    ),
]


def serve(
    name: Annotated[str, typer.Argument(help=", ".join(NAMES))],
    nats: Nats = None,
    credentials: Credentials = None,
    ca: NatsCa = None,
    replicas: Annotated[int, typer.Option(min=1, max=5, help="Of the streams.")] = 1,
    lost_after: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[POOL=]TIME",
            help="scheduler: silence after which a worker's jobs are lost; repeatable.",
            show_default="30s",
        ),
    ] = None,
    keep_logs: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[POOL=]TIME",
            help="archive: delete logs of jobs that ended so long ago; repeatable.",
            show_default="for ever",
        ),
    ] = None,
    keep_log_bytes: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[POOL=]SIZE",
            help="archive: delete the oldest logs beyond it, such as 500g; repeatable.",
            show_default="all",
        ),
    ] = None,
    quota: Quota = None,
    log_rate: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[POOL=]SIZE",
            help="scheduler: what a job's log may get a second, over 10 s; repeatable.",
            show_default="64m",
        ),
    ] = None,
    log_total: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[POOL=]SIZE",
            help="scheduler: what a job's log may get in all, or none; repeatable.",
            show_default="16g",
        ),
    ] = None,
    outputs_size: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[POOL=]SIZE",
            help="scheduler: what a job's outputs may have in all, or none; repeatable.",
            show_default="64g",
        ),
    ] = None,
    outputs_files: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[POOL=]NUMBER",
            help="scheduler: how many files they may be, or none; repeatable.",
            show_default="20000",
        ),
    ] = None,
    base_image: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[POOL=]IMAGE",
            help="scheduler: on what environments are made, {python} in it stands for the version;"
            " repeatable.",
            show_default="as the worker says",
        ),
    ] = None,
    gpu_base_image: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[POOL=]IMAGE",
            help="scheduler: likewise, for jobs that ask for GPUs; repeatable.",
            show_default="as the worker says",
        ),
    ] = None,
    keep_outputs: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="outputs, metrics: delete those of jobs that ended so long ago, such as 90d.",
            show_default="for ever",
        ),
    ] = None,
    keep_checkpoints: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="outputs: delete the last checkpoint of jobs that ended so long ago; or forever.",
            show_default="30d",
        ),
    ] = None,
    data: Annotated[Path | None, typer.Option(help="Folder for index and scratch.")] = None,
    keys: Annotated[Path | None, typer.Option(help="identity: folder of the bus's keys.")] = None,
    key: Annotated[
        Path | None, typer.Option(help="secrets: file of keys; made if missing.")
    ] = None,
    admin: Annotated[
        str, typer.Option(metavar="NAME", help="people: the admin of a first start.")
    ] = "admin",
    page: Annotated[
        str, typer.Option(metavar="URL", help="people: the page's address, for their link.")
    ] = "",
    sign_in: Annotated[
        bool, typer.Option("--sign-in/--no-sign-in", help="ui: off on loopback only.")
    ] = True,
    host: Annotated[str, typer.Option(help="ui: address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="ui: port.")] = config.PORT,
    allow_host: Annotated[
        list[str] | None, typer.Option(help="ui: another name under which it may be opened.")
    ] = None,
    tls_cert: Annotated[
        Path | None, typer.Option(help="ui: PEM with its certificate and chain.")
    ] = None,
    tls_key: Annotated[Path | None, typer.Option(help="ui: the certificate's key.")] = None,
    plain_http: Annotated[
        bool, typer.Option("--plain-http", help="ui: no HTTPS beyond this machine either.")
    ] = False,
    behind_proxy: Annotated[
        list[str] | None,
        typer.Option(metavar="CIDR", help="ui: proxies whose X-Forwarded-* is believed."),
    ] = None,
    oidc_issuer: oidc.Issuer = None,
    oidc_client_id: oidc.ClientId = None,
    oidc_client_secret_file: oidc.SecretFile = None,
    oidc_scope: oidc.Scope = None,
    oidc_group: oidc.Group = None,
    oidc_groups_claim: oidc.GroupsClaim = "groups",
    oidc_name: oidc.Name = "",
) -> None:
    """Run one service by itself, such as upload, scheduler, people or ui."""
    if name not in NAMES:
        raise StokerError(f"there is no service {name!r}; write one of {', '.join(NAMES)}")
    from stoker.parts import PageFlags, ServeFlags, ServiceFlags, run_alone

    seconds, pools = config.lost_after(lost_after or [])
    flags = ServeFlags(
        name=name,
        servers=config.nats_servers(nats),
        credentials=credentials,
        service=ServiceFlags(
            data=data,
            keys=keys,
            admin=admin,
            page=page,
            groups=oidc.group_roles(oidc_group or ()),
            secret_keys=key,
            replicas=replicas,
            quota=everybodys(quota or ()),
            lost_after=seconds,
            pools_lost_after=pools,
            keep_logs=config.kept_logs(keep_logs or [], keep_log_bytes or []),
            log_rates=config.log_bounds("--log-rate", log_rate or []),
            log_totals=config.log_bounds("--log-total", log_total or []),
            outputs_sizes=config.log_bounds("--outputs-size", outputs_size or []),
            outputs_counts=config.log_bounds("--outputs-files", outputs_files or []),
            base_images=config.images("--base-image", base_image or []),
            gpu_base_images=config.images("--gpu-base-image", gpu_base_image or []),
            keep_outputs=config.kept("--keep-outputs", keep_outputs),
            keep_checkpoints=config.kept("--keep-checkpoints", keep_checkpoints),
        ),
        page=PageFlags(
            host,
            port,
            tuple(allow_host or ()),
            signing(sign_in, host),
            certificate=tls_cert,
            key=tls_key,
            plain=plain_http,
            proxies=tuple(behind_proxy or ()),
            oidc=oidc.read_flags(
                oidc_issuer,
                oidc_client_id,
                oidc_client_secret_file,
                oidc_scope or (),
                oidc_groups_claim,
                oidc_name,
                oidc_group or (),
            ),
        ),
        trust=config.nats_trust(ca, nats),
    )
    run_until_stopped(run_alone(flags))


def signing(wanted: bool, host: str) -> bool:
    """Whether people sign in: not, only where this machine alone reaches the page."""
    if not wanted and host not in config.LOOPBACK:
        raise StokerError(f"--no-sign-in: whoever reaches {host} could run code here; leave it out")
    return wanted


def run_until_stopped(part: Coroutine[Any, Any, None]) -> None:
    """SIGINT and SIGTERM end the part in order."""
    from stoker.stopping import until_signal

    run_logged(until_signal(part))


def run_logged(part: Coroutine[Any, Any, None]) -> None:
    """Logs to standard error."""
    import logging

    import uvloop

    from agent.main import AgentError
    from bus.errors import BusError, Denied

    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    try:
        uvloop.run(part)
    except Denied as error:
        raise StokerError(f"{error}; {HINT}") from error
    except (BusError, AgentError) as error:
        raise StokerError(str(error)) from error
