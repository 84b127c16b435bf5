"""What speaks TLS, and by which certificate? All that other machines reach, with nothing to set up.

A certificate that was given, else one that our own authority signs. Plain text beyond this machine
is what somebody has to ask for, and is told.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import TYPE_CHECKING

from stoker import config
from stoker.answers import StokerError

if TYPE_CHECKING:
    from bus.server_tls import ServerTls
    from stoker.parts import PageFlags

ANY = frozenset({"", "0.0.0.0", "::"})
PLAIN = {
    "page": "the page speaks plain HTTP beyond this machine: who listens reads logs and sessions",
    "nats": "NATS speaks plainly beyond this machine: who listens reads code and logs of all jobs",
}


@dataclass(frozen=True, slots=True)
class NatsFlags:
    """Where the embedded nats-server listens, and what it shows."""

    host: str = "127.0.0.1"
    certificate: Path | None = None
    key: Path | None = None
    """The certificate's, where it is not in the same file."""
    ca: Path | None = None
    """Who vouches for the certificate; without, somebody whom all machines trust."""
    plain: bool = False


def is_loopback(host: str) -> bool:
    with suppress(ValueError):
        return ip_address(host).is_loopback
    return host in config.LOOPBACK


def machine_names(page: PageFlags, nats: NatsFlags | None = None) -> tuple[str, ...]:
    """All that our own certificate stands for: one is shown by page and NATS."""
    hosts = (page.host, *page.hosts, *((nats.host,) if nats else ()), *own_names())
    return tuple(dict.fromkeys(host for host in hosts if host not in ANY))


def page_with_tls(page: PageFlags, keys: Path | None, names: tuple[str, ...]) -> PageFlags:
    """With the certificate that it shows, or none; ``keys``: the folder of our own authority.

    Raises ``StokerError``.
    """
    check_pair("--tls", page.certificate, page.key)
    for network in page.proxies:
        check_network(network)
    if page.certificate:
        page = opened(page, names_on(page.certificate))
    if is_loopback(page.host):
        return page
    page = opened(page, names)
    if page.certificate or page.plain:
        return page
    if keys is None:
        raise StokerError(
            "beyond this machine the page speaks HTTPS: give it --tls-cert and --tls-key, or --data"
            " for a certificate of its own authority (--plain-http does without)"
        )
    return replace(page, certificate=own_certificate(keys, names), signed=keys)


def opened(page: PageFlags, names: Iterable[str]) -> PageFlags:
    """Under those names, too."""
    return replace(page, hosts=tuple(dict.fromkeys((*page.hosts, *names))))


def nats_with_tls(nats: NatsFlags, keys: Path, names: tuple[str, ...]) -> ServerTls | None:
    """None where it speaks plainly. Raises ``StokerError``."""
    from bus.certificates import CA
    from bus.server_tls import ServerTls

    check_pair("--nats-tls", nats.certificate, nats.key)
    if nats.certificate is not None:
        return ServerTls(
            nats.certificate.absolute(),
            (nats.key or nats.certificate).absolute(),
            nats.ca and nats.ca.absolute(),
            names_on(nats.certificate)[0],
        )
    if nats.plain or is_loopback(nats.host):
        return None
    shown = own_certificate(keys, names)
    return ServerTls(shown, shown, keys / CA)


def check_pair(flag: str, certificate: Path | None, key: Path | None) -> None:
    """A certificate that a server will be able to show."""
    from bus.certificates import Shown
    from bus.errors import BusError

    if certificate is None:
        if key is not None:
            raise StokerError(f"{flag}-key needs {flag}-cert")
        return
    try:
        Shown(certificate, key)
    except BusError as error:
        raise StokerError(f"{flag}-cert: {error}") from error


def check_network(text: str) -> None:
    try:
        ip_network(text)
    except ValueError as error:
        raise StokerError(f"--behind-proxy {text}: {error}; write 10.0.0.0/8") from None


def own_certificate(keys: Path, names: tuple[str, ...]) -> Path:
    from bus.authority import server_certificate
    from bus.errors import BusError

    try:
        return server_certificate(keys, names, time.time())
    except BusError as error:
        raise StokerError(str(error)) from error


def own_names() -> tuple[str, ...]:
    """Names and addresses of this machine, those that others see first."""
    names = (socket.gethostname(), socket.getfqdn())
    found = (*own_addresses(), *names, *sorted(config.LOOPBACK))
    return tuple(dict.fromkeys(name.lower() for name in found if name))


def own_addresses() -> Iterator[str]:
    """The one that goes out first; none that only this machine, or its cable, knows."""
    import psutil

    first = outgoing_address()
    if first:
        yield first
    for interface in psutil.net_if_addrs().values():
        for one in interface:
            if one.family in (socket.AF_INET, socket.AF_INET6):
                address = ip_address(one.address.partition("%")[0])
                if not address.is_loopback and not address.is_link_local:
                    yield str(address)


def outgoing_address() -> str:
    """By which this machine reaches the rest of the world; nothing is sent."""
    with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))
        return str(probe.getsockname()[0])
    return ""


def outside(host: str, url: str) -> tuple[str, ...]:
    """Where other machines reach a server on ``host`` that this one reaches by ``url``."""
    if is_loopback(host):
        return ()
    scheme, port = url.partition("://")[0], url.rpartition(":")[2]
    shown = (outgoing_address() or socket.gethostname()) if host in ANY else host
    return (f"{scheme}://[{shown}]:{port}" if ":" in shown else f"{scheme}://{shown}:{port}",)


def names_on(certificate: Path) -> tuple[str, ...]:
    """All that the certificate stands for; in place of a star, one name of those that it may be."""
    from bus.authority import names_of, read_certificate

    found = read_certificate(certificate)
    names = names_of(found) if found is not None else []
    if not names:
        raise StokerError(f"{certificate} stands for no name (subject alternative names)")
    return tuple(name.lower().replace("*", "stoker") for name in names)


def plain_parts(page: PageFlags, nats: NatsFlags | None = None) -> tuple[str, ...]:
    """What other machines reach without TLS."""
    listening = [("page", page.host, page.certificate)]
    if nats is not None:
        listening.append(("nats", nats.host, nats.certificate or (None if nats.plain else Path())))
    return tuple(name for name, host, shown in listening if not is_loopback(host) and shown is None)
