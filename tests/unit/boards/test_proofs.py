"""Proofs of places on closed boards: what holds, and that nothing else does."""

from __future__ import annotations

import base64
import copy
import json
import secrets
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from topten.leaderboard.v1 import leaderboard_pb2

from services.boards.proofs.merkle import TreeBuilder, path_of
from services.boards.proofs.proof import check_proof
from services.boards.proofs.signed_heads import Head, entry_leaf, player_digest, read_head
from services.embedded.credentials import new_signing_key
from services.identity.tokens import TokenIssuer
from services.runtime.auth.jwks import StaticKeys
from services.runtime.auth.verification import TokenVerifier
from services.runtime.errors import Reason, ServiceError

MONDAY = datetime(2026, 11, 16, tzinfo=UTC)
BOARD = "weekly:2026-47"
MILLION = 1_000_000


def issuer() -> TokenIssuer:
    return TokenIssuer(new_signing_key(), issuer="topten", audience="topten", access_ttl=timedelta(minutes=10))


ISSUER = issuer()


def head_of(root: bytes, players: int, board: str = BOARD) -> Head:
    week = timedelta(days=7)
    return Head(board, MONDAY, MONDAY + week, MONDAY + week + timedelta(hours=1), players, 1, root, b"")


def proofs_of(entries: list[tuple[str, int]], signer: TokenIssuer = ISSUER) -> list[dict[str, Any]]:
    """Return the JSON of the proof of each entry, player and score."""
    salts = [secrets.token_bytes(16) for _ in entries]
    digests = [player_digest(salt, user_id) for salt, (user_id, _) in zip(salts, entries, strict=True)]
    leaves = [
        entry_leaf(digest, rank, score)
        for rank, (digest, (_, score)) in enumerate(zip(digests, entries, strict=True), 1)
    ]
    builder = TreeBuilder()
    tiles = {(tile.level, tile.number): tile.hashes for leaf in leaves for tile in builder.append(leaf)}
    tiles |= {(tile.level, tile.number): tile.hashes for tile in builder.partial_tiles()}
    head = signer.board_head(head_of(builder.root(), len(entries)))
    return [
        {
            "board": BOARD,
            "userId": user_id,
            "rank": place + 1,
            "score": score,
            "salt": salts[place].hex(),
            "digest": digests[place].hex(),
            "path": [
                base64.b64encode(sibling).decode()
                for sibling in path_of(place, len(entries), lambda level, at: tiles[level, at // 256][at % 256])
            ],
            "head": head,
        }
        for place, (user_id, score) in enumerate(entries)
    ]


def entries_of(size: int) -> list[tuple[str, int]]:
    return [(f"player-{place}", 3 * (size - place)) for place in range(size)]


@pytest.mark.parametrize("size", [1, 2, 3, 4, 7, 8, 256, 257])
def test_proof_of_every_player_holds(size: int) -> None:
    for proof in proofs_of(entries_of(size)):
        checked = check_proof(json.loads(json.dumps(proof)))
        assert (checked.user_id, checked.rank, checked.score, checked.is_named) == (
            proof["userId"],
            proof["rank"],
            proof["score"],
            True,
        )
        assert checked.signed.head.players == size


PROOFS = proofs_of(entries_of(37))


def with_head(**changes: Any) -> Callable[[dict[str, Any]], Any]:
    """Return a change of what is signed, under the former signature."""

    def change(proof: dict[str, Any]) -> Any:
        header, payload, signature = proof["head"].split(".")
        claims = json.loads(base64.urlsafe_b64decode(payload + "==")) | changes
        encoded = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
        return {"head": f"{header}.{encoded}.{signature}"}

    return change


CHANGES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "score": lambda proof: {"score": proof["score"] + 1},
    "rank": lambda proof: {"rank": proof["rank"] % 37 + 1},
    "rank out of the board": lambda proof: {"rank": 38},
    "rank 0": lambda _: {"rank": 0},
    "rank as text": lambda proof: {"rank": str(proof["rank"])},
    "digest": lambda _: {"digest": "00" * 32},
    "digest and salt of another": lambda proof: {
        name: PROOFS[proof["rank"] % 37][name] for name in ("digest", "salt", "userId")
    },
    "player": lambda _: {"userId": "somebody-else"},
    "player without a salt": lambda _: {"userId": "somebody-else", "salt": None},
    "salt": lambda _: {"salt": "00" * 16},
    "short salt": lambda _: {"salt": "00"},
    "board": lambda _: {"board": "weekly:2026-46"},
    "signed board": lambda _: {"board": "weekly:2026-46"} | with_head(board="weekly:2026-46")(PROOFS[0]),
    "size": with_head(players=38),
    "root": with_head(root="00" * 32),
    "generation": with_head(generation=2),
    "shorter path": lambda proof: {"path": proof["path"][:-1]},
    "longer path": lambda proof: {"path": [*proof["path"], proof["path"][0]]},
    "path in another order": lambda proof: {"path": proof["path"][::-1]},
    "path of text": lambda _: {"path": "AAAA"},
    "no path": lambda _: {"path": None},
    "path of no base64": lambda proof: {"path": ["!", *proof["path"][1:]]},
    "head of another board": lambda proof: {"head": ISSUER.board_head(head_of(b"\0" * 32, 37))},
    "no head": lambda _: {"head": ""},
    "a token": lambda _: {"head": ISSUER.service_token("edge", frozenset(), frozenset(), MONDAY)},
}


@pytest.mark.parametrize("name", CHANGES)
@given(place=st.integers(0, 36))
def test_changed_proof_does_not_hold(name: str, place: int) -> None:
    proof = copy.deepcopy(PROOFS[place])
    with pytest.raises(ValueError):  # noqa: PT011  # each has a text of its own
        check_proof(proof | CHANGES[name](proof))


@pytest.mark.parametrize("document", [None, [], "proof", {}, {"data": None}], ids=repr)
def test_what_is_no_proof_is_refused(document: Any) -> None:
    with pytest.raises(ValueError, match="not a proof"):
        check_proof(document)


def test_proof_of_an_erased_player_holds_and_names_nobody() -> None:
    checked = check_proof(PROOFS[4] | {"salt": None, "userId": "erased-" + "ab" * 32})
    assert (checked.rank, checked.is_named) == (5, False)


def test_trusted_keys_decide_who_may_sign() -> None:
    """A proof of a former key holds with that key, and with the one in the proof."""
    other = issuer()
    (proof,) = proofs_of(entries_of(1), other)
    keys = {key["kid"]: jwt.PyJWK.from_dict(key) for key in ISSUER.jwks["keys"]}
    former = {key["kid"]: jwt.PyJWK.from_dict(key) for key in other.jwks["keys"]}
    check_proof(PROOFS[0], keys)
    with pytest.raises(ValueError, match="another key"):
        check_proof(proof, keys)
    assert check_proof(proof, keys | former).signed.key_id == other.jwks["keys"][0]["kid"]
    assert check_proof(proof).signed.key_id == other.jwks["keys"][0]["kid"]


async def test_signed_head_is_no_token() -> None:
    verifier = TokenVerifier(StaticKeys(*ISSUER.public_keys), issuer="topten", audience="topten")
    with pytest.raises(ServiceError) as refused:
        await verifier.verify(PROOFS[0]["head"])
    assert refused.value.reason is Reason.UNAUTHENTICATED


def test_path_of_a_million_players_is_less_than_a_kibibyte() -> None:
    """The longest path has as many hashes as the size less one has bits."""
    size = len(path_of(0, MILLION, lambda _level, _place: b"\xff" * 32))
    assert size == (MILLION - 1).bit_length() == 20
    path = [b"\xff" * 32] * size
    assert leaderboard_pb2.Proof(path=path).ByteSize() == 680
    assert len(json.dumps([base64.b64encode(each).decode() for each in path], separators=(",", ":"))) == 941
    longest = Head("b" * 100, MONDAY, MONDAY, MONDAY, 2**31 - 1, 2**31 - 1, b"\xff" * 32, b"\xff" * 32)
    text = ISSUER.board_head(longest)
    assert read_head(text).head == longest
    assert len(text) <= 1024
