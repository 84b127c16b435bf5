"""The rules of people that need nobody: waiting, names, groups, secrets, passwords."""

from __future__ import annotations

import itertools

import pytest

from schemas.ids import USER_NAME
from schemas.people import Role
from services.people.kept import Tries
from services.people.naming import fitting, names_for, role_by_groups
from services.people.passes import (
    Maker,
    Pass,
    plain_text,
    read_plain,
    read_token,
    token_text,
)
from services.people.passwords import Passwords, weakness
from services.people.throttle import FORGOTTEN, LONGEST, counted, network, wait_for

MAKER = Maker(b"k" * 32)
SECRET = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("count", "seconds"),
    [(0, 0), (4, 0), (5, 1), (6, 2), (7, 4), (13, 256), (14, LONGEST), (10_000, LONGEST)],
)
def test_waiting_doubles_after_five_free_tries_and_has_an_end(count: int, seconds: float) -> None:
    assert wait_for(Tries(count=count, at=100.0), 5, 100.0) == seconds


def test_waiting_passes_with_time_and_is_forgotten() -> None:
    tries = Tries(count=7, at=100.0)
    assert wait_for(tries, 5, 103.0) == 1.0
    assert wait_for(tries, 5, 104.0) == 0.0
    assert counted(tries, 104.0) == Tries(count=8, at=104.0)
    assert counted(tries, 101.0 + FORGOTTEN) == Tries(count=1, at=101.0 + FORGOTTEN)


def test_a_clock_that_was_ahead_makes_nobody_wait_longer() -> None:
    assert wait_for(Tries(count=6, at=1_000_000.0), 5, 100.0) == 2.0


@pytest.mark.parametrize(
    ("address", "counts_as"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("unknown", "unknown"),
    ],
)
def test_a_subscriber_is_one_address(address: str, counts_as: str) -> None:
    assert network(address) == counts_as


def test_the_same_request_gets_the_same_secret_and_no_other_does() -> None:
    made = MAKER.derive("token", "ada", "one")
    assert MAKER.derive("token", "ada", "one") == made
    others = (
        MAKER.derive("token", "ada", "two"),
        MAKER.derive("token", "bob", "one"),
        MAKER.derive("session", "ada", "one"),
        Maker(b"j" * 32).derive("token", "ada", "one"),
        MAKER.derive("token", "ad", "a\0one"),
    )
    assert made.secret not in {other.secret for other in others}
    assert made.secret not in (made.digest, made.id)


@pytest.mark.parametrize("name", ["ada", "ada_lovelace", "a-b", "0d4k8q2m-7xv3"])
def test_what_was_handed_out_is_read_back(name: str) -> None:
    one = Pass(name, SECRET)
    assert read_token(token_text(one)) == one
    assert read_plain(plain_text(one)) == one
    assert MAKER.read_cookie(MAKER.cookie(one)) == one
    assert Maker(b"j" * 32).read_cookie(MAKER.cookie(one)) is None


@pytest.mark.parametrize(
    "text",
    [
        "", ".", "..", "ada", f"ada.{SECRET[1:]}", f".{SECRET}", f"ADA.{SECRET}", f"a*.{SECRET}",
        f">.{SECRET}", f"ada\n.{SECRET}", f"a.b.{SECRET}", f"ada.{SECRET[:-1]}.", "x" * 10_000,
        f"ada.{SECRET[:-1]}é",
    ],
)  # fmt: skip
def test_what_nobody_handed_out_is_read_as_nothing(text: str) -> None:
    assert read_plain(text) is None
    assert read_token(f"stk_{text}") is None
    assert read_token(text.replace(".", "_")) is None
    assert MAKER.read_cookie(text) is None


@pytest.mark.parametrize(
    ("name", "email", "first"),
    [
        ("Ada Lovelace", "", "ada-lovelace"),
        ("Zoë", "", "zoe"),
        ("ada@example.org", "", "ada"),
        ("", "bob.b@example.org", "bob-b"),
        ("李", "", "user"),
        ("../../etc", "", "etc"),
        ("a" * 300, "", "a" * 40),
        ("-_-", "_@x", "user"),
    ],
)
def test_names_are_made_to_fit(name: str, email: str, first: str) -> None:
    names = list(itertools.islice(names_for(name, email), 3))
    assert names == [first, f"{first}-2", f"{first}-3"]
    assert all(USER_NAME.fullmatch(one) for one in names)


def test_what_fits_already_stays() -> None:
    assert fitting("ada_l-2") == "ada_l-2"


@pytest.mark.parametrize(
    ("groups", "role"),
    [
        ((), None),
        (("other",), None),
        (("*",), None),
        (("look",), Role.VIEWER),
        (("look", "root", "ml"), Role.ADMIN),
    ],
)
def test_the_highest_group_counts(groups: tuple[str, ...], role: Role | None) -> None:
    roles = {"*": Role.ADMIN, "look": Role.VIEWER, "ml": Role.MEMBER, "root": Role.ADMIN}
    assert role_by_groups(groups, roles) is role


@pytest.mark.parametrize("password", ["four words that fit", "1029384756", "ö" * 9 + "abc"])
def test_a_long_password_is_a_good_one(password: str) -> None:
    assert weakness(password, "ada") is None


@pytest.mark.parametrize("password", ["", "short", "aaaaaaaaaaaa", "ada-lovelace", "x" * 257])
def test_a_weak_password_is_told_why(password: str) -> None:
    assert weakness(password, "ada-lovelace")


async def test_a_password_fits_its_own_hash_and_no_empty_one() -> None:
    passwords = Passwords(2, 16)
    known = await passwords.hash("four words that fit")
    assert known.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert await passwords.fits("four words that fit", known)
    assert not await passwords.fits("four words that fi", known)
    assert not await passwords.fits("nobody", "")
    assert not await passwords.fits("nobody", "no hash at all")
