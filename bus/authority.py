"""Who vouches for our servers? A certificate authority of our own, made at the first start.

In the folder of keys, readable by its owner alone: ``authority.pem`` with its certificate and key,
``ca.pem`` with the certificate for whoever is to trust it, and ``server.pem`` with what our servers
show: certificate, chain and key. Times come in as Unix seconds.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from bus.certificates import CA as CA
from bus.certificates import SERVER as SERVER
from bus.errors import BusError
from bus.keys import write_private
from bus.trust import FIXED_NAME, OURS

AUTHORITY = "authority.pem"
CA_LIFE = timedelta(days=3652)
LEAF_LIFE = timedelta(days=397)
"""The longest that browsers take."""
RENEWED_AFTER = 2 / 3
"""Of a certificate's life."""
SKEW = timedelta(hours=1)
"""That another machine's clock may be behind."""
NAMES_MOST = 64


class AuthorityError(BusError):
    """Our authority cannot be used; the message says what to change."""


@dataclass(frozen=True)
class Authority:
    """A certificate that may sign those of servers, and its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @classmethod
    def new(cls, now: float) -> Authority:
        key = ec.generate_private_key(ec.SECP256R1())
        name = subject(f"Stoker CA {secrets.token_hex(4)}")
        builder = (
            dated(name, name, key.public_key(), now, CA_LIFE)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage(signs=True), critical=True)
            .add_extension(key_identifier(key.public_key()), critical=False)
        )
        return cls(builder.sign(key, hashes.SHA256()), key)

    def pem(self) -> str:
        return text_of(self.certificate) + key_text(self.key)

    def issue(self, names: Iterable[str], now: float) -> str:
        """PEM of a new server's certificate under those names, its chain, and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        public = key.public_key()
        ours = key_identifier(self.certificate.public_key())
        signer = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(ours)
        life = min(LEAF_LIFE, self.certificate.not_valid_after_utc - moment(now))
        leaf = (
            dated(subject(FIXED_NAME), self.certificate.subject, public, now, life)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(usage(signs=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(alternatives(names), critical=False)
            .add_extension(key_identifier(public), critical=False)
            .add_extension(signer, critical=False)
            .sign(self.key, hashes.SHA256())
        )
        return text_of(leaf) + text_of(self.certificate) + key_text(key)


def open_authority(folder: Path, now: float) -> Authority:
    """The one of that folder, made where there is none. Raises ``AuthorityError``."""
    path = folder / AUTHORITY
    try:
        if not path.exists():
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            create_private(path, Authority.new(now).pem())
        data = path.read_bytes()
        certificate = x509.load_pem_x509_certificate(data)
        key = serialization.load_pem_private_key(data, None)
        write_changed(folder / CA, text_of(certificate))
    except OSError as error:
        raise AuthorityError(f"{error.filename or path}: {error.strerror}") from error
    except ValueError as error:
        raise AuthorityError(f"{path} holds no authority; put back the file it was") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise AuthorityError(f"{path} holds a key of another kind; put back the file it was")
    if certificate.not_valid_after_utc <= moment(now):
        raise AuthorityError(
            f"the authority in {path} has run out; remove it for a new one, and invite the workers"
            " anew: they trust the old one"
        )
    return Authority(certificate, key)


def server_certificate(folder: Path, names: Iterable[str], now: float) -> Path:
    """The file that servers show, written anew where it is time. Raises ``AuthorityError``."""
    authority = open_authority(folder, now)
    path, wanted = folder / SERVER, (*known_names(names),)
    shown = read_certificate(path)
    if shown is None or is_due(shown, now) or not fits(shown, authority, wanted):
        try:
            write_private(path, authority.issue(wanted, now))
        except OSError as error:
            raise AuthorityError(f"{path}: {error.strerror}") from error
    return path


def read_certificate(path: Path) -> x509.Certificate | None:
    """The first certificate of a PEM file; None where there is none."""
    with contextlib.suppress(OSError, ValueError):
        return x509.load_pem_x509_certificate(path.read_bytes())
    return None


def is_due(certificate: x509.Certificate, now: float) -> bool:
    """Whether two thirds of its life have passed, or it does not count yet."""
    begun, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return not begun <= moment(now) < begun + (ends - begun) * RENEWED_AFTER


def fits(shown: x509.Certificate, authority: Authority, names: Iterable[str]) -> bool:
    """Whether that authority signed it, for all those names."""
    try:
        shown.verify_directly_issued_by(authority.certificate)
    except Exception:  # Each kind of key has its own words for no.
        return False
    return {*known_names(names)} <= {*names_of(shown)}


def names_of(certificate: x509.Certificate) -> list[str]:
    """All names and addresses that it may be shown under."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    addresses = found.get_values_for_type(x509.IPAddress)
    return [*found.get_values_for_type(x509.DNSName), *map(str, addresses)]


def known_names(names: Iterable[str]) -> list[str]:
    """The fixed one first, and those that can be written down."""
    sane = (name.lower() for name in names if name and name.isascii() and "*" not in name)
    return list(dict.fromkeys((FIXED_NAME, *sane)))[:NAMES_MOST]


def days_left(certificate: x509.Certificate, now: float) -> float:
    return (certificate.not_valid_after_utc - moment(now)) / timedelta(days=1)


def alternatives(names: Iterable[str]) -> x509.SubjectAlternativeName:
    return x509.SubjectAlternativeName([alternative(name) for name in known_names(names)])


def alternative(name: str) -> x509.GeneralName:
    with contextlib.suppress(ValueError):
        return x509.IPAddress(ip_address(name))
    return x509.DNSName(name)


def subject(name: str) -> x509.Name:
    ours = x509.NameAttribute(NameOID.ORGANIZATION_NAME, OURS)
    return x509.Name([ours, x509.NameAttribute(NameOID.COMMON_NAME, name)])


def dated(
    name: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: float, life: timedelta
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(moment(now) - SKEW)
        .not_valid_after(moment(now) + life)
    )


def usage(*, signs: bool) -> x509.KeyUsage:
    """``signs``: certificates, else its own handshakes."""
    return x509.KeyUsage(
        digital_signature=not signs, content_commitment=False, key_encipherment=False,
        data_encipherment=False, key_agreement=False, key_cert_sign=signs, crl_sign=signs,
        encipher_only=False, decipher_only=False,
    )  # fmt: skip


def key_identifier(key: object) -> x509.SubjectKeyIdentifier:
    assert isinstance(key, ec.EllipticCurvePublicKey)
    return x509.SubjectKeyIdentifier.from_public_key(key)


def moment(now: float) -> datetime:
    return datetime.fromtimestamp(int(now), UTC)


def text_of(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def key_text(key: ec.EllipticCurvePrivateKey) -> str:
    made = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return made.decode()


def create_private(path: Path, text: str) -> None:
    """Of several who make it at one time, one wins."""
    made = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    write_private(made, text)
    with contextlib.suppress(FileExistsError):
        os.link(made, path)
    made.unlink()


def write_changed(path: Path, text: str) -> None:
    with contextlib.suppress(OSError):
        if path.read_text() == text:
            return
    write_private(path, text)
