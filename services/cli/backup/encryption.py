"""Encryption of backups with age (age-encryption.org/v1), streamed: nothing readable is written to disk."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

import pyrage

from services.cli.backup.archive import BackupError

AGE_MAGIC: Final = b"age-encryption.org/"


def read_recipients(texts: Sequence[str]) -> list[pyrage.x25519.Recipient]:
    """Return the public keys `age1…` to encrypt to. Raises BackupError."""
    try:
        return [pyrage.x25519.Recipient.from_str(text) for text in texts]
    except pyrage.RecipientError as error:
        raise BackupError("--recipient must be an age public key: age1…") from error


def read_identities(path: Path) -> list[pyrage.x25519.Identity]:
    """Return the private keys in an identity file, one a line, `#` starting a comment. Raises BackupError."""
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
        identities = [pyrage.x25519.Identity.from_str(line) for line in lines if line and not line.startswith("#")]
    except (OSError, UnicodeDecodeError, pyrage.IdentityError) as error:
        raise BackupError(f"{path} is not an age identity file: a line AGE-SECRET-KEY-1… is expected.") from error
    if not identities:
        raise BackupError(f"{path} has no key: a line AGE-SECRET-KEY-1… is expected.")
    return identities


@contextmanager
def encrypting(target: IO[bytes], recipients: Sequence[pyrage.x25519.Recipient]) -> Iterator[IO[bytes]]:
    """Yield a file whose content is encrypted to `recipients` into `target`; `target` itself without recipients.

    Raises BackupError if `target` cannot be written.
    """
    if not recipients:
        yield target
        return
    source, sink = _pipe()

    def encrypt() -> None:
        try:
            pyrage.encrypt_io(source, target, list(recipients))
        except (OSError, pyrage.EncryptError) as error:
            raise BackupError(f"The encrypted backup could not be written: {error}.") from error

    with _in_thread(source, encrypt), sink:
        yield sink


@contextmanager
def decrypted(source: IO[bytes], identities: Sequence[pyrage.x25519.Identity]) -> Iterator[IO[bytes]]:
    """Yield the content of a backup, decrypting it if it is encrypted. Raises BackupError without a fitting key."""
    encrypted = source.read(len(AGE_MAGIC)) == AGE_MAGIC
    source.seek(0)
    if not encrypted:
        yield source
        return
    if not identities:
        raise BackupError("The backup is encrypted. Name the file of your private key with --identity.")
    reader, sink = _pipe()

    def decrypt() -> None:
        try:
            pyrage.decrypt_io(source, sink, list(identities))
        except BrokenPipeError:
            raise
        except (OSError, pyrage.DecryptError) as error:  # damage after the first 64 KiB is an OSError of the library
            raise BackupError("The backup could not be decrypted with this key, or it is damaged.") from error

    with _in_thread(sink, decrypt), reader:
        yield reader


@contextmanager
def _in_thread(end: IO[bytes], work: Callable[[], None]) -> Iterator[None]:
    """Run `work` in a thread and close `end`, its end of the pipe, after it.

    A failure of `work` is raised instead of what it caused in the block: a broken pipe, or an incomplete file.
    """
    failures: list[BaseException] = []

    def run() -> None:
        try:
            with end:
                work()
        except BaseException as error:  # noqa: BLE001  # raised again in the caller's thread
            failures.append(error)

    thread = threading.Thread(target=run, name="age")
    thread.start()
    try:
        yield
    finally:
        thread.join()
        # A broken pipe means that the block ended first, for a reason of its own.
        if failures and not isinstance(failures[0], BrokenPipeError):
            raise failures[0]


def _pipe() -> tuple[IO[bytes], IO[bytes]]:
    reader, writer = os.pipe()
    return os.fdopen(reader, "rb"), os.fdopen(writer, "wb")
