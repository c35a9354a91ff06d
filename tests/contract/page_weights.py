"""What each address of the page loads, compressed: `python -m tests.contract.page_weights > …/page-weights.md`."""

from __future__ import annotations

import asyncio
import gzip
import math
import posixpath
import re
from collections.abc import Iterator
from functools import cache
from typing import Final, NamedTuple

from aiohttp.test_utils import make_mocked_request
from aiohttp.web import HTTPNotFound

from edge.http.page import FOLDER, Page

MAX_BYTES: Final = 60 * 1024
"""The most that an address may load, compressed."""
INTRODUCTION: Final = f"""# Weight of the page

What a browser loads for each address before anything is cached, as gzip sends it: the document, styles and scripts. Dialogs of
hosts and authors that are loaded when they are opened are not in it. Each stays below {MAX_BYTES // 1024} KiB; a test holds it
so, and another that a browser loads nothing beyond what is counted here. `make gen` writes this page.

| address | files | KiB |
| --- | --- | --- |
"""
# The addresses of the page, as `app.js` lists them, each with its screen's module.
_ROUTE: Final = re.compile(r"^ +\[(?:/\^(?P<path>.*?)\$/|(?P<constant>BOARD)), (?P<screen>.*)\],$", re.MULTILINE)
_CONSTANT: Final = re.compile(r"^(?: *)const (\w+) = (.*?)$", re.MULTILINE)
_DYNAMIC: Final = re.compile(r'import\("([^"]+)"\)')
_STATIC: Final = re.compile(r'^(?:import|export) [^;]*?from "(\.[^"]+)";$|^import "(\.[^"]+)";$', re.MULTILINE)
_STYLE: Final = re.compile(r'loadStyle\("([^"]+)"\)')
_WORKER: Final = re.compile(r'new URL\("(\./[^"]+)", import\.meta\.url\)')


class Weight(NamedTuple):
    """What an address loads."""

    address: str
    pattern: re.Pattern[str]
    """Of the paths that it stands for."""
    files: frozenset[str]
    """Names below `edge/web`, without the document."""
    unnamed: frozenset[str]
    """Those of them that the document does not name, so that a browser finds them late."""
    bytes: int
    """Of the files and the document, compressed."""

    @property
    def kibibytes(self) -> int:
        """The figure of the reference page, rounded up."""
        return math.ceil(self.bytes / 1024)


def weights() -> list[Weight]:
    """Return the weight of each address, in the order of `app.js`."""
    return [_weight(path, screens) for path, screens in _routes()]


def page() -> str:
    """The page, as it is committed. Figures are rounded up."""
    rows = [f"| `{each.address}` | {len(each.files) + 1} | {each.kibibytes} |\n" for each in weights()]
    return INTRODUCTION + "".join(rows)


def _routes() -> Iterator[tuple[str, list[str]]]:
    code = (FOLDER / "app.js").read_text()
    constants = dict(_CONSTANT.findall(code))
    for found in _ROUTE.finditer(code):
        path = found["path"] or constants[found["constant"]].strip("/^$;")
        screen = found["screen"]
        for name, value in constants.items():
            if re.search(rf"\b{name}\b", screen):
                screen += value
        yield path.replace("\\/", "/"), _DYNAMIC.findall(screen)


def _address(expression: str) -> str:
    """Return a regular expression of addresses as people write it: `/q/:quiz/review`."""
    path = re.sub(r"\(\?<(\w+)>[^()]+\)", r":\1", expression)
    return re.sub(r"\(\?:(.*?)\)\?", r"[\1]", path)


def _weight(path: str, screens: list[str]) -> Weight:
    address = _address(path)
    document = body(address.partition("[")[0])
    named = set(re.findall(r'"/assets/[0-9a-f]+/([^"]+)"', gzip.decompress(document).decode())) | {"icon.svg"}
    files = set().union(*map(_reached, named | {posixpath.normpath(screen) for screen in screens}))
    unnamed = frozenset(files - named - {"client/worker.js"})
    size = len(document) + sum(len(body(f"/assets/{'0' * 16}/{name}")) for name in files)
    pattern = re.compile(path.replace("(?<", "(?P<"))
    return Weight(address, pattern, frozenset(files), unnamed, size)


@cache
def _reached(name: str) -> frozenset[str]:
    """Return a file and all that it loads by itself."""
    found, waiting = set[str](), [name]
    while waiting:
        each = waiting.pop()
        if each in found:
            continue
        found.add(each)
        if each.endswith(".js"):
            code, folder = (FOLDER / each).read_text(), posixpath.dirname(each)
            paths = [first or second for first, second in _STATIC.findall(code)] + _WORKER.findall(code)
            waiting += [posixpath.normpath(posixpath.join(folder, path)) for path in paths]
            waiting += _STYLE.findall(code)
    return frozenset(found)


@cache
def body(path: str) -> bytes:
    """Return what the edge sends for an address, compressed."""
    request = make_mocked_request("GET", path, headers={"Accept-Encoding": "gzip"})
    try:
        sent = asyncio.run(_page().handle(request)).body
    except HTTPNotFound:
        raise LookupError(path) from None
    assert isinstance(sent, bytes)
    return sent


@cache
def _page() -> Page:
    return Page()


if __name__ == "__main__":
    print(page(), end="")
