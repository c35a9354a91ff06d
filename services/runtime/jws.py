"""Reading a compact JWS (RFC 7515) strictly, before its signature is looked at.

PyJWT skips characters that are not base64url, takes a last character that says more than its bytes, and of a member that
stands twice the last: several texts would be one token. Here each token has one text, and each member one value.
"""

from __future__ import annotations

import base64
import json
import re
from typing import Any, Final

_COMPACT: Final = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+", re.ASCII)


def read_compact(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and claims of a token, neither of them verified. Raises ValueError unless they are written as they must be."""
    if not _COMPACT.fullmatch(token):
        raise ValueError("not three parts in base64url")
    header, claims, signature = map(_decoded, token.split("."))
    del signature
    return _members(header), _members(claims)


def _decoded(part: str) -> bytes:
    raw = base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
    if base64.urlsafe_b64encode(raw).rstrip(b"=").decode() != part:
        raise ValueError("not the shortest way to write these bytes")
    return raw


def _members(part: bytes) -> dict[str, Any]:
    try:
        found = json.loads(part.decode(), object_pairs_hook=_once)
    except RecursionError:
        raise ValueError("nested too deep") from None
    if not isinstance(found, dict):
        raise ValueError("not a JSON object")
    return found


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a member stands twice")
    return found
