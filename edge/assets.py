"""The browser client's files: read once, served from memory.

A table of what is in edge/web when the process starts; a path that is not in it does not exist, so there is no way out
of the folder. Every answer is revalidated by its digest, which lets a new version reach the browser at once.
"""

from __future__ import annotations

import hashlib
import mimetypes
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

FOLDER = Path(__file__).with_name("web")
INDEX = "index.html"
# What the page asks of GraphQL, by SHA-256.
PAGE_DOCUMENTS = FOLDER / "documents.json"
# Not left to what the machine happens to know.
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
    content_type: str
    etag: str


class Assets:
    """The files below `folder`; `/` is its index.html."""

    def __init__(self, folder: Path = FOLDER) -> None:
        self._assets: dict[str, _Asset] = {}
        for path in sorted(folder.rglob("*")):
            if path.is_file() and not path.name.startswith("."):
                name = path.relative_to(folder).as_posix()
                self._assets[f"/{name}"] = _read(path)
        if f"/{INDEX}" in self._assets:
            self._assets["/"] = self._assets[f"/{INDEX}"]

    async def handle(self, request: web.Request) -> web.Response:
        """The file of the request's path; 304 if the client has it. Raises HTTPNotFound."""
        asset = self._assets.get(request.path)
        if asset is None:
            raise web.HTTPNotFound
        headers = {"ETag": asset.etag, "Cache-Control": "no-cache"}
        if asset.etag in [tag.strip() for tag in request.headers.get("If-None-Match", "").split(",")]:
            return web.Response(status=304, headers=headers)
        return web.Response(body=asset.body, headers=headers | {"Content-Type": asset.content_type})


def _read(path: Path) -> _Asset:
    body = path.read_bytes()
    content_type = _TYPES.get(path.suffix) or mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    if content_type.startswith("text/"):
        content_type += "; charset=utf-8"
    return _Asset(body, content_type, f'"{hashlib.sha256(body).hexdigest()[:32]}"')
