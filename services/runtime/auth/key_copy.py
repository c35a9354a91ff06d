"""A copy of an issuer's public keys on disk, for processes that start while the issuer does not respond.

Anyone who can change the copy can forge tokens, so it must belong to this process's user and be writable by no one else.
"""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path
from typing import Any, Final

import orjson
import structlog

from services.runtime.files import replace_file

# Limits how long a withdrawn key can return through a copy.
MAX_AGE_SECONDS: Final = 24 * 3600.0
_log = structlog.get_logger("key_copy")


class KeyCopy:
    """The copy of the JWKS at `url`, in `folder`. Several processes may share it."""

    def __init__(self, folder: Path, url: str) -> None:
        self._path = folder / f"jwks-{hashlib.sha256(url.encode()).hexdigest()[:16]}.json"

    def read(self) -> Any:
        """Read the copy. Raises OSError if there is none, ValueError if it is too old or not trustworthy."""
        with self._path.open("rb") as file:
            status = os.fstat(file.fileno())
            if status.st_uid != os.geteuid() or status.st_mode & 0o022:
                raise ValueError("writable by other users")
            if time.time() - status.st_mtime > MAX_AGE_SECONDS:
                raise ValueError("too old")
            return orjson.loads(file.read())

    def write(self, document: Any) -> None:
        """Replace the copy; it survives a power cut whole. On failure the previous one stays."""
        try:
            replace_file(self._path, orjson.dumps(document))
        except OSError as error:
            _log.warning("copy of the issuer's keys not written", error=error.strerror)
