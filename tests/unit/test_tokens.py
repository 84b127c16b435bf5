"""Tokens and keys, as NATS writes them."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from bus.keyring import KeyringError, open_keyring, revocations
from bus.keys import (
    ACCOUNT,
    USER,
    BadKey,
    Key,
    credentials,
    raw_user,
    read_credentials,
    verify,
    write_private,
)
from bus.tokens import Issuer, read_claims, read_identity, user_token

NOW = 1_800_000_000


def test_a_token_says_who_it_speaks_of() -> None:
    account, key = Key.new(ACCOUNT), Key.new(USER)
    issuer = Issuer(account.public, Key.new(ACCOUNT))
    token = user_token(issuer, "ant", key.public, NOW, tags=["pool:lab"], life=60)
    one = read_identity(token)
    assert (one.name, one.public, one.pool) == ("ant", key.public, "lab")
    assert (one.inbox, one.issued_at, one.expires_at) == ("_INBOX_ant", NOW, NOW + 60)
    assert read_claims(token)["nats"]["issuer_account"] == account.public


def test_a_token_of_somebody_else_names_no_inbox() -> None:
    issuer = Issuer("A", Key.new(ACCOUNT))
    token = user_token(issuer, "ant", "U", NOW)
    claims = read_claims(token)
    assert read_identity(token).inbox
    assert claims["nats"]["tags"] == ["inbox:ant"]


@pytest.mark.parametrize("text", ["", "a.b", "a.!.c", "e30.W10.x"])
def test_what_is_no_token_is_told(text: str) -> None:
    with pytest.raises(BadKey):
        read_claims(text)


def test_a_signature_holds_for_its_key_and_text_alone() -> None:
    key = Key.new(USER)
    signature = key.sign(b"text")
    verify(key.public, b"text", signature)
    for public, text in ((Key.new(USER).public, b"text"), (key.public, b"other")):
        with pytest.raises(BadKey):
            verify(public, text, signature)


@pytest.mark.parametrize(
    "public", ["", "U", "UABC", "no key", Key.new(ACCOUNT).public], ids=range(5)
)
def test_a_key_of_another_kind_is_no_user(public: str) -> None:
    with pytest.raises(BadKey):
        raw_user(public)


def test_a_key_with_a_wrong_letter_is_refused() -> None:
    public = Key.new(USER).public
    wrong = public[:-1] + ("A" if public[-1] != "A" else "B")
    with pytest.raises(BadKey):
        raw_user(wrong)


def test_credentials_are_read_as_they_were_written(tmp_path: Path) -> None:
    key = Key.new(USER)
    path = tmp_path / "me.creds"
    write_private(path, credentials("a.b.c", key))
    assert read_credentials(path) == ("a.b.c", key.seed)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_keys_are_made_once_and_missing_ones_added(tmp_path: Path) -> None:
    made = open_keyring(tmp_path / "k", make=True)
    again = open_keyring(tmp_path / "k")
    assert made.main == again.main
    assert stat.S_IMODE((tmp_path / "k").stat().st_mode) == 0o700


def test_a_folder_without_keys_is_told(tmp_path: Path) -> None:
    with pytest.raises(KeyringError, match="holds no keys"):
        open_keyring(tmp_path)


def test_a_new_version_of_the_accounts_keeps_who_is_revoked(tmp_path: Path) -> None:
    keyring = open_keyring(tmp_path, make=True)
    first = keyring.accounts({})
    assert keyring.accounts(first.tokens).tokens == first.tokens
    older = Keyrings.signed_with(tmp_path, {"UOLD": NOW})
    known = {**first.tokens, keyring.fleet: older}
    assert revocations(keyring.accounts(known).tokens[keyring.fleet]) == {"UOLD": NOW}


class Keyrings:
    """Tokens of an earlier version."""

    @staticmethod
    def signed_with(folder: Path, revoked: dict[str, int]) -> str:
        from bus.accounts import account_token

        keyring = open_keyring(folder)
        claims = keyring.fleet_claims(revoked)
        claims["nats"]["limits"]["conn"] = 7
        return account_token(claims, keyring.key("operator"), NOW)


def test_a_later_token_is_later_also_for_a_clock_that_went_back(tmp_path: Path) -> None:
    keyring = open_keyring(tmp_path, make=True)
    ahead = Keyrings.signed_with(tmp_path, {})
    renewed = keyring.accounts({keyring.fleet: ahead}).tokens[keyring.fleet]
    assert read_claims(renewed)["iat"] == NOW + 1
