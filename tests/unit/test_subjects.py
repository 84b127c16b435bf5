"""Subjects are built and read the same way."""

from __future__ import annotations

import pytest

from bus import subjects


@pytest.mark.parametrize(
    ("made", "subject"),
    [
        (subjects.job("j1", "queued"), "stoker.job.j1.queued"),
        (subjects.job("j1"), "stoker.job.j1.*"),
        (subjects.work("default", "c1", "j1"), "stoker.work.default.c1.j1"),
        (subjects.log("j1", 2, 0, "box"), "stoker.log.j1.2.0.box"),
        (subjects.log("j1"), "stoker.log.j1.*.*.*"),
        (subjects.metric("j1", 2, "box"), "stoker.metric.j1.2.box"),
        (subjects.request("upload", "submit"), "stoker.req.upload.submit"),
        (subjects.request("upload", "fetch", "box"), "stoker.req.upload.fetch.box"),
        (subjects.beat("box", "lab"), "stoker.beat.lab.box"),
        (subjects.claim("box", "lab"), "stoker.req.scheduler.claim.lab.box"),
        (subjects.command("box", "stop"), "stoker.cmd.box.stop"),
        (subjects.work_stream("gpu"), "WORK_gpu"),
    ],
)
def test_a_subject_has_the_form_that_the_contract_names(made: str, subject: str) -> None:
    assert made == subject


def test_a_log_subject_says_whose_it_is() -> None:
    assert subjects.parse_log(subjects.log("j1", 2, 1, "box")) == ("j1", 2, 1, "box")


def test_a_job_subject_says_what_happened() -> None:
    assert subjects.parse_job(subjects.job("j1", "failed")) == ("j1", "failed")


@pytest.mark.parametrize("subject", ["stoker.log.j1", "stoker.log.j1.x.0.box", "stoker.job.j1", ""])
def test_other_subjects_are_refused(subject: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        subjects.parse_log(subject)
    with pytest.raises(ValueError, match="is not a job's subject"):
        subjects.parse_job(subject)
