"""Requests to the API server as JSON."""

from __future__ import annotations

import json
import ssl
import time
import urllib.error
import urllib.request
from typing import Any, Final

REQUEST_SECONDS: Final = 30
Object = dict[str, Any]


class ApiError(RuntimeError):
    """The API server refused a request; `code` is the HTTP status."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class Api:
    """One user of one API server; thread-safe."""

    def __init__(self, address: str, token: str) -> None:
        self.address = address
        self.token = token
        # The certificate is made by the server itself, for loopback, at every start.
        self._context = ssl._create_unverified_context()

    def get(self, path: str) -> Object:
        """An object or a list. Raises ApiError."""
        return self._send("GET", path)

    def items(self, path: str) -> list[Object]:
        """The items of a list."""
        found: list[Object] = self.get(path).get("items", [])
        return found

    def create(self, path: str, body: Object) -> Object:
        """Create an object. Raises ApiError."""
        return self._send("POST", path, body)

    def patch(self, path: str, body: Object) -> Object:
        """Merge into an object; lists of conditions by their type. Raises ApiError."""
        return self._send("PATCH", path, body, "application/strategic-merge-patch+json")

    def delete(self, path: str, *, grace_seconds: int | None = None) -> None:
        """Delete an object; one that is gone is ignored."""
        options = {} if grace_seconds is None else {"gracePeriodSeconds": grace_seconds}
        try:
            self._send("DELETE", path, options)
        except ApiError as error:
            if error.code != 404:
                raise

    def is_ready(self) -> bool:
        """Whether the server accepts requests."""
        try:
            return self._request("GET", "/readyz", None, "") == b"ok"
        except (OSError, ApiError):
            return False

    def _send(self, method: str, path: str, body: Object | None = None, kind: str = "application/json") -> Object:
        """Send until the server is not busy, such as with the storage of a new kind."""
        ends = time.monotonic() + REQUEST_SECONDS
        while True:
            try:
                answer: Object = json.loads(self._request(method, path, body, kind))
            except ApiError as error:
                if error.code != 429 or time.monotonic() > ends:
                    raise
                time.sleep(1)
            else:
                return answer

    def _request(self, method: str, path: str, body: Object | None, kind: str) -> bytes:
        request = urllib.request.Request(
            f"{self.address}{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {self.token}", "Content-Type": kind, "Accept": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=REQUEST_SECONDS, context=self._context) as response:
                content: bytes = response.read()
                return content
        except urllib.error.HTTPError as error:
            text = error.read().decode(errors="replace")
            raise ApiError(error.code, f"{method} {path}: {text[:1000]}") from None
