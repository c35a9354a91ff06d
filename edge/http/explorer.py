"""The explorer: GraphiQL, which shows the schema and runs queries, for people who open `GET /graphql` in a browser.

Its files are vendored in `edge/explorer`, so the page loads nothing from another address. Served only where introspection is
allowed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from aiohttp import web

from edge.graphql.execution.requests import GRAPHQL_JSON, JSON
from edge.http.accept import prefers_page
from edge.http.assets import INDEX, Assets, read_folder
from edge.http.callers.cookies import GRAPHQL_PATH

FOLDER: Final = Path(__file__).parent.parent / "explorer"
PREFIX: Final = f"{GRAPHQL_PATH}/explorer"
# As for every response, but for icons that GraphiQL's style sheet contains.
POLICY: Final = (
    "default-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; "
    "object-src 'none'"
)


class Explorer:
    """The page and its files."""

    def __init__(self) -> None:
        self._assets = Assets(read_folder(FOLDER))

    async def page(self, request: web.Request) -> web.Response:
        """Return the page, which alone has a content security policy of its own."""
        response = self._assets.response(INDEX, request)
        response.headers["Content-Security-Policy"] = POLICY
        response.headers["Vary"] = "Accept, Accept-Encoding"
        return response

    async def file(self, request: web.Request) -> web.Response:
        """Return a file of the page. Raises HTTPNotFound."""
        return self._assets.response(request.path.removeprefix(f"{PREFIX}/"), request)


def wants_page(request: web.Request) -> bool:
    """Return whether a person opened /graphql in a browser: HTML is preferred, and nothing is asked."""
    return not request.query and prefers_page(request, JSON, GRAPHQL_JSON)
