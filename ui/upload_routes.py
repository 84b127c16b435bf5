"""At which addresses are pieces, and parts of a .zip, sent before a job is submitted?"""

from __future__ import annotations

from schemas.access import Action
from ui.api import pieces, uploads
from ui.operations import API, Operation
from ui.views import MissingPieces, PiecesAsked, StoredPieces, UploadState

BYTES = "application/octet-stream"
UPLOAD_OPERATIONS: tuple[Operation, ...] = (
    Operation(
        "POST",
        f"{API}/chunks/missing",
        pieces.missing_pieces,
        "Say which pieces are not stored yet, among one's own.",
        MissingPieces,
        body=PiecesAsked,
        problems=(413, 422, 429, 503),
        tag="uploads",
        action=Action.SUBMIT,
    ),
    Operation(
        "PUT",
        f"{API}/chunks",
        pieces.put_pieces,
        "Store pieces: of each its sha256 (32 bytes), its length (4, big-endian) and its bytes.",
        StoredPieces,
        raw=BYTES,
        problems=(400, 408, 413, 422, 429, 503, 507),
        tag="uploads",
        action=Action.SUBMIT,
    ),
    Operation(
        "GET",
        f"{API}/uploads/{{upload}}",
        uploads.show_upload,
        "How many parts of a .zip are there; the upload's id is the sender's to choose.",
        UploadState,
        problems=(404, 503),
        tag="uploads",
        action=Action.SUBMIT,
    ),
    Operation(
        "PUT",
        f"{API}/uploads/{{upload}}/{{part}}",
        uploads.put_part,
        "Store one part of a .zip; the same part, sent again, takes its place.",
        UploadState,
        raw=BYTES,
        problems=(400, 404, 408, 413, 422, 429, 503, 507),
        tag="uploads",
        action=Action.SUBMIT,
    ),
)
