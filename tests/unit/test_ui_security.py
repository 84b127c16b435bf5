"""Whose line is it, and is it HTTPS? What a proxy says counts only where it is believed."""

from __future__ import annotations

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from ui.config import UiConfig
from ui.keys import CONFIG
from ui.security import client_address, is_own, is_secure

PROXY, STRANGER = "10.0.0.7", "203.0.113.9"


def request(
    peer: str, headers: dict[str, str], proxies: tuple[str, ...] = ("10.0.0.0/8",)
) -> web.Request:
    app = web.Application()
    app[CONFIG] = UiConfig(proxies=proxies)
    made = make_mocked_request("GET", "/", headers={"Host": "page.example", **headers}, app=app)
    return made.clone(remote=peer)


@pytest.mark.parametrize(
    ("peer", "told", "secure"),
    [
        (PROXY, "https", True),
        (PROXY, "HTTPS", True),
        (PROXY, "https, http", False),
        (PROXY, "http", False),
        (PROXY, "", False),
        (STRANGER, "https", False),
        ("::ffff:10.0.0.7", "https", True),
        ("", "https", False),
    ],
)
def test_https_is_told_by_a_known_proxy_alone(peer: str, told: str, secure: bool) -> None:
    assert is_secure(request(peer, {"X-Forwarded-Proto": told})) is secure


def test_nobody_is_a_proxy_by_default() -> None:
    assert not is_secure(request("127.0.0.1", {"X-Forwarded-Proto": "https"}, proxies=()))


@pytest.mark.parametrize(
    ("peer", "told", "address"),
    [
        (STRANGER, "", STRANGER),
        (STRANGER, "198.51.100.1", STRANGER),
        (PROXY, "198.51.100.1", "198.51.100.1"),
        (PROXY, "192.0.2.66, 198.51.100.1", "198.51.100.1"),
        (PROXY, "198.51.100.1, 10.1.1.1", "198.51.100.1"),
        (PROXY, "nonsense", PROXY),
        (PROXY, "198.51.100.1, nonsense, 10.1.1.1", "10.1.1.1"),
        (PROXY, "", PROXY),
    ],
)
def test_the_address_is_the_nearest_that_is_no_proxy(peer: str, told: str, address: str) -> None:
    assert client_address(request(peer, {"X-Forwarded-For": told})) == address


@pytest.mark.parametrize(
    ("origin", "proto", "own"),
    [
        ("https://page.example", "https", True),
        ("http://page.example", "http", True),
        ("https://page.example", "http", True),
        ("http://page.example", "https", False),
        ("https://page.example:8443", "https", False),
        ("https://other.example", "https", False),
        ("null", "https", False),
        ("http://[", "http", False),
    ],
)
def test_the_same_name_over_plain_http_is_a_stranger_to_https(
    origin: str, proto: str, own: bool
) -> None:
    assert is_own(request(PROXY, {"X-Forwarded-Proto": proto}), origin) is own


def test_a_page_cannot_claim_another_name_through_a_proxy() -> None:
    rebound = request(PROXY, {"X-Forwarded-Host": "evil.example"})
    assert not is_own(rebound, "http://evil.example")
