"""The backup file: what is written is read back, and nothing that is damaged is taken for a backup."""

from __future__ import annotations

import gzip
import io
import threading
import tracemalloc
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import bson
import pyrage
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.cli.backup.archive import (
    FORMAT,
    MAX_ENVELOPE_BYTES,
    VERSION,
    ArchiveWriter,
    BackupError,
    Collection,
    Header,
    read,
    verify,
)
from services.cli.backup.encryption import decrypted, encrypting
from tests.properties import examples

HEADER = Header("topten", datetime(2026, 11, 28, 3, 17, tzinfo=UTC))
INDEX = {"v": 2, "key": {"user_id": 1, "revision": 1}, "name": "chain", "unique": True}
Contents = Sequence[tuple[Collection, Sequence[Sequence[dict[str, Any]]]]]

values = st.one_of(st.none(), st.booleans(), st.integers(-(2**63), 2**63 - 1), st.text(), st.binary(), st.floats())
documents = st.dictionaries(st.text(st.characters(exclude_characters="\0", codec="utf-8")), values, max_size=4)
names = st.text("abcdefghij_", min_size=1, max_size=8)
contents: st.SearchStrategy[Contents] = st.lists(
    st.tuples(
        st.builds(Collection, st.sampled_from(("identity", "quiz")), names, documents, st.just([INDEX])),
        st.lists(st.lists(documents, max_size=5), max_size=3),
    ),
    max_size=4,
    unique_by=lambda part: part[0].path,
)


def written(parts: Contents) -> bytes:
    file = io.BytesIO()
    writer = ArchiveWriter(file)
    writer.header(HEADER)
    for collection, batches in parts:
        writer.collection(collection)
        for batch in batches:
            writer.documents(b"".join(map(bson.encode, batch)))
    writer.end()
    return file.getvalue()


def restored(content: bytes) -> list[tuple[Any, ...]]:
    """Everything in the file, in a form that compares byte by byte."""
    return [
        tuple(document.raw for document in part)
        if isinstance(part, list)
        else (type(part), bson.encode(part._asdict()))
        for part in read(io.BytesIO(content))
        if isinstance(part, (Header, Collection, list))
    ]


SMALL = written(
    [
        (Collection("score", "ledger", {}, [INDEX]), [[{"_id": number, "delta": 7 * number} for number in range(20)]]),
        (Collection("quiz", "quizzes", {"capped": False}, []), []),
    ]
)


@given(contents)
def test_a_backup_is_read_as_it_was_written(parts: Contents) -> None:
    content = written(parts)
    expected: list[tuple[Any, ...]] = [(Header, bson.encode(HEADER._asdict()))]
    for collection, batches in parts:
        expected.append((Collection, bson.encode(collection._asdict())))
        expected += [tuple(map(bson.encode, batch)) for batch in batches]
    assert restored(content) == expected
    archive = verify(io.BytesIO(content))
    assert archive.header == HEADER
    assert archive.counts == {collection.path: sum(map(len, batches)) for collection, batches in parts}


def test_a_truncated_backup_is_refused() -> None:
    for length in range(len(SMALL)):
        with pytest.raises(BackupError):
            verify(io.BytesIO(SMALL[:length]))


@examples(500)
@given(st.integers(0, len(SMALL) - 1), st.integers(1, 255))
def test_a_changed_byte_is_refused_or_changes_nothing(position: int, change: int) -> None:
    """Some bits of a gzip file mean nothing: time and system in its head, padding in the last byte before its trailer."""
    damaged = bytearray(SMALL)
    damaged[position] ^= change
    try:
        assert restored(bytes(damaged)) == restored(SMALL)
    except BackupError:
        pass
    else:
        assert position < 10 or position == len(SMALL) - 9


@given(st.binary(min_size=1, max_size=200))
def test_data_after_the_end_is_refused(extra: bytes) -> None:
    content = SMALL + gzip.compress(extra)
    with pytest.raises(BackupError):
        verify(io.BytesIO(content))


@given(st.binary(max_size=400))
def test_a_foreign_file_is_refused(content: bytes) -> None:
    for file in (content, gzip.compress(content)):
        with pytest.raises(BackupError):
            verify(io.BytesIO(file))


ENVELOPES: list[list[dict[str, Any]]] = [
    [{"other": 1}],
    [{"header": 1}],
    [{"header": {"format": "tar", "version": VERSION}}],
    [{"header": {"format": FORMAT, "version": VERSION}}],
    [{"header": {"format": FORMAT, "version": VERSION, **HEADER._asdict()}}, {"documents": bson.encode({})}],
    [{"header": {"format": FORMAT, "version": VERSION, **HEADER._asdict()}}, {"collection": {"name": "ledger"}}],
    [{"header": {"format": FORMAT, "version": VERSION, **HEADER._asdict()}}, {"end": 1}],
    [{"header": {"format": FORMAT, "version": VERSION, **HEADER._asdict()}}],
    [{"end": {"counts": {}, "sha256": ""}}],
    [],
]


@pytest.mark.parametrize("envelopes", ENVELOPES, ids=str)
def test_envelopes_out_of_place_are_refused(envelopes: list[dict[str, Any]]) -> None:
    with pytest.raises(BackupError):
        verify(io.BytesIO(gzip.compress(b"".join(map(bson.encode, envelopes)))))


def test_a_newer_version_is_named() -> None:
    envelope = bson.encode({"header": {"format": FORMAT, "version": VERSION + 1}})
    with pytest.raises(BackupError, match=f"format version {VERSION + 1}; this command reads version {VERSION}"):
        verify(io.BytesIO(gzip.compress(envelope)))


@pytest.mark.parametrize("length", [-1, 0, 4, MAX_ENVELOPE_BYTES, MAX_ENVELOPE_BYTES + 1, 2**31 - 1])
def test_an_absurd_length_allocates_nothing(length: int) -> None:
    content = gzip.compress(length.to_bytes(4, "little", signed=True) + b"x" * 100)
    tracemalloc.start()
    try:
        with pytest.raises(BackupError):
            verify(io.BytesIO(content))
        assert tracemalloc.get_traced_memory()[1] < 8 * 1024 * 1024
    finally:
        tracemalloc.stop()


def test_large_documents_and_batches_are_kept() -> None:
    batch = [{"_id": number, "text": bytes([number]) * (16 * 1024 * 1024 - 64)} for number in range(2)]
    content = written([(Collection("quiz", "quizzes", {}, []), [batch])])
    assert restored(content)[2] == tuple(map(bson.encode, batch))


KEY, OTHER = pyrage.x25519.Identity.generate(), pyrage.x25519.Identity.generate()


def encrypted(content: bytes) -> bytes:
    target = io.BytesIO()
    with encrypting(target, [KEY.to_public()]) as sink:
        sink.write(content)
    return target.getvalue()


def opened(content: bytes, *keys: pyrage.x25519.Identity) -> list[tuple[Any, ...]]:
    with decrypted(io.BytesIO(content), keys) as source:
        return restored(source.read())


def test_an_encrypted_backup_opens_with_its_key() -> None:
    content = encrypted(SMALL)
    assert content.startswith(b"age-encryption.org/")
    assert opened(content, OTHER, KEY) == restored(SMALL)
    for keys, message in (([], "--identity"), ([OTHER], "could not be decrypted")):
        with pytest.raises(BackupError, match=message):
            opened(content, *keys)


ENCRYPTED = encrypted(SMALL)


@examples(200)
@given(st.integers(0, len(ENCRYPTED) - 1), st.integers(0, 255))
def test_a_damaged_encrypted_backup_is_refused(position: int, change: int) -> None:
    """A changed byte, or for a change of 0 the end of the file."""
    damaged = bytearray(ENCRYPTED)
    damaged[position] ^= change
    with pytest.raises(BackupError):
        opened(bytes(damaged) if change else ENCRYPTED[:position], KEY)


def test_a_reader_or_writer_that_stops_early_leaves_no_thread() -> None:
    large = encrypted(bytes(1024 * 1024))
    with suppress(LookupError), decrypted(io.BytesIO(large), [KEY]):
        raise LookupError
    with suppress(LookupError), encrypting(io.BytesIO(), [KEY.to_public()]) as sink:
        sink.write(bytes(1024 * 1024))
        raise LookupError
    assert "age" not in {thread.name for thread in threading.enumerate()}


def test_a_full_disk_is_reported_rather_than_the_pipe_that_it_breaks() -> None:
    class Full(io.BytesIO):
        def write(self, data: Any, /) -> int:
            raise OSError(28, "No space left on device")

    def write() -> None:
        with encrypting(Full(), [KEY.to_public()]) as sink:
            for _ in range(64):
                sink.write(bytes(64 * 1024))

    with pytest.raises(BackupError, match="No space left"):
        write()
