"""The authority that Stoker makes for itself, and what it signs."""

from __future__ import annotations

import contextlib
import ssl
import stat
import time
from pathlib import Path

import pytest

from bus.authority import (
    AUTHORITY,
    CA,
    SERVER,
    AuthorityError,
    days_left,
    names_of,
    open_authority,
    read_certificate,
    server_certificate,
)
from bus.trust import FIXED_NAME, Untrusted, trust

NOW = 1_800_000_000.0
DAY = 86_400.0
NAMES = ("page.example", "10.0.0.1", "fd00::1")


def serial(folder: Path) -> int:
    found = read_certificate(folder / SERVER)
    assert found is not None
    return found.serial_number


def handshake(server: Path, authority: Path, name: str | None = None, flags: int = 0) -> str:
    """The end of a handshake in memory."""
    shown = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    shown.load_cert_chain(server)
    met = trust(str(authority))
    met.context.verify_flags |= flags
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    theirs = shown.wrap_bio(up, down, server_side=True)
    ours = met.context.wrap_bio(down, up, server_hostname=name or met.name)
    for _ in range(4):
        for side in (ours, theirs):
            with contextlib.suppress(ssl.SSLWantReadError):
                side.do_handshake()
    return ours.version() or ""


def test_a_certificate_stands_for_the_fixed_name_and_for_all_that_were_given(
    tmp_path: Path,
) -> None:
    path = server_certificate(tmp_path, (*NAMES, "PAGE.example", "*", "käse"), NOW)
    found = read_certificate(path)
    assert found is not None
    assert set(names_of(found)) == {FIXED_NAME, *NAMES}
    assert 396.9 < days_left(found, NOW) <= 397
    authority = open_authority(tmp_path, NOW).certificate
    assert 3651 < days_left(authority, NOW) <= 3652


@pytest.mark.parametrize("flags", [0, ssl.VERIFY_X509_STRICT], ids=["usual", "strict"])
def test_who_trusts_the_authority_believes_its_servers(tmp_path: Path, flags: int) -> None:
    server = server_certificate(tmp_path, NAMES, time.time())
    assert handshake(server, tmp_path / CA, flags=flags) == "TLSv1.3"
    assert handshake(server, tmp_path / CA, "10.0.0.1", flags) == "TLSv1.3"


def test_whoever_trusts_another_authority_does_not(tmp_path: Path) -> None:
    server = server_certificate(tmp_path / "one", NAMES, time.time())
    open_authority(tmp_path / "two", time.time())
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(server, tmp_path / "two" / CA)
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(server, tmp_path / "one" / CA, "other.example")


@pytest.mark.parametrize(
    ("later", "names", "renewed"),
    [
        (0.0, NAMES, False),
        (264 * DAY, NAMES, False),
        (266 * DAY, NAMES, True),
        (500 * DAY, NAMES, True),
        (-2 * DAY, NAMES, True),
        (DAY, NAMES[:1], False),
        (DAY, (*NAMES, "more.example"), True),
    ],
)
def test_it_is_renewed_after_two_thirds_of_its_time_or_for_more_names(
    tmp_path: Path, later: float, names: tuple[str, ...], renewed: bool
) -> None:
    server_certificate(tmp_path, NAMES, NOW)
    before, authority = serial(tmp_path), (tmp_path / AUTHORITY).read_bytes()
    server_certificate(tmp_path, names, NOW + later)
    assert (serial(tmp_path) != before) is renewed
    assert (tmp_path / AUTHORITY).read_bytes() == authority


def test_a_certificate_never_outlives_its_authority(tmp_path: Path) -> None:
    server_certificate(tmp_path, NAMES, NOW)
    late = NOW + 3600 * DAY
    found = read_certificate(server_certificate(tmp_path, NAMES, late))
    assert found is not None
    assert days_left(found, late) <= 52


def test_an_authority_that_ran_out_says_what_to_do(tmp_path: Path) -> None:
    open_authority(tmp_path, NOW)
    with pytest.raises(AuthorityError, match=r"run out; remove it .* invite the workers"):
        open_authority(tmp_path, NOW + 3700 * DAY)


def test_a_new_authority_signs_anew(tmp_path: Path) -> None:
    server_certificate(tmp_path, NAMES, NOW)
    before = serial(tmp_path)
    (tmp_path / AUTHORITY).unlink()
    server_certificate(tmp_path, NAMES, NOW)
    assert serial(tmp_path) != before


def test_all_of_it_is_the_owners_alone(tmp_path: Path) -> None:
    folder = tmp_path / "identities"
    server_certificate(folder, NAMES, NOW)
    assert {file.name for file in folder.iterdir()} == {AUTHORITY, CA, SERVER}
    assert {stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()} == {0o600}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert "PRIVATE" not in (folder / CA).read_text()


def test_a_broken_file_is_told_by_name(tmp_path: Path) -> None:
    (tmp_path / AUTHORITY).write_text("nonsense")
    with pytest.raises(AuthorityError, match=r"authority\.pem holds no authority"):
        open_authority(tmp_path, NOW)


@pytest.mark.parametrize("text", [None, "nonsense"])
def test_a_ca_that_is_none_is_told_by_name(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "ca.pem"
    if text is not None:
        path.write_text(text)
    with pytest.raises(Untrusted, match=r"ca\.pem .*--ca"):
        trust(str(path))
