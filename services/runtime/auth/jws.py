"""A strict parser of compact JWS (RFC 7515), used before the signature is verified.

PyJWT skips characters that are not base64url, accepts surplus bits in the last character, and takes the last of duplicate
members, so that several texts are the same token. Here each token has exactly one text, and each member one value.
"""

from __future__ import annotations

import base64
import json
import re
from typing import Any, Final

_COMPACT: Final = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+", re.ASCII)


def read_compact(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The unverified header and claims of a token. Raises ValueError unless it is in its one canonical form."""
    if not _COMPACT.fullmatch(token):
        raise ValueError("not three parts in base64url")
    header, claims, signature = map(_decoded, token.split("."))
    del signature
    return _members(header), _members(claims)


def _decoded(part: str) -> bytes:
    raw = base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
    if base64.urlsafe_b64encode(raw).rstrip(b"=").decode() != part:
        raise ValueError("not canonical base64url")
    return raw


def _members(part: bytes) -> dict[str, Any]:
    try:
        found = json.loads(part.decode(), object_pairs_hook=_without_duplicates)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(found, dict):
        raise ValueError("not a JSON object")
    return found


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("duplicate member")
    return found
