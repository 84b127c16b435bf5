"""Which server does the command believe, and what does it say of others?

In this order: the authority that was named (``--ca``, ``STOKER_CA``), the one that ``stoker login``
kept for the address, the certificate of a ``stoker up`` of this machine, and whoever this machine
trusts anyway.
"""

from __future__ import annotations

import hashlib
import os
import socket
import ssl
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from stoker import keeping
from stoker.answers import StokerError

FIXED_NAME, OURS = "stoker", "Stoker"
"""The name on every certificate of an authority that Stoker made, and its organisation."""
SECONDS = 10.0
EXPIRED, NOT_YET, NAMES = 10, 9, frozenset({62, 64})
"""OpenSSL's numbers: too late, too early, another name or address."""


class Untrusted(StokerError):
    """The server cannot be believed; the message says what to change."""


class Named(ssl.SSLContext):
    """Asks for the fixed name, whatever the address: our own authority signs nothing else."""

    def wrap_socket(self, *args: Any, **options: Any) -> ssl.SSLSocket:
        return super().wrap_socket(*args, **{**options, "server_hostname": FIXED_NAME})

    def wrap_bio(self, *args: Any, **options: Any) -> ssl.SSLObject:
        return super().wrap_bio(*args, **{**options, "server_hostname": FIXED_NAME})


def trust_for(url: str, ca: str | Path | None = None) -> ssl.SSLContext | None:
    """For a connection to that address; None for plain HTTP. Raises ``Untrusted``."""
    if urlsplit(url).scheme != "https":
        return None
    named = ca or os.environ.get("STOKER_CA") or kept_authority(url)
    if named:
        return trusting(Path(named))
    shown = own_certificate(url)
    return pinned(shown) if shown else ssl.create_default_context()


def trusting(authority: Path) -> ssl.SSLContext:
    """Whom that authority vouches for, and nobody else."""
    try:
        context = Named(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(authority)
        return context if is_ours(context) else ssl.create_default_context(cafile=str(authority))
    except ssl.SSLError as error:
        raise Untrusted(f"{authority} holds no certificate; name the authority's PEM") from error
    except OSError as error:
        raise Untrusted(f"{authority} cannot be read: {error.strerror}") from error


def is_ours(context: ssl.SSLContext) -> bool:
    found = context.get_ca_certs()
    return len(found) == 1 and (("organizationName", OURS),) in (found[0].get("subject") or ())


def pinned(certificate: Path) -> ssl.SSLContext:
    """Who shows that very certificate, under whatever name, or one that its chain vouches for."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.load_verify_locations(certificate)
    return context


def own_certificate(url: str) -> Path | None:
    """What a ``stoker up`` of this machine shows at that address, where we may read it."""
    shown = (address.certificate for _, address in keeping.own_ups(url))
    return next((Path(one) for one in shown if one and os.access(one, os.R_OK)), None)


def kept_authority(url: str) -> Path | None:
    path = authority_file(url)
    return path if path.exists() else None


def keep_authority(url: str, pem: str) -> Path:
    """From now on it alone counts for that address."""
    path = authority_file(url)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = path.with_suffix(".new")
    fresh.write_text(pem)
    fresh.replace(path)
    return path


def authority_file(url: str) -> Path:
    parts = urlsplit(url)
    name = f"{parts.hostname}_{parts.port or 443}.pem".replace(":", "-")
    return keeping.folder() / "authorities" / name


def fetch_authority(url: str, fingerprint: str) -> str:
    """PEM of the authority with that fingerprint, as the server shows it. Raises ``Untrusted``."""
    wanted = plain_fingerprint(fingerprint)
    for der in chain_of(url):
        if hashlib.sha256(der).hexdigest() == wanted:
            return ssl.DER_cert_to_PEM_cert(der)
    raise Untrusted(f"{url} shows no authority with that fingerprint: do not use this server")


def plain_fingerprint(text: str) -> str:
    plain = text.lower().removeprefix("sha256:").replace(":", "")
    with suppress(ValueError):
        if len(bytes.fromhex(plain)) == 32:
            return plain
    raise StokerError(f"{text!r} is no fingerprint; it is 64 hexadecimal digits")


def fingerprint_of(authority: Path) -> str:
    der = ssl.PEM_cert_to_DER_cert(authority.read_text())
    return f"sha256:{hashlib.sha256(der).hexdigest()}"


def chain_of(url: str) -> list[bytes]:
    """The certificates that a server shows, believed by nobody yet."""
    parts = urlsplit(url)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        place = (parts.hostname or "", parts.port or 443)
        with (
            socket.create_connection(place, timeout=SECONDS) as plain,
            context.wrap_socket(plain, server_hostname=parts.hostname) as line,
        ):
            # Public from Python 3.13 on; it has been there since 3.10.
            found = line._sslobj.get_unverified_chain()  # type: ignore[attr-defined]
            return [ssl.PEM_cert_to_DER_cert(one.public_bytes()) for one in found or ()]
    except OSError as error:
        raise Untrusted(complaint(error, url) or f"no answer from {url} ({error})") from error


def complaint(error: BaseException, url: str) -> str | None:
    """One sentence for what TLS went wrong on; None for any other trouble."""
    if not isinstance(error, ssl.SSLError):
        return None
    if not isinstance(error, ssl.SSLCertVerificationError):
        plain = url.replace("https:", "http:", 1)
        return f"{url} does not speak HTTPS ({reason(error)}); is it {plain}?"
    code = error.verify_code
    if code == EXPIRED:
        return f"the certificate of {url} has run out: renew it there, or set this clock"
    if code == NOT_YET:
        return f"the certificate of {url} does not count yet: one of the clocks is wrong"
    if code in NAMES:
        return f"the certificate of {url} is for another name: write an address that it carries"
    return (
        f"nobody whom this machine trusts vouches for {url}: name its authority with --ca"
        " (STOKER_CA), or keep it with: stoker login URL --ca-fingerprint …"
    )


def reason(error: ssl.SSLError) -> str:
    return (error.reason or "no TLS").replace("_", " ").lower()
