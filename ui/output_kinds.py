"""How may a file that a job wrote be shown? By its name alone: what it says of itself is not
believed, and nothing that a browser would run is ever sent as such."""

from __future__ import annotations

from enum import StrEnum


class Kind(StrEnum):
    IMAGE = "image"
    TABLE = "table"
    JSON = "json"
    NOTEBOOK = "notebook"
    TEXT = "text"
    UNKNOWN = "unknown"
    """Perhaps text: its first bytes tell."""
    BINARY = "binary"


IMAGES = {
    "png": "image/png",
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "gif": "image/gif",
    "webp": "image/webp",
}
"""Not SVG, which can hold programs."""
ENDINGS = {
    Kind.TABLE: "csv tsv",
    Kind.JSON: "json jsonl ndjson geojson",
    Kind.NOTEBOOK: "ipynb",
    Kind.TEXT: "txt log md rst py yaml yml toml ini cfg sh r jl tex xml html htm svg css js",
    Kind.BINARY: "pt pth bin ckpt safetensors onnx npy npz pkl pickle joblib h5 hdf5 pb tflite"
    " parquet arrow zip gz tgz bz2 xz zst tar whl so mp4 webm mov avi wav mp3 flac ogg pdf",
}
KINDS = {
    **dict.fromkeys(IMAGES, Kind.IMAGE),
    **{ending: kind for kind, endings in ENDINGS.items() for ending in endings.split()},
}
DOWNLOAD = "application/octet-stream"
TEXT = "text/plain; charset=utf-8"


def ending(path: str) -> str:
    """Empty where there is none."""
    name, _, end = path.rpartition("/")[2].rpartition(".")
    return end.lower() if name else ""


def kind_of(path: str) -> Kind:
    return KINDS.get(ending(path), Kind.UNKNOWN)


def inline_type(path: str) -> str | None:
    """What it is sent as where it is to be shown; None where it is only ever a file to keep."""
    image = IMAGES.get(ending(path))
    if image is not None:
        return image
    return None if kind_of(path) is Kind.BINARY else TEXT
