"""Does everybody see their own part, and nothing of what is others'?"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from bus.codec import encode
from bus.connection import Bus
from bus.kv import Bucket
from bus.records import Records
from schemas.job import Fact, State
from schemas.people import Role
from schemas.worker import AttemptKey, Beat, Capacity, Held, WorkerRecord
from tests.integration.signed_in import Headers, Town, town

ANNS, BENS, CATS = "0d4k8q2m-7xv3", "0d4k8q2m-7xv4", "0d4k8q2m-7xv5"
"""Jobs: ann and ben share a team, cat is alone."""
SECRET = "hunter2-hunter2"


@pytest.fixture
async def place(bus: Bus) -> AsyncIterator[Town]:
    async with town(bus) as made:
        await made.person("ann", Role.MEMBER, "vision")
        await made.person("ben", Role.MEMBER, "vision")
        await made.person("cat")
        await made.person("ada", Role.ADMIN)
        await made.job(ANNS, "ann", environment={"API_TOKEN": SECRET})
        await made.job(BENS, "ben")
        await made.job(CATS, "cat")
        await indexed(made, await made.cookie("ada"), 3)
        yield made


async def indexed(place: Town, ruler: Headers, number: int) -> None:
    """Returns once the catalog knows of that many jobs."""
    while True:
        _, listed = await place.get("/api/v1/jobs?limit=1", ruler)
        if sum(listed["counts"].values()) == number:
            return


async def seen(place: Town, name: str) -> set[str]:
    _, listed = await place.get("/api/v1/jobs", await place.cookie(name))
    assert sum(listed["counts"].values()) == len(listed["jobs"]), "counts are of the same part"
    return {job["id"] for job in listed["jobs"]}


async def test_lists_and_counts_show_ones_own_part(place: Town) -> None:
    assert await seen(place, "ann") == {ANNS, BENS}
    assert await seen(place, "cat") == {CATS}
    assert await seen(place, "ada") == {ANNS, BENS, CATS}


async def test_a_job_that_one_does_not_see_is_as_if_it_were_not_there(place: Town) -> None:
    mine = await place.cookie("cat")
    _, hidden = await place.get(f"/api/v1/jobs/{ANNS}", mine)
    _, unknown = await place.get("/api/v1/jobs/0d4k8q2m-7xv9", mine)
    assert str(hidden).replace(ANNS, "ID") == str(unknown).replace("0d4k8q2m-7xv9", "ID")


async def test_the_live_list_tells_of_ones_own_part(place: Town) -> None:
    mine = await place.cookie("cat")
    async with place.http.ws_connect("/api/v1/events/ws", headers=mine) as ws:
        assert (await ws.receive_json(timeout=10))["type"] == "hello"
        await change(place, ANNS)
        await change(place, CATS)
        frame = await ws.receive_json(timeout=10)
    assert [job["id"] for job in frame["jobs"]] == [CATS]


async def change(place: Town, job: str) -> None:
    records = Records(place.bus)
    stored = await records.get(job)
    moved = stored.record.model_copy(update={"state": State.QUEUED})
    await records.write(moved, Fact.QUEUED, stored.sequence)


async def test_workers_hold_jobs_without_a_name_for_others(place: Town) -> None:
    held = tuple(Held(job=job, attempt=1, phase="running") for job in (ANNS, CATS))
    beat = Beat(
        worker="w1",
        session="s",
        sent_at=1.0,
        capacity=Capacity(slots=4),
        free=Capacity(slots=2),
        held=held,
        ends=(AttemptKey(job=ANNS, attempt=1),),
        claims=(BENS,),
    )
    record = WorkerRecord(beat=beat, heard_at=1.0)
    await Bucket(place.bus, "workers").put("w1", encode(record)[0])
    text, workers = await raw(place, "/api/v1/workers", await place.cookie("cat"))
    assert CATS in text
    assert ANNS not in text
    assert BENS not in text
    assert len(workers["workers"][0]["beat"]["held"]) == 2, "how many there are is told"
    text, _ = await raw(place, "/api/v1/workers", await place.cookie("ada"))
    assert all(job in text for job in (ANNS, BENS, CATS))


async def raw(place: Town, path: str, headers: Headers) -> tuple[str, Any]:
    async with place.http.get(path, headers=headers) as answer:
        text = await answer.text()
    return text, json.loads(text)


async def test_a_guest_sees_the_job_of_the_link_and_nothing_else(place: Town) -> None:
    guest = await opened(place, await place.shared(ANNS, "ann"), ANNS)
    status, answer = await place.get(f"/api/v1/jobs/{ANNS}", guest)
    assert (status, answer["job"]["id"]) == (200, ANNS)
    assert SECRET not in str(answer)
    async with place.http.get(f"/jobs/{ANNS}", headers=guest) as page:
        text = await page.text()
    assert "shared with you" in text
    for path in ("/api/v1/jobs", f"/api/v1/jobs/{BENS}", "/api/v1/workers", "/api/v1/me"):
        assert (await place.get(path, guest))[0] == 401
    own = {**guest, "Origin": place.url}
    for path in ("cancel", "retry", "shares"):
        assert (await place.send("POST", f"/api/v1/jobs/{ANNS}/{path}", own, {}))[0] == 401
    async with place.http.get("/", headers=guest, allow_redirects=False) as page:
        assert page.headers["Location"] == "/sign-in"


async def opened(place: Town, secret: str, job: str, before: Headers | None = None) -> Headers:
    """What the browser has after it opened the link."""
    async with place.http.get(f"/shared/{secret}", headers=before, allow_redirects=False) as answer:
        assert (answer.status, answer.headers["Location"]) == (303, f"/jobs/{job}")
        kept = answer.cookies["stoker-shares"]
    assert (kept["httponly"], kept["samesite"]) == (True, "Lax")
    return {"Cookie": f"stoker-shares={kept.value}"}


async def test_several_links_are_open_side_by_side(place: Town) -> None:
    first = await opened(place, await place.shared(ANNS, "ann"), ANNS)
    both = await opened(place, await place.shared(CATS, "cat"), CATS, first)
    assert (await place.get(f"/api/v1/jobs/{ANNS}", both))[0] == 200
    assert (await place.get(f"/api/v1/jobs/{CATS}", both))[0] == 200
    assert (await place.get(f"/api/v1/jobs/{BENS}", both))[0] == 401


async def test_a_link_shows_nothing_once_it_was_taken_back(place: Town) -> None:
    mine = await place.cookie("ann")
    path = f"/api/v1/jobs/{ANNS}/shares"
    status, made = await place.send("POST", path, mine, {"seconds": 3600})
    assert status == 201
    guest = await opened(place, made["link"].removeprefix("/shared/"), ANNS)
    assert (await place.get(f"/api/v1/jobs/{ANNS}", guest))[0] == 200
    _, listed = await place.get(path, mine)
    assert [share["by"] for share in listed["shares"]] == ["ann"]
    assert made["link"].rsplit(".", 1)[1] not in str(listed)
    gone = f"{path}/{made['share']['id']}"
    assert (await place.send("DELETE", gone, mine))[0] == 204
    assert (await place.get(f"/api/v1/jobs/{ANNS}", guest))[0] == 401
    assert (await place.get(made["link"]))[0] == 404


async def test_a_link_lets_a_member_look_and_not_run_it(place: Town) -> None:
    """Whoever runs a job can have it print its secrets."""
    link = await opened(place, await place.shared(ANNS, "ann"), ANNS)
    cat = await place.cookie("cat")
    both = {**cat, "Cookie": f"{cat['Cookie']}; {link['Cookie']}"}
    assert (await place.get(f"/api/v1/jobs/{ANNS}", both))[0] == 200
    assert await seen(place, "cat") == {CATS}
    assert (await place.send("POST", f"/api/v1/jobs/{ANNS}/retry", both))[0] == 403
    assert (await place.send("POST", f"/api/v1/jobs/{ANNS}/cancel", both))[0] == 403
    body = {"spec": {"environment": {"API_TOKEN": "•••"}}, "bundle": "ab" * 32}
    status, problem = await place.send("POST", f"/api/v1/jobs?like={ANNS}", both, body)
    assert (status, problem["code"]) == (404, "unknown_job")


async def test_a_teammate_may_use_the_secrets_of_a_job_and_a_stranger_not(place: Town) -> None:
    """The service of uploads is not there: 503 says that the spec was taken."""
    body = {"spec": {"environment": {"API_TOKEN": "•••"}}, "bundle": "ab" * 32}
    path = f"/api/v1/jobs?like={ANNS}"
    status, problem = await place.send("POST", path, await place.cookie("cat"), body)
    assert (status, problem["code"]) == (404, "unknown_job")
    assert (await place.send("POST", path, await place.cookie("ben"), body))[0] == 503


async def test_a_log_is_followed_by_those_alone_who_see_its_job(place: Town) -> None:
    for end in ("log/ws", "log/rows/ws"):
        path = f"/api/v1/jobs/{ANNS}/{end}"
        async with place.http.ws_connect(path, headers=await place.cookie("ben")) as ws:
            assert (await ws.receive_json(timeout=10))["type"] == "job"
        with pytest.raises(aiohttp.WSServerHandshakeError) as refusal:
            await place.http.ws_connect(path, headers=await place.cookie("cat"))
        assert refusal.value.status == 404


async def test_no_job_is_like_one_that_its_sender_does_not_see(place: Town) -> None:
    mine = await place.cookie("cat")
    body = {"spec": {}, "bundle": "0" * 64}
    status, problem = await place.send("POST", f"/api/v1/jobs?like={ANNS}", mine, body)
    assert (status, problem["code"]) == (404, "unknown_job")
