"""The backup file: a gzip stream of BSON envelopes.

In this order: one `header` (format, version, time, database prefix); for each collection one `collection` (database, name,
options, indexes) followed by its `documents` (concatenated BSON, as MongoDB sent it); one `end` with the number of
documents in each collection and the SHA-256 of all envelopes before it. A file without its end is incomplete.
"""

from __future__ import annotations

import gzip
import hashlib
import struct
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import IO, Any, Final, NamedTuple

import bson
from bson.raw_bson import RawBSONDocument

FORMAT: Final = "topten-backup"
VERSION: Final = 1
COMPRESSION_LEVEL: Final = 3
MAX_ENVELOPE_BYTES: Final = 48_000_000
"""MongoDB's longest message; a batch of documents is 16 MiB at most."""

_CHUNK_BYTES: Final = 1024 * 1024
_LENGTH: Final = struct.Struct("<i")
_EMPTY_DOCUMENT_BYTES: Final = 5
_CODEC: Final[bson.CodecOptions[dict[str, Any]]] = bson.CodecOptions(tz_aware=True)


class BackupError(RuntimeError):
    """The backup cannot be written, read or restored; the message says why and what to do."""


class Header(NamedTuple):
    """When a backup was made, and of which deployment."""

    prefix: str
    started_at: datetime


class Collection(NamedTuple):
    """A collection and what is needed to create it again."""

    database: str
    name: str
    options: dict[str, Any]
    indexes: Sequence[dict[str, Any]]

    @property
    def path(self) -> str:
        """The database without the deployment's prefix, and the name: `score.ledger`."""
        return f"{self.database}.{self.name}"


class Archive(NamedTuple):
    """The header of an intact backup, and the number of documents of each collection by path."""

    header: Header
    counts: dict[str, int]


class ArchiveWriter:
    """Writes one backup to a binary file. Call `header`, then `collection` and `documents` in turn, then `end`."""

    def __init__(self, file: IO[bytes]) -> None:
        self._stream = gzip.GzipFile(fileobj=file, mode="wb", compresslevel=COMPRESSION_LEVEL, mtime=0)
        self._digest = hashlib.sha256()
        self._counts: Counter[str] = Counter()
        self._path = ""

    def header(self, header: Header) -> None:
        """Start the file."""
        self._write({"header": {"format": FORMAT, "version": VERSION, **header._asdict()}})

    def collection(self, collection: Collection) -> None:
        """Start a collection."""
        self._path = collection.path
        self._counts[self._path] = 0
        self._write({"collection": collection._asdict()})

    def documents(self, batch: bytes) -> int:
        """Add concatenated BSON documents to the current collection and return how many they are."""
        count = sum(1 for _ in split(batch))
        self._counts[self._path] += count
        self._write({"documents": batch})
        return count

    def end(self) -> dict[str, int]:
        """Finish the file and return the number of documents of each collection. Does not close the file."""
        self._write({"end": {"counts": dict(self._counts), "sha256": self._digest.hexdigest()}})
        self._stream.close()
        return dict(self._counts)

    def _write(self, envelope: dict[str, Any]) -> None:
        data = bson.encode(envelope)
        self._digest.update(data)
        self._stream.write(data)


def read(file: IO[bytes]) -> Iterator[Header | Collection | Sequence[RawBSONDocument]]:
    """Yield the header, then each collection followed by its documents in batches.

    Raises BackupError if the file is damaged, incomplete, or of another format; damage may show only at the end, so that
    nothing is certain until the iterator is exhausted.
    """
    envelopes = _envelopes(file)
    data, envelope = next(envelopes, (b"", {}))
    yield _header(envelope)
    digest = hashlib.sha256(data)
    counts: Counter[str] = Counter()
    path: str | None = None
    for data, envelope in envelopes:
        match envelope:
            case {"collection": {"database": str(), "name": str(), "options": dict(), "indexes": list()} as fields}:
                collection = Collection(fields["database"], fields["name"], fields["options"], fields["indexes"])
                path = collection.path
                counts[path] = 0
                yield collection
            case {"documents": bytes() as batch} if path is not None:
                documents = [RawBSONDocument(document) for document in split(batch)]
                counts[path] += len(documents)
                yield documents
            case {"end": end}:
                if end != {"counts": counts, "sha256": digest.hexdigest()}:
                    raise BackupError("The backup is damaged: its checksum does not match.")
                if next(envelopes, None) is not None:
                    raise BackupError("The backup is damaged: data follows its end.")
                return
            case _:
                raise BackupError("The backup is damaged: it has an envelope of an unknown kind.")
        digest.update(data)
    raise BackupError("The backup is incomplete: its end is missing.")


def verify(file: IO[bytes]) -> Archive:
    """Read the whole file and return its header and counts. Raises BackupError unless it is intact."""
    parts = read(file)
    header = next(parts)
    assert isinstance(header, Header), "read yields the header first"
    counts: dict[str, int] = {}
    path = ""
    for part in parts:
        if isinstance(part, Collection):
            path = part.path
            counts[path] = 0
        else:
            counts[path] += len(part)
    return Archive(header, counts)


def split(batch: bytes) -> Iterator[bytes]:
    """Yield the BSON documents of a batch, by the length at the start of each. Raises BackupError."""
    start = 0
    while start < len(batch):
        remaining = len(batch) - start
        length = _LENGTH.unpack_from(batch, start)[0] if remaining >= _EMPTY_DOCUMENT_BYTES else 0
        if not _EMPTY_DOCUMENT_BYTES <= length <= remaining or batch[start + length - 1] != 0:
            raise BackupError("The backup is damaged: a document has an impossible length.")
        yield batch[start : start + length]
        start += length


def _envelopes(file: IO[bytes]) -> Iterator[tuple[bytes, dict[str, Any]]]:
    """Yield each envelope, encoded and decoded; never holds more than one, of `MAX_ENVELOPE_BYTES` at most."""
    try:
        with gzip.GzipFile(fileobj=file, mode="rb") as stream:
            while head := stream.read(_LENGTH.size):
                (length,) = _LENGTH.unpack(head)
                if not _EMPTY_DOCUMENT_BYTES <= length <= MAX_ENVELOPE_BYTES:
                    raise BackupError("The backup is damaged: an envelope has an impossible length.")
                data = bytearray(head)
                # In pieces, so that a false length allocates no more than the file holds.
                while len(data) < length and (piece := stream.read(min(_CHUNK_BYTES, length - len(data)))):
                    data += piece
                yield bytes(data), bson.decode(data, _CODEC)
    except (EOFError, gzip.BadGzipFile, struct.error, zlib.error, bson.errors.BSONError) as error:
        raise BackupError("This is not a complete Topten backup, or it is damaged.") from error


def _header(envelope: dict[str, Any]) -> Header:
    fields = envelope.get("header")
    if not isinstance(fields, dict) or fields.get("format") != FORMAT:
        raise BackupError("This file is not a Topten backup.")
    if fields.get("version") != VERSION:
        raise BackupError(
            f"This backup has format version {fields.get('version')}; this command reads version {VERSION}. "
            "Restore it with the version of Topten that wrote it."
        )
    match fields:
        case {"prefix": str() as prefix, "started_at": datetime() as started_at}:
            return Header(prefix, started_at)
    raise BackupError("The backup is damaged: its header is incomplete.")
