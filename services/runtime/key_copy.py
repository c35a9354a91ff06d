"""A copy of an issuer's public keys on disk, so that a process that starts while the issuer is away can verify tokens.

Who can change the copy can sign as the issuer: only a file of this process's own user counts, that nobody else may write.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import orjson
import structlog

# Keys that were withdrawn meanwhile must not come back by it.
MAX_AGE_SECONDS: Final = 24 * 3600.0
_log = structlog.get_logger("key_copy")


class KeyCopy:
    """The copy of the JWKS at `url`, in `folder`; several processes may share one."""

    def __init__(self, folder: Path, url: str) -> None:
        self._path = folder / f"jwks-{hashlib.sha256(url.encode()).hexdigest()[:16]}.json"

    def read(self) -> Any:
        """What was written last. Raises OSError if there is none, ValueError if it is old or may not be believed."""
        with self._path.open("rb") as file:
            found = os.fstat(file.fileno())
            if found.st_uid != os.geteuid() or found.st_mode & 0o022:
                raise ValueError("somebody else may have written it")
            if time.time() - found.st_mtime > MAX_AGE_SECONDS:
                raise ValueError("it is too old")
            return orjson.loads(file.read())

    def write(self, document: Any) -> None:
        """Replaces the copy, whole or not at all; where that fails, the one before stays."""
        try:
            descriptor, name = tempfile.mkstemp(dir=self._path.parent, prefix=".jwks-")
            try:
                with os.fdopen(descriptor, "wb") as file:
                    file.write(orjson.dumps(document))
                Path(name).replace(self._path)
            except BaseException:
                Path(name).unlink()
                raise
        except OSError as error:
            _log.warning("the keys can't be kept", error=error.strerror)
