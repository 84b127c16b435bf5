"""``stoker up`` and ``stoker demo``: how does one machine become a whole Stoker?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stoker import config, oidc
from stoker.commands.join import signing
from stoker.limits import everybodys

if TYPE_CHECKING:
    from stoker.parts import PageFlags
    from stoker.stack import UpConfig

OWN_MACHINE = {"dockerfiles": True}
"""Who starts everything on a machine lets it build Dockerfiles, too."""

Data = Annotated[
    Path | None, typer.Option(help="Folder for all it keeps (or STOKER_DATA).", show_default=False)
]
Port = Annotated[int, typer.Option(min=0, max=65535, help="The page's port; 0 for any.")]
Host = Annotated[str, typer.Option(help="Address to listen on.")]
AllowHost = Annotated[
    list[str] | None, typer.Option(help="Another name under which the page may be opened.")
]
NatsPort = Annotated[
    int | None, typer.Option(min=0, max=65535, help="NATS' port; 0 for any.", show_default="4222")
]
NatsServer = Annotated[Path | None, typer.Option(help="Your own nats-server.")]
Runtime = Annotated[
    str, typer.Option(envvar="STOKER_RUNTIME", show_envvar=False, help="auto, docker or process.")
]
BaseImage = Annotated[
    str | None,
    typer.Option(envvar="STOKER_BASE_IMAGE", show_envvar=False, help="Image of plain bundles."),
]
GpuBaseImage = Annotated[
    str | None, typer.Option(metavar="IMAGE", help="Likewise, for jobs that ask for GPUs.")
]
Slots = Annotated[int | None, typer.Option(min=1, help="Jobs at one time.")]
Quota = Annotated[
    list[str] | None,
    typer.Option(
        metavar="KIND=LIMIT",
        help="What one user may have: running=8, queued=100, storage=50g, upload=2g; repeatable.",
        show_default="no limits",
    ),
]
NatsHost = Annotated[
    str, typer.Option(help="Address that NATS listens on; beyond this machine it speaks TLS.")
]
TlsCert = Annotated[
    Path | None,
    typer.Option(
        help="PEM with the page's certificate and chain.",
        show_default="our own authority's, beyond this machine",
    ),
]
TlsKey = Annotated[Path | None, typer.Option(help="Its key, where it is in a file of its own.")]
PlainHttp = Annotated[
    bool, typer.Option("--plain-http", help="No HTTPS beyond this machine either.")
]
BehindProxy = Annotated[
    list[str] | None,
    typer.Option(metavar="CIDR", help="Proxies whose X-Forwarded-* is believed; repeatable."),
]
NatsCert = Annotated[
    Path | None,
    typer.Option("--nats-tls-cert", help="PEM with NATS' certificate and chain, likewise."),
]
NatsKey = Annotated[Path | None, typer.Option("--nats-tls-key", help="Its key, likewise.")]
NatsCa = Annotated[
    Path | None, typer.Option("--nats-tls-ca", help="PEM of who vouches for it, for workers.")
]
PlainNats = Annotated[
    bool, typer.Option("--plain-nats", help="NATS without TLS beyond this machine either.")
]
SignIn = Annotated[
    bool,
    typer.Option(
        "--sign-in/--no-sign-in", help="Off: everybody on this machine is an admin; loopback only."
    ),
]
Browser = Annotated[bool, typer.Option("--browser/--no-browser", help="Open the page.")]


def up(
    data: Data = None,
    port: Port = config.PORT,
    host: Host = "127.0.0.1",
    allow_host: AllowHost = None,
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
    plain_http: PlainHttp = False,
    behind_proxy: BehindProxy = None,
    nats_port: NatsPort = None,
    nats_host: NatsHost = "127.0.0.1",
    nats_tls_cert: NatsCert = None,
    nats_tls_key: NatsKey = None,
    nats_tls_ca: NatsCa = None,
    plain_nats: PlainNats = False,
    nats_server: NatsServer = None,
    runtime: Runtime = "auto",
    base_image: BaseImage = None,
    gpu_base_image: GpuBaseImage = None,
    slots: Slots = None,
    quota: Quota = None,
    sign_in: SignIn = True,
    oidc_issuer: oidc.Issuer = None,
    oidc_client_id: oidc.ClientId = None,
    oidc_client_secret_file: oidc.SecretFile = None,
    oidc_scope: oidc.Scope = None,
    oidc_group: oidc.Group = None,
    oidc_groups_claim: oidc.GroupsClaim = "groups",
    oidc_name: oidc.Name = "",
    browser: Browser = False,
) -> None:
    """Start everything on this machine: NATS, services, one worker, the page."""
    from stoker import session
    from stoker.parts import PageFlags
    from stoker.tls import NatsFlags

    page = PageFlags(
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
    )
    asked = asked_for(
        data=data,
        page=page,
        nats=NatsFlags(nats_host, nats_tls_cert, nats_tls_key, nats_tls_ca, plain_nats),
        nats_port=nats_port,
        nats_binary=nats_server,
        quota=everybodys(quota or ()),
        agent={
            "runtime": runtime,
            "base_image": base_image,
            "gpu_base_image": gpu_base_image,
            "slots": slots,
            **OWN_MACHINE,
        },
    )
    raise typer.Exit(session.run(asked, browser=browser))


def demo(
    once: Annotated[
        bool, typer.Option("--once", help="Stop afterwards, with the job's own code.")
    ] = False,
    data: Data = None,
    port: Port = config.PORT,
    nats_port: NatsPort = None,
    nats_server: NatsServer = None,
    runtime: Runtime = "auto",
    base_image: BaseImage = None,
    slots: Slots = None,
    browser: Browser = False,
) -> None:
    """Start everything, train a small network, and show where to look at it."""
    from stoker import session
    from stoker.parts import PageFlags

    asked = asked_for(
        data=data,
        page=PageFlags(port=port),
        nats_port=nats_port,
        nats_binary=nats_server,
        agent={"runtime": runtime, "base_image": base_image, "slots": slots, **OWN_MACHINE},
    )
    raise typer.Exit(session.run(asked, browser=browser, demo=True, once=once))


def asked_for(
    *, data: Path | None, page: PageFlags, agent: dict[str, Any], **rest: Any
) -> UpConfig:
    from stoker.agents import AgentFlags
    from stoker.stack import UpConfig

    return UpConfig(data=config.data_folder(data), page=page, agent=AgentFlags(**agent), **rest)
