"""Messages come back from their bytes as they were; strange bytes are refused."""

from __future__ import annotations

import time

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.codec import TYPE_HEADER, decode, encode
from bus.errors import Corrupt
from bus.plain import decode_any, message_types
from schemas.job import AttemptEnd, Fact, JobFact, Reason, Record, State
from schemas.message import Empty
from schemas.spec import JobSpec
from schemas.worker import Ticket


def a_fact() -> JobFact:
    record = Record(
        id="j1",
        owner="ann",
        spec=JobSpec(entry="main.py"),
        bundle="0" * 64,
        state=State.QUEUED,
        submitted_at=1.0,
        changed_at=2.0,
    )
    return JobFact(fact=Fact.QUEUED, record=record)


def test_a_fact_comes_back_as_it_was() -> None:
    data, headers = encode(a_fact())
    assert headers == {TYPE_HEADER: "JobFact/1"}
    assert decode(JobFact, data, headers) == a_fact()


def test_states_travel_as_plain_strings() -> None:
    body = msgpack.unpackb(encode(a_fact())[0])
    assert type(body["record"]["state"]) is str
    assert body["record"]["state"] == "queued"


def test_ranks_stay_numbers() -> None:
    end = AttemptEnd(reason=Reason.EXIT, exit_code=0, log_ends={0: 12, 1: 7})
    assert decode(AttemptEnd, *encode(end)).log_ends == {0: 12, 1: 7}


def test_unknown_fields_are_ignored() -> None:
    data = msgpack.packb({"job": "j1", "from_the_future": [1]})
    assert decode(Ticket, data, None) == Ticket(job="j1")


def test_a_message_of_another_type_is_refused() -> None:
    data, headers = encode(Ticket(job="j1"))
    with pytest.raises(Corrupt, match=r"expected JobFact/1, got Ticket/1"):
        decode(JobFact, data, headers)


@given(st.binary(max_size=64))
def test_bytes_that_are_no_message_are_corrupt_and_nothing_else(data: bytes) -> None:
    with pytest.raises(Corrupt):
        decode(JobFact, data, None)


@given(st.binary(max_size=64))
def test_any_bytes_can_be_shown(data: bytes) -> None:
    decode_any(data)


@pytest.mark.parametrize("text", ["7", "a", "hello\n", '{"a": 1}', "Epoch 1: 40%|####"])
def test_text_is_shown_as_text(text: str) -> None:
    assert decode_any(text.encode()) == text


def test_a_control_message_is_shown_with_its_fields() -> None:
    data, _ = encode(a_fact())
    assert decode_any(data)["record"]["state"] == "queued"
    assert "attempt" not in decode_any(data)["record"]
    assert decode_any(data, "JobFact")["record"]["attempt"] == 0


def test_every_message_can_be_asked_for_by_a_name_of_its_own() -> None:
    names = [kind.__name__ for kind in message_types()]
    assert len(names) == len(set(names))
    assert {"JobFact", "DataPieces", "SetSecret", "Samples"} <= set(names)
    assert decode_any(encode(Empty())[0], "Empty/1") == {}


def test_a_type_that_is_not_there_is_told() -> None:
    with pytest.raises(ValueError, match="no message type Nonsense"):
        decode_any(b"", "Nonsense")


def test_a_round_trip_is_cheap() -> None:
    """The aim is 60 us; the bound leaves room for a busy machine, not for a slower codec."""
    fact = a_fact()
    best = float("inf")
    for _ in range(200):
        began = time.perf_counter()
        decode(JobFact, *encode(fact))
        best = min(best, time.perf_counter() - began)
    assert best < 200e-6
