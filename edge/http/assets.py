"""Files for browsers, read and compressed once at start, and served from memory.

Only names in the table exist, so no request can leave a folder.
"""

from __future__ import annotations

import gzip
import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from aiohttp import web

INDEX: Final = "index.html"
# Browsers ask each time whether the file is still the same.
REVALIDATED: Final = "no-cache"
# The module `mimetypes` would depend on the machine.
_TYPES = {
    ".css": "text/css",
    ".html": "text/html",
    ".ico": "image/x-icon",
    ".js": "text/javascript",
    ".json": "application/json",
    ".map": "application/json",
    ".mjs": "text/javascript",
    ".svg": "image/svg+xml",
    ".webmanifest": "application/manifest+json",
    ".woff2": "font/woff2",
}


@dataclass(frozen=True)
class _Asset:
    body: bytes
    compressed: bytes
    content_type: str
    digest: str


class Assets:
    """The files of a browser client, by name."""

    def __init__(self, bodies: dict[str, bytes]) -> None:
        self._assets = {name: _asset(name, body) for name, body in bodies.items()}

    def response(
        self, name: str, request: web.Request, caching: str = REVALIDATED, *, status: int = 200
    ) -> web.Response:
        """Return a file, or 304 if the client has it and the status would be 200. Raises HTTPNotFound."""
        asset = self._assets.get(name)
        if asset is None:
            raise web.HTTPNotFound
        compressed = _accepts_gzip(request.headers.get("Accept-Encoding", "")) and len(asset.compressed) < len(
            asset.body
        )
        etag = f'"{asset.digest}{"-gzip" if compressed else ""}"'
        headers = {"ETag": etag, "Cache-Control": caching, "Vary": "Accept-Encoding"}
        known = [tag.strip().removeprefix("W/") for tag in request.headers.get("If-None-Match", "").split(",")]
        if status == 200 and etag in known:
            return web.Response(status=304, headers=headers)
        headers["Content-Type"] = asset.content_type
        if compressed:
            headers["Content-Encoding"] = "gzip"
        return web.Response(body=asset.compressed if compressed else asset.body, status=status, headers=headers)


def read_folder(folder: Path) -> dict[str, bytes]:
    """Return the files below a folder by their path in it, but for hidden ones."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.startswith(".")
    }


def _asset(name: str, body: bytes) -> _Asset:
    content_type = _TYPES.get(Path(name).suffix, "application/octet-stream")
    if content_type.startswith("text/"):
        content_type += "; charset=utf-8"
    return _Asset(body, gzip.compress(body, mtime=0), content_type, hashlib.sha256(body).hexdigest()[:32])


def _accepts_gzip(accepted: str) -> bool:
    """Return whether an `Accept-Encoding` (RFC 9110, 12.5.3) names gzip with a weight above 0."""
    for part in accepted.lower().split(","):
        coding, _, weight = part.partition(";")
        if coding.strip() == "gzip":
            return not re.fullmatch(r"\s*q=0(\.0*)?\s*", weight)
    return False
