"""The table of permissions: what the docs show is what the server gets."""

from __future__ import annotations

from pathlib import Path

from bus.layout import DURABLES
from bus.permissions import FLEET_ROLES, MAIN_ROLES, NAME, POOL, ROLES
from bus.permissions_text import markdown

DOCS = Path(__file__).resolve().parents[2] / "docs" / "security.md"


def test_the_docs_show_the_table_that_the_server_enforces() -> None:
    behind = DOCS.read_text().split("bus/permissions_text.py, compared by a test -->\n", 1)[1]
    shown = behind.split("<!-- end -->", 1)[0]
    wanted = markdown()
    assert shown == wanted, f"put this between the marks of {DOCS.name}:\n{wanted}"


def test_a_worker_asks_nothing_of_jetstream_but_tickets() -> None:
    said = [s for s in ROLES["worker"].publish.allow if s.startswith("$")]
    assert said == [
        f"$JS.API.CONSUMER.MSG.NEXT.WORK_{POOL}.*",
        f"$JS.ACK.WORK_{POOL}.*.*.*.*.*.*",
    ]


def test_everything_else_that_a_worker_says_ends_in_its_name() -> None:
    assert all(s.startswith("$") or s.endswith(f".{NAME}") for s in ROLES["worker"].publish.allow)


def test_nobody_but_its_service_may_change_a_shared_consumer() -> None:
    for role in MAIN_ROLES:
        for one in DURABLES:
            subject = f"$JS.API.CONSUMER.CREATE.{one.stream}.{one.name}"
            if role.name not in (one.name, "identity", "admin") and one.stream in role.reads:
                assert subject in role.publish.deny


def test_workers_read_no_stream_and_answer_nobody() -> None:
    for role in FLEET_ROLES:
        assert (role.reads, role.keeps, role.stores, role.responds) == ((), (), (), 0.0)
