"""Whose certificates does a client on the bus believe, and what does it say of others?"""

from __future__ import annotations

import ssl
from dataclasses import dataclass

from nats.errors import Error

from bus.errors import BusError

FIXED_NAME = "stoker"
"""Every certificate of our own authority carries it: addresses and names may change."""
OURS = "Stoker"
"""The organisation that our own authority names."""
EXPIRED, NOT_YET = 10, 9
NAMES = frozenset({62, 64})
"""OpenSSL's numbers: too late, too early, another name or address."""
SECURE = ("tls://", "wss://")


class Untrusted(BusError):
    """The server cannot be believed; the message says what to change."""


class Plain(Error):
    """A server speaks plainly where TLS was asked for."""


@dataclass(frozen=True)
class Trust:
    """How a client meets its servers."""

    context: ssl.SSLContext
    name: str | None
    """The name that their certificates must carry; None: the one in the address."""


def trust(authority: str | None, name: str | None = None) -> Trust:
    """Only that file's authority counts; without, those of this machine. Raises ``Untrusted``."""
    try:
        context = ssl.create_default_context(cafile=authority)
    except (OSError, ssl.SSLError) as error:
        told = "holds no certificate" if isinstance(error, ssl.SSLError) else error.strerror
        raise Untrusted(f"{authority} {told}; name the authority's PEM file with --ca") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    ours = authority is not None and is_ours(context)
    return Trust(context, name or (FIXED_NAME if ours else None))


def is_ours(context: ssl.SSLContext) -> bool:
    """Whether the authority is one that Stoker made: then the certificates carry the fixed name."""
    found = context.get_ca_certs()
    return len(found) == 1 and (("organizationName", OURS),) in (found[0].get("subject") or ())


def wants_tls(servers: tuple[str, ...], authority: str | None) -> bool:
    """Whether plain text is never an answer."""
    return authority is not None or any(server.startswith(SECURE) for server in servers)


def complaint(error: BaseException | None, where: str, authority: str | None) -> str | None:
    """One sentence for what TLS went wrong on; None for any other trouble."""
    match error:
        case Plain():
            return f"{where} speaks without TLS: give its server TLS, or write nats:// without --ca"
        case ssl.SSLCertVerificationError(verify_code=code) if code == EXPIRED:
            return f"the certificate of {where} has run out: renew it there, or set this clock"
        case ssl.SSLCertVerificationError(verify_code=code) if code == NOT_YET:
            return f"the certificate of {where} does not count yet: one of the clocks is wrong"
        case ssl.SSLCertVerificationError(verify_code=code) if code in NAMES:
            return f"the certificate of {where} is for another name: use one that it carries"
        case ssl.SSLCertVerificationError():
            if authority is None:
                return f"nobody whom this machine trusts vouches for {where}: name its CA by --ca"
            return (
                f"{where} is not vouched for by {authority}: it is another server, or has a new"
                " authority; a worker needs a new invitation then, others its ca.pem (--ca)"
            )
        case ssl.SSLError():
            reason = error.reason or str(error)
            return f"TLS with {where} fails ({reason.replace('_', ' ').lower()}): is it NATS?"
    return None
