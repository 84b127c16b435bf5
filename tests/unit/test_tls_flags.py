"""What speaks TLS by which flags, and what does the doctor say of it?"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from bus.authority import CA, SERVER, names_of, open_authority, read_certificate, server_certificate
from stoker import command, config, exits
from stoker.answers import StokerError
from stoker.checks import Where, certificate, encrypted
from stoker.parts import PageFlags
from stoker.tls import (
    NatsFlags,
    is_loopback,
    machine_names,
    names_on,
    nats_with_tls,
    outside,
    own_names,
    page_with_tls,
    plain_parts,
)

DAY = 86_400.0
NAMES = ("10.0.0.1", "page.example")


@pytest.mark.parametrize(
    ("host", "alone"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("", False),
        ("10.0.0.1", False),
        ("page.example", False),
    ],
)
def test_loopback_is_what_no_other_machine_reaches(host: str, alone: bool) -> None:
    assert is_loopback(host) is alone


@pytest.mark.parametrize(
    ("host", "plain", "https"),
    [
        ("127.0.0.1", False, False),
        ("0.0.0.0", False, True),
        ("10.0.0.1", False, True),
        ("0.0.0.0", True, False),
    ],
)
def test_page_and_nats_show_a_certificate_where_others_reach_them(
    tmp_path: Path, host: str, plain: bool, https: bool
) -> None:
    page = page_with_tls(PageFlags(host, plain=plain), tmp_path, NAMES)
    nats = nats_with_tls(NatsFlags(host, plain=plain), tmp_path, NAMES)
    assert (page.certificate is not None) is https
    assert (nats is not None) is https
    assert (tmp_path / SERVER).exists() is https
    if https:
        assert nats is not None
        assert nats.certificate == page.certificate == tmp_path / SERVER
        assert nats.authority == tmp_path / CA
        assert set(NAMES) <= set(page.hosts)


def test_what_was_given_is_shown_on_this_machine_too(tmp_path: Path) -> None:
    shown = server_certificate(tmp_path, ["*.page.example"], time.time())
    page = page_with_tls(PageFlags(certificate=shown), None, ())
    assert page.certificate == shown
    # A star is no name: nothing that it stands for is opened by itself.
    assert page.hosts == ("stoker",)
    nats = nats_with_tls(NatsFlags(certificate=shown), tmp_path / "keys", ())
    assert nats is not None
    assert nats.name == names_on(shown)[0] == "stoker"
    assert nats.authority is None


def test_plain_text_that_others_reach_is_named() -> None:
    beyond = PageFlags("0.0.0.0", plain=True)
    assert plain_parts(beyond, NatsFlags("0.0.0.0", plain=True)) == ("page", "nats")
    assert plain_parts(beyond, NatsFlags()) == ("page",)
    assert plain_parts(PageFlags("0.0.0.0", certificate=Path("x")), NatsFlags("0.0.0.0")) == ()
    assert plain_parts(PageFlags(plain=True), NatsFlags(plain=True)) == ()


@pytest.mark.parametrize("network", ["10.0.0.1/8", "everybody", "10.0.0.0/33"])
def test_a_network_of_proxies_is_checked(network: str) -> None:
    with pytest.raises(StokerError, match="--behind-proxy"):
        page_with_tls(PageFlags(proxies=(network,)), None, ())


def test_our_certificate_stands_for_all_names_of_the_machine(tmp_path: Path) -> None:
    page, nats = PageFlags("0.0.0.0", hosts=("page.example",)), NatsFlags("10.1.2.3")
    names = machine_names(page, nats)
    assert "0.0.0.0" not in names
    found = read_certificate(server_certificate(tmp_path, names, time.time()))
    assert found is not None
    assert {"page.example", "10.1.2.3", "127.0.0.1", "localhost"} <= set(names_of(found))
    assert set(own_names()) <= set(names_of(found))


def test_others_reach_what_listens_everywhere_by_an_address_of_ours() -> None:
    assert outside("127.0.0.1", "tls://127.0.0.1:4222") == ()
    assert outside("10.0.0.1", "tls://10.0.0.1:4222") == ("tls://10.0.0.1:4222",)
    assert outside("fd00::1", "tls://[fd00::1]:4222") == ("tls://[fd00::1]:4222",)
    (url,) = outside("0.0.0.0", "https://127.0.0.1:8900")
    assert url.startswith("https://")
    assert "127.0.0.1" not in url


@pytest.mark.parametrize(
    ("server", "nats", "authority", "state"),
    [
        ("http://127.0.0.1:8900", "nats://127.0.0.1:4222", None, "PASS"),
        ("https://page.example", "tls://nats.example:4222", None, "PASS"),
        ("https://page.example", "nats://nats.example:4222", Path("ca.pem"), "PASS"),
        ("http://page.example", "tls://nats.example:4222", None, "FAIL"),
        ("https://page.example", "nats.example:4222", None, "FAIL"),
    ],
)
def test_the_doctor_finds_plain_text(
    tmp_path: Path, server: str, nats: str, authority: Path | None, state: str
) -> None:
    where = Where(server, (nats,), trust=config.NatsTrust(authority))
    assert encrypted(tmp_path, where).state == state


@pytest.mark.parametrize(
    ("age", "state"), [(0, "PASS"), (380, "NOTE"), (398, "FAIL"), (None, "FAIL")]
)
def test_the_doctor_finds_a_certificate_that_runs_out(
    tmp_path: Path, age: int | None, state: str
) -> None:
    shown = tmp_path / "page.pem"
    if age is not None:
        made = open_authority(tmp_path / "keys", time.time())
        shown.write_text(made.issue(["page.example"], time.time() - age * DAY))
    config.write_address(tmp_path, config.Address("", "", os.getpid(), certificate=str(shown)))
    assert certificate(tmp_path).state == state


def test_an_address_that_another_version_wrote_is_read(tmp_path: Path) -> None:
    old = {"url": "http://127.0.0.1:8900", "nats": "nats://127.0.0.1:4222", "pid": os.getpid()}
    (tmp_path / config.ADDRESS_FILE).write_text(json.dumps(old))
    found = config.read_address(tmp_path)
    assert found is not None
    assert (found.url, found.plain, found.certificate) == (old["url"], (), "")


def test_a_certificate_is_made_once_and_renewed_when_due(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.run(["certificate", str(tmp_path), "nats", "10.0.0.1"]) == 0
    before = (tmp_path / SERVER).read_bytes()
    assert "397 days" in capsys.readouterr().err
    assert command.run(["certificate", str(tmp_path), "nats"]) == 0
    assert (tmp_path / SERVER).read_bytes() == before
    (tmp_path / "authority.pem").write_text("nonsense")
    assert command.run(["certificate", str(tmp_path), "nats"]) == exits.TROUBLE
    assert capsys.readouterr().err.splitlines()[-1].endswith("put back the file it was")
