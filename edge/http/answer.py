"""Responses whose head is written as bytes: the status, fields of text, and the body in one write.

aiohttp collects the fields of a response in a multidict and serializes it, which takes as long as everything else that a
cached response takes. Uses only public hooks of aiohttp.
"""

from __future__ import annotations

import time
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from typing import Final

from aiohttp import HttpVersion10, HttpVersion11, web
from aiohttp.abc import AbstractStreamWriter

_PHRASES: Final = {status.value: status.phrase for status in HTTPStatus}


class Answer(web.StreamResponse):
    """A response with a body. `fields` are lines of its head, each with its end; the server adds those of `common`.

    Who writes `fields` and `common` makes sure that they hold no input with line breaks.
    """

    def __init__(self, body: bytes, fields: str, *, status: int = 200) -> None:
        super().__init__(status=status)
        self.common = ""
        self._bytes = body
        self._fields = fields
        self._stays_open: bool | None = None
        self._writer: AbstractStreamWriter | None = None

    @property
    def keep_alive(self) -> bool | None:
        """Whether the connection is kept for another request; known once the response is prepared."""
        return self._stays_open

    def force_close(self) -> None:
        """Close the connection after this response."""
        self._stays_open = False

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter:
        """Take over the request's connection; everything is written at the end."""
        if self._stays_open is None:
            self._stays_open = request.keep_alive
        connection = ""
        if not self._stays_open:
            connection = "Connection: close\r\n"
        elif request.version == HttpVersion10:
            connection = "Connection: keep-alive\r\n"
        cookies = "".join(f"{cookie.output()}\r\n" for cookie in self.cookies.values())
        version = "1.1" if request.version >= HttpVersion11 else "1.0"
        self._fields = (
            f"HTTP/{version} {self.status} {_PHRASES[self.status]}\r\nContent-Length: {len(self._bytes)}\r\n"
            f"Date: {_date(int(time.time()))}\r\n{connection}{cookies}{self.common}{self._fields}\r\n"
        )
        self._writer = request.writer
        return self._writer

    async def write_eof(self, data: bytes = b"") -> None:
        """Write the head and the body."""
        if self._writer is not None:
            writer, self._writer = self._writer, None
            await writer.write_eof(self._fields.encode("utf-8", "surrogateescape") + self._bytes + data)


@lru_cache(maxsize=1)
def _date(second: int) -> str:
    return formatdate(second, usegmt=True)
