"""Until when an exclusive job may run without a word from the scheduler."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.lease import NOTE, Lease, of_attempt


def test_the_program_is_gone_before_the_worker_is_taken_for_lost(tmp_path: Path) -> None:
    lease = Lease(tmp_path)
    lease.renew(100.0, 30.0)
    warning, end = lease.ends_in(100.0)
    assert 0 < warning < end < 30.0


def test_it_counts_from_when_the_beat_was_sent(tmp_path: Path) -> None:
    lease = Lease(tmp_path)
    lease.renew(100.0, 30.0)
    assert lease.ends_in(104.0)[1] == pytest.approx(lease.ends_in(100.0)[1] - 4.0)
    lease.renew(105.0, 30.0)
    assert lease.ends_in(105.0) == pytest.approx((16.5, 22.5))


def test_a_shim_finds_it_from_its_attempts_folder(tmp_path: Path) -> None:
    Lease(tmp_path).renew(100.0, 30.0)
    assert of_attempt(tmp_path / "attempts" / "a-job.1").ends_in(100.0)[1] > 0


@pytest.mark.parametrize("note", [None, b"", b"torn"])
def test_without_a_note_nothing_is_left(tmp_path: Path, note: bytes | None) -> None:
    assert len(NOTE.pack(1.0, 2.0)) == 16
    if note is not None:
        (tmp_path / "lease").write_bytes(note)
    assert Lease(tmp_path).ends_in(0.0) == (0.0, 0.0)
