"""Which addresses are about data?"""

from __future__ import annotations

from schemas.access import Action
from schemas.datasets import Dataset
from ui.api import data
from ui.data_views import DataFileList, DataList, NewVersion, VersionAnswer
from ui.operations import API, Operation, Query

VERSION = Query("version", "Number of the version; the newest if left out.", "integer")
DATA_OPERATIONS = (
    Operation(
        "GET",
        f"{API}/data",
        data.list_data,
        "List data that you may use, with its versions.",
        DataList,
        problems=(503,),
        tag="data",
        action=Action.SEE_DATA,
    ),
    Operation(
        "GET",
        f"{API}/data/{{owner}}/{{name}}",
        data.show_data,
        "One dataset and its versions; the owner ~ is yourself.",
        Dataset,
        problems=(404, 503),
        tag="data",
        action=Action.SEE_DATA,
    ),
    Operation(
        "POST",
        f"{API}/data/{{name}}",
        data.add_version,
        "A new version of data of yours, from pieces that were sent before; sent again, the same.",
        VersionAnswer,
        201,
        body=NewVersion,
        problems=(409, 413, 422, 429, 503),
        tag="data",
        action=Action.SUBMIT,
    ),
    Operation(
        "DELETE",
        f"{API}/data/{{owner}}/{{name}}",
        data.remove_data,
        "Delete a version, or all: jobs that name one fail from then on.",
        "",
        204,
        query=(Query("version", "Only this version; all if left out.", "integer"),),
        problems=(403, 404, 422, 503),
        tag="data",
        action=Action.SUBMIT,
    ),
    Operation(
        "GET",
        f"{API}/data/{{owner}}/{{name}}/files",
        data.list_data_files,
        "List the files of a version.",
        DataFileList,
        query=(
            VERSION,
            Query("under", "Only what lies in that folder."),
            Query("after", "Only behind that path: the last one of the page before."),
            Query("limit", "Files at most, 1 to 5,000; 1,000.", "integer"),
        ),
        problems=(404, 422, 503),
        tag="data",
        action=Action.SEE_DATA,
    ),
    Operation(
        "GET",
        f"{API}/data/{{owner}}/{{name}}/files/{{path}}",
        data.read_data_file,
        "One file of a version; takes Range. The path's slashes stand as they are.",
        "application/octet-stream",
        query=(VERSION,),
        problems=(404, 416, 422, 503),
        tag="data",
        action=Action.SEE_DATA,
    ),
)
