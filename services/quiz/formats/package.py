"""ZIP packages: read in memory within bounds, never unpacked to a disk."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Final

from services.quiz.formats.source import FormatError
from services.runtime.texts import without_controls

MAX_ENTRIES: Final = 2000
MAX_UNPACKED: Final = 32 * 1024 * 1024
MAX_RATIO: Final = 200
# Small entries of repeated text may pack better.
_RATIO_FROM: Final = 1024 * 1024
_SIGNATURE: Final = b"PK\x03\x04"


def is_package(content: bytes) -> bool:
    """Whether the file begins like a ZIP."""
    return content.startswith(_SIGNATURE)


class Package:
    """The files of a ZIP by their names. Every limit is checked before anything is unpacked, and once more while it is."""

    def __init__(self, content: bytes) -> None:
        """Raise FormatError for a damaged, encrypted or outsized package, and for names that lead out of it."""
        try:
            self._archive = zipfile.ZipFile(io.BytesIO(content))
            entries = [entry for entry in self._archive.infolist() if not entry.is_dir()]
        except (zipfile.BadZipFile, ValueError, OverflowError, NotImplementedError, EOFError, OSError) as error:
            raise FormatError(f"$: must be a whole ZIP ({type(error).__name__})") from None
        if len(entries) > MAX_ENTRIES:
            raise FormatError(f"$: must have at most {MAX_ENTRIES} files")
        for entry in entries:
            if fault := _fault_of(entry):
                raise FormatError(f"{without_controls(entry.filename)[:100]}: {fault}")
        self._entries = {entry.filename: entry for entry in entries}
        if len(self._entries) != len(entries):
            raise FormatError("$: has two files of one name")
        if sum(entry.file_size for entry in entries) > MAX_UNPACKED:
            raise FormatError(f"$: must have at most {MAX_UNPACKED // 1024 // 1024} MiB unpacked")

    @property
    def names(self) -> list[str]:
        """The names of all files, in the order of the package."""
        return [*self._entries]

    def content(self, name: str) -> bytes:
        """Return a file. Raises FormatError if it is damaged or larger than the package says."""
        entry = self._entries[name]
        try:
            with self._archive.open(entry) as stream:
                content = stream.read(entry.file_size + 1)
        except (
            zipfile.BadZipFile,
            zlib.error,
            NotImplementedError,
            RuntimeError,
            ValueError,
            EOFError,
            OSError,
        ) as error:
            raise FormatError(f"{name[:100]}: must be a whole file ({type(error).__name__})") from None
        if len(content) > entry.file_size:
            raise FormatError(f"{name[:100]}: is larger than the package says")
        return content


def _fault_of(entry: zipfile.ZipInfo) -> str:
    path = PurePosixPath(entry.filename.replace("\\", "/"))
    if (
        path.is_absolute()
        or ".." in path.parts
        or ":" in path.parts[0]
        or without_controls(entry.filename) != entry.filename
    ):
        return "must be a name inside the package"
    if entry.flag_bits & 1:
        return "must not be encrypted"
    if entry.file_size > _RATIO_FROM and entry.file_size > MAX_RATIO * max(entry.compress_size, 1):
        return f"must not unpack to more than {MAX_RATIO} times its size"
    return ""


def xml_names(package: Package) -> Iterator[str]:
    """Yield the names of files that may be XML."""
    return (name for name in package.names if name.lower().endswith((".xml", ".qti")))
