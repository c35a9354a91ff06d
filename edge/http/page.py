"""The page: every state of it has an address, and its files have addresses that change with their content.

Scripts and styles are served without the comments that stand on lines of their own, which are a quarter of a script's bytes,
and without indentation; the numbers of lines stay.

Every file has an address under `/assets/<version>/`, where the version is a digest of all files: browsers keep it without
asking again, and a new version loads at once, because the page names it. The page itself is served for every address that
is a state of it, and revalidated.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

from aiohttp import web

from edge.http.accept import prefers_page
from edge.http.assets import INDEX, REVALIDATED, Assets, read_folder
from edge.http.policy import policy_of
from edge.http.problems import CONTENT_TYPE

FOLDER: Final = Path(__file__).parent.parent / "web"
# The page's GraphQL documents, by SHA-256.
PAGE_DOCUMENTS: Final = FOLDER / "documents.json"
_ICON: Final = "icon.svg"
# The states of the page that have an address. The page reads the rest of the path.
_STATES: Final = re.compile(r"/(?:(?:q|b|result|j|host|screen)/.+|my-data|ops|(?:mod|author)(?:/.+)?)?")
_BOARD: Final = "/b/"
_VERSIONED: Final = re.compile(r"/assets/([0-9a-f]{16})/(.+)")
# Files that not every screen needs, and those of them that the page names, by the beginning of its address, in which `*` is
# any text: players load no console, and a console loads no screen of players. The page itself loads whatever else is needed.
_PLAYERS: Final = (
    r"parts/(?:announcer|answer-form|answers|board-panel|countdown|download|keys|notices|ordering|outcomes|question-text|"
    r"quiz|room-entry|rows|wake-lock)\.js"
)
_ROOMS: Final = r"parts/room/(?!own-answer).+|parts/(?:answers|keys|rows)\.js|rooms\.css"
_SOME_NEED: Final = re.compile(
    r".*worker\.js|client/(?:challenge|sha256)\.js|screens/.+|parts/(?:console|extra-time|notice-list|room/own-answer)\.js|"
    rf"{_PLAYERS}|{_ROOMS}"
)
_NAMED: Final = {
    "/ops": re.compile(r"screens/ops\.js|parts/console\.js|console\.css"),
    "/mod": re.compile(r"screens/mod/.+|parts/(?:console|extra-time)\.js|console\.css"),
    "/author/q/": re.compile(
        r"screens/author/(?!dialogs|list|import|people|versions).+|parts/(?:answer-form|answers|console|ordering|question-text)\.js|"
        r"(?:author|console)\.css"
    ),
    "/author/import": re.compile(
        r"screens/author/(?:document|drafts|fields|frame|import)\.js|screens/mod/dialog\.js|parts/console\.js|"
        r"(?:author|console)\.css"
    ),
    "/author": re.compile(
        r"screens/author/(?:document|drafts|frame|list)\.js|screens/mod/(?:dialog|paged-list)\.js|parts/console\.js|"
        r"(?:author|console)\.css"
    ),
    "/q/*/host": re.compile(r"screens/room/open\.js|parts/quiz\.js|host\.css"),
    "/j/": re.compile(
        rf"screens/room/(?:join|outside|seat)\.js|parts/(?:answer-form|ordering|room/own-answer)\.js|seat\.css|{_ROOMS}"
    ),
    "/host/": re.compile(
        rf"screens/room/(?:host|player-dialog|players-dialog|results)\.js|parts/download\.js|host\.css|{_ROOMS}"
    ),
    "/screen/": re.compile(rf"screens/room/projector\.js|parts/wake-lock\.js|(?:display|projector)\.css|{_ROOMS}"),
    "/my-data": re.compile(r"screens/data\.js|parts/download\.js"),
    "/": re.compile(rf"screens/(?!data|ops|other-boards)[^/]+\.js|{_PLAYERS}|display\.css"),
}
_COMMENT: Final = re.compile(rb"^[ \t]*(?:/\*.*?\*/|//[^\n]*)", re.MULTILINE | re.DOTALL)
_INDENTATION: Final = re.compile(rb"^[ \t]+", re.MULTILINE)
_PERMANENT: Final = "public, max-age=31536000, immutable"
_NOT_STORED: Final = "no-store"


class Page:
    """The files in `edge/web`. `version` is the digest of them all.

    Pages of `embed_origins` may show a board in a frame; every other screen refuses to be framed by anybody. Pictures of
    questions may come from `media_hosts`.
    """

    def __init__(self, embed_origins: Sequence[str] = (), media_hosts: Sequence[str] = ()) -> None:
        self._policy = policy_of(image_hosts=media_hosts)
        self._embed_policy = policy_of(embed_origins)
        bodies = {name: _served(name, body) for name, body in read_folder(FOLDER).items()}
        self.version = _digest(bodies)
        index = bodies[INDEX].decode()
        pages = {_name(address): _filled(index, bodies, self.version, named) for address, named in _NAMED.items()}
        bodies |= {name: page.encode() for name, page in pages.items()}
        self._assets = Assets(bodies)

    async def handle(self, request: web.Request) -> web.Response:
        """Return the requested file, or 304 if the client has it. Raises HTTPNotFound.

        A person's browser gets the page for an unknown address, too, with status 404: it says so, and leads on.

        During an upgrade a page may name the version of another edge: it gets this edge's file, which no cache keeps.
        """
        if match := _VERSIONED.fullmatch(request.path):
            caching = _PERMANENT if match[1] == self.version else _NOT_STORED
            return self._assets.response(match[2], request, caching)
        if _STATES.fullmatch(request.path):
            address = next(each for each in _NAMED if fnmatchcase(request.path, f"{each}*"))
            response = self._assets.response(_name(address), request, REVALIDATED)
            is_embedded = request.path.startswith(_BOARD) and request.query.get("view") == "embed"
            response.headers["Content-Security-Policy"] = self._embed_policy if is_embedded else self._policy
            return response
        if request.path == f"/{_ICON}":
            return self._assets.response(_ICON, request, REVALIDATED)
        if prefers_page(request, CONTENT_TYPE):
            response = self._assets.response(INDEX, request, _NOT_STORED, status=404)
            response.headers["Content-Security-Policy"] = self._policy
            response.headers["Vary"] = "Accept, Accept-Encoding"
            return response
        raise web.HTTPNotFound


def _served(name: str, body: bytes) -> bytes:
    if not name.endswith((".js", ".css")):
        return body
    code = _COMMENT.sub(lambda found: b"\n" * found[0].count(b"\n"), body)
    # A template of several lines has its indentation in its text, and an odd number of backticks in its first one.
    has_long_text = any(line.count(b"`") % 2 for line in code.splitlines())
    return code if has_long_text else _INDENTATION.sub(b"", code)


def _digest(bodies: Mapping[str, bytes]) -> str:
    digest = hashlib.sha256()
    for name, body in bodies.items():
        digest.update(b"%d %s %d\n" % (len(name), name.encode(), len(body)) + body)
    return digest.hexdigest()[:16]


def _name(address: str) -> str:
    return INDEX if address == "/" else f"{address.strip('/').replace('*', '_')}.html"


def _filled(page: str, bodies: Mapping[str, bytes], version: str, named: re.Pattern[str]) -> str:
    """Fill in the version, and name the files at once, so that the browser does not find them one behind the other."""
    # By name: no rule of a file that only some screens need may depend on the order of two of them.
    styles = [name for name in bodies if name.endswith(".css") and named.fullmatch(name)]
    scripts = [name for name in bodies if name.endswith(".js")]
    modules = [name for name in scripts if not _SOME_NEED.fullmatch(name) or named.fullmatch(name)]
    links = [f'<link rel="stylesheet" href="/assets/{version}/{name}" />' for name in styles]
    links += [f'<link rel="modulepreload" href="/assets/{version}/{name}" />' for name in sorted(modules)]
    return page.replace("{links}", "\n    ".join(links)).replace("{version}", version)
