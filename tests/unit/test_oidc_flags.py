"""The flags that name a provider of OpenID Connect: one clear sentence for what cannot be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from stoker.answers import StokerError
from stoker.oidc import OidcFlags, read_flags


def read(**flags: Any) -> OidcFlags | None:
    usual: dict[str, Any] = {
        "issuer": "https://id.example/realm",
        "client_id": "stoker",
        "secret_file": None,
        "scopes": (),
        "groups_claim": "groups",
        "name": "",
        "groups": (),
    }
    return read_flags(**{**usual, **flags})


def test_nothing_named_is_no_provider() -> None:
    assert read(issuer=None, client_id=None) is None


def test_what_the_page_is_told(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("s3cret\n")
    flags = read(secret_file=secret, groups=("ml=member", "a=b=admin", "*=viewer"))
    assert flags is not None
    config = flags.config()
    assert (config.client_secret, config.label) == ("s3cret", "id.example")
    assert config.scopes == ("openid", "profile", "email")
    assert flags.groups == {"ml": "member", "a=b": "admin", "*": "viewer"}
    assert "s3cret" not in repr(config)


def test_the_scope_openid_is_always_asked_for() -> None:
    flags = read(scopes=("groups",))
    assert flags is not None
    assert flags.scopes == ("openid", "groups")


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        ({"issuer": None}, "need --oidc-issuer"),
        ({"client_id": None}, "needs --oidc-client-id"),
        ({"issuer": "http://id.example"}, "https://"),
        ({"issuer": "id.example"}, "https://"),
        ({"issuer": "https://id.example/?a=b"}, "https://"),
        ({"groups": ("ml",)}, "GROUP=ROLE"),
        ({"groups": ("ml=king",)}, "viewer, member, admin"),
        ({"secret_file": Path("nowhere")}, "No such file"),
    ],
    ids=str,
)
def test_what_cannot_be_is_said(flags: dict[str, Any], says: str) -> None:
    with pytest.raises(StokerError, match=says):
        read(**flags)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]"])
def test_on_this_machine_plain_http_will_do(host: str) -> None:
    assert read(issuer=f"http://{host}:5556/dex") is not None
