"""How is data put, listed, read and deleted over HTTP, and who may use whose?"""

from __future__ import annotations

from aiohttp import web

from bus import subjects
from schemas.access import Action, may
from schemas.datasets import (
    CommitData,
    CommittedData,
    Dataset,
    DatasetList,
    FindDataset,
    ListDatasets,
    RemoveData,
    Resolved,
    ResolveData,
    Version,
)
from schemas.ids import USER_NAME
from schemas.message import Empty
from schemas.people import Principal, Role
from schemas.spec import JobSpec
from schemas.tree import TreeFile, TreeHead
from ui.admission import forbidden, who
from ui.api.common import ask, json_answer, json_body, number_of
from ui.api.files import answer_to, span_of
from ui.api.outputs import sent
from ui.data_reader import Listing
from ui.data_views import DataFile, DataFileList, DataList, NewVersion, VersionAnswer
from ui.keys import BUS, DATA, DOWNLOADS, SENT
from ui.problems import HttpProblem, refuse
from ui.security import client_address

MOST_ROWS = 5000
COMMIT_SECONDS = 120.0
"""Reading a tree of 200,000 files and looking for its pieces."""


def seen_by(asker: Principal) -> tuple[str, ...] | None:
    """Owners whose data they may use; None: everybody's."""
    return None if asker.role is Role.ADMIN else asker.sees


async def with_data(request: web.Request, spec: JobSpec) -> JobSpec:
    """With the versions that it gets, each one that its owner may use. Raises ``Refused``."""
    if not spec.data:
        return spec
    asker = who(request)
    asked = ResolveData(asker=asker.name, sees=seen_by(asker), data=spec.data)
    found = await ask(request.app, "datasets", "resolve", asked, Resolved)
    return spec.model_copy(update={"data": found.data})


async def list_data(request: web.Request) -> web.Response:
    asker = who(request)
    asked = ListDatasets(owners=seen_by(asker))
    found = await ask(request.app, "datasets", "list", asked, DatasetList)
    return json_answer(DataList(datasets=found.datasets, you=asker.name))


async def show_data(request: web.Request) -> web.Response:
    return json_answer(await found_data(request))


async def found_data(request: web.Request) -> Dataset:
    """The one of the path, ``~`` for one's own. Raises a problem with the nearest names."""
    asker, owner = who(request), request.match_info["owner"]
    owner = asker.name if owner == "~" else owner
    if not USER_NAME.match(owner):
        raise unknown(owner)
    asked = FindDataset(
        owner=owner, name=request.match_info["name"][:64], asker=asker.name, sees=seen_by(asker)
    )
    return await ask(request.app, "datasets", "find", asked, Dataset)


def unknown(owner: str) -> HttpProblem:
    return refuse(404, "no_such_data", "There is no such data", f"Nobody is {owner[:64]!r}.")


async def add_version(request: web.Request) -> web.Response:
    """One's own alone: nobody adds to what others use."""
    asker, name = who(request), request.match_info["name"]
    body = NewVersion.model_validate(await json_body(request))
    head = TreeHead(chunks=bytes.fromhex(body.tree.chunks), size=body.tree.size)
    message = CommitData(
        owner=asker.name,
        name=name[:64],
        head=head,
        note=body.note,
        address=client_address(request),
    )
    found = await request.app[BUS].request(
        subjects.request("datasets", "commit"), message, CommittedData, timeout=COMMIT_SECONDS,
        attempts=2,
    )  # fmt: skip
    request.app[SENT].submitted(asker.name)
    answer = VersionAnswer(dataset=found.dataset, created=found.created)
    return json_answer(answer, 201 if found.created else 200)


async def remove_data(request: web.Request) -> web.Response:
    """Whose it is, or an admin. A version that is not there (any more) is told so."""
    dataset = await found_data(request)
    asker = who(request)
    if dataset.owner != asker.name and not may(asker, Action.ADMIN):
        raise forbidden(asker)
    number = version_number(request)
    if number is not None:
        version_of(dataset, number)
    message = RemoveData(
        owner=dataset.owner,
        name=dataset.name,
        version=number,
        by=asker.name,
        address=client_address(request),
    )
    await ask(request.app, "datasets", "remove", message, Empty)
    return web.Response(status=204)


def version_number(request: web.Request) -> int | None:
    return number_of(request, "version", 0, 1, 999_999_999) or None


def version_of(dataset: Dataset, number: int | None) -> Version:
    """The newest where no number is given."""
    found = dataset.newest if number is None else dataset.find(number)
    if found is None:
        there = ", ".join(str(one.number) for one in dataset.there[-5:])
        detail = f"{dataset.name} has no version {number}; newest that are there: {there}."
        raise refuse(404, "no_such_version", "There is no such version", detail)
    return found


async def opened(request: web.Request) -> tuple[Dataset, Version, Listing]:
    dataset = await found_data(request)
    version = version_of(dataset, version_number(request))
    listing = await request.app[DATA].listing(dataset.owner, version.tree)
    return dataset, version, listing


async def list_data_files(request: web.Request) -> web.Response:
    dataset, version, listing = await opened(request)
    limit = number_of(request, "limit", 1000, 1, MOST_ROWS)
    under, after = request.query.get("under", ""), request.query.get("after", "")
    files, more = listing.page(under, after, limit)
    return json_answer(
        DataFileList(
            owner=dataset.owner,
            name=dataset.name,
            version=version.number,
            files=tuple(map(row, files)),
            more=more,
            count=version.files,
            size=version.size,
            at=version.at,
        )
    )


def row(file: TreeFile) -> DataFile:
    return DataFile(path=file.path, size=file.size, mode=file.mode, sha256=file.digest)


async def read_data_file(request: web.Request) -> web.StreamResponse:
    _, _, listing = await opened(request)
    path = request.match_info["path"]
    number = listing.find(path)
    if number is None:
        detail = f"The version has no file {path[:200]!r}."
        raise refuse(404, "unknown_file", "There is no such file", detail)
    file = listing.tree.files[number]
    etag = f'"{file.digest}"'
    span = span_of(request, file.size, etag)
    # Always to be saved: people may put anything into data.
    response = answer_to(file.path, file.size, etag, span)
    if request.method == "HEAD" or span.start == span.stop:
        await response.prepare(request)
        return response
    async with request.app[DOWNLOADS].passed():
        source = request.app[DATA].read(listing, number, span.start, span.stop)
        return await sent(request, response, source)
