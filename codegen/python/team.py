"""What a team's service does: its players, points and board, then a proof of a final rank, checked without Topten.

The client needs the scopes action:define, action:submit, board:define, leaderboard:read and player:write, and PyJWT with `crypto`:
TOKEN_URL=… KEYS_URL=… CLIENT_ID=… CLIENT_SECRET=… python team.py IDENTITY QUIZ SCORE LEADERBOARD NAME
"""

import asyncio
import hashlib
import json
import os
import sys
import urllib.request
import uuid
from datetime import datetime, timedelta, timezone

import grpc
import jwt
from example import SECONDS, ServiceToken, reason_of
from topten.action.v1 import action_pb2, action_service_pb2
from topten.action.v1.action_service_pb2_grpc import ActionServiceStub
from topten.board.v1 import board_pb2, board_service_pb2
from topten.board.v1.board_service_pb2_grpc import BoardServiceStub
from topten.identity.v1 import identity_pb2, identity_service_pb2
from topten.identity.v1.identity_service_pb2_grpc import IdentityServiceStub
from topten.leaderboard.v1 import leaderboard_service_pb2
from topten.leaderboard.v1.leaderboard_service_pb2_grpc import LeaderboardServiceStub

# A new board is filled within seconds, and a closed one is sealed within a minute.
ATTEMPTS, PAUSE = 240, 0.5
TOKEN = ServiceToken()


async def call(method, request):
    """Call a method as this service."""
    return await method(request, metadata=await TOKEN.metadata(), timeout=SECONDS)


async def until_done(attempt, *not_yet):
    """Repeat what is refused for one of these reasons."""
    for _ in range(ATTEMPTS):
        try:
            return await attempt()
        except grpc.aio.AioRpcError as failure:
            if reason_of(failure) not in not_yet:
                raise
        await asyncio.sleep(PAUSE)
    raise TimeoutError(f"still refused: {', '.join(not_yet)}")


def action(name: str, player: str, value: int, action_id: str) -> action_pb2.PlayerAction:
    """One action of a player who is named as in this team's system."""
    return action_pb2.PlayerAction(
        player=action_pb2.Player(external_id=player), action_type_id=name, action_id=action_id, value=value
    )


async def first_whole_frame(leaderboard: LeaderboardServiceStub, board: str, players: int):
    """Watch the board until it shows all players."""
    request = leaderboard_service_pb2.WatchLeaderboardRequest(board=board)
    stream = leaderboard.WatchLeaderboard(request, metadata=await TOKEN.metadata())
    try:
        async for update in stream:
            if len(update.frame.entries) == players and not update.frame.stale:
                return update.frame
    finally:
        stream.cancel()
    raise EOFError("the stream ended")


def checked(proof) -> dict:
    """Return the signed head of a proof that holds. Raises for any other."""
    header = jwt.get_unverified_header(proof.head)
    with urllib.request.urlopen(os.environ["KEYS_URL"], timeout=10) as response:
        keys = {key["kid"]: jwt.PyJWK(key) for key in json.load(response)["keys"]}
    head = jwt.decode(proof.head, keys[header["kid"]].key, algorithms=["EdDSA"])
    if header["typ"] != "board-head+jwt" or head["board"] != proof.board:
        raise ValueError("the head is of something else")
    if sha256(proof.salt.hex().encode() + proof.user_id.encode()) != proof.digest:
        raise ValueError("the digest is of another player")
    node = sha256(b"\0" + f"{proof.digest.hex()} {proof.rank} {proof.score}".encode())
    place, last = proof.rank - 1, head["players"] - 1
    for level, sibling in enumerate(proof.path):
        # The last node of a level has no neighbor on its right.
        is_right = place >> level & 1 or place >> level == last >> level
        node = sha256(b"\1" + (sibling + node if is_right else node + sibling))
    if node.hex() != head["root"]:
        raise ValueError("the entry is not in the tree")
    return head


def sha256(data: bytes) -> bytes:
    """The hash of the tree."""
    return hashlib.sha256(data).digest()


async def main(identity_at: str, quiz_at: str, score_at: str, leaderboard_at: str, name: str) -> None:
    async with (
        grpc.aio.insecure_channel(identity_at) as to_identity,
        grpc.aio.insecure_channel(quiz_at) as to_quiz,
        grpc.aio.insecure_channel(score_at) as to_score,
        grpc.aio.insecure_channel(leaderboard_at) as to_leaderboard,
    ):
        identity, actions = IdentityServiceStub(to_identity), ActionServiceStub(to_quiz)
        boards, leaderboard = BoardServiceStub(to_score), LeaderboardServiceStub(to_leaderboard)

        profiles = [identity_pb2.PlayerProfile(external_id=f"{name}-{each}", username=f"{name}-{each}") for each in "ab"]
        ensured = await call(identity.EnsurePlayers, identity_service_pb2.EnsurePlayersRequest(players=profiles))
        print("players:", *(identity_pb2.EnsuredPlayer.Status.Name(each.status) for each in ensured.results))

        action_type = action_pb2.ActionType(
            action_type_id=name, title="A run", submitters=action_pb2.ActionType.SERVICES,
            rule=action_pb2.Rule(reported=action_pb2.ReportedRule(minimum=1, maximum=1000)),
        )  # fmt: skip
        await call(actions.PutActionType, action_service_pb2.PutActionTypeRequest(action_type=action_type))

        today = datetime.now(timezone.utc)
        span = f"range:{today - timedelta(days=1):%Y-%m-%d}/{today + timedelta(days=2):%Y-%m-%d}"
        definition = board_pb2.BoardDefinition(name=name, sources=[f"action:{name}"], period=span)
        await call(boards.PutBoard, board_service_pb2.PutBoardRequest(definition=definition))

        run = str(uuid.uuid4())
        batch = [
            action(name, f"{name}-a", 30, run), action(name, f"{name}-b", 20, str(uuid.uuid4())),
            action(name, f"{name}-a", 30, run), action(name, f"{name}-b", 5000, str(uuid.uuid4())),
        ]  # fmt: skip
        submitted = await call(actions.SubmitActions, action_service_pb2.SubmitActionsRequest(actions=batch))
        for result in submitted.results:
            print(action_pb2.ActionResult.Status.Name(result.status), result.reason or result.points_awarded)

        board = f"custom:{name}"
        frame = await until_done(lambda: first_whole_frame(leaderboard, board, len(profiles)), "BOARD_NOT_FOUND")
        for entry in frame.entries:
            print(entry.rank, entry.username, entry.score)

        archive = board_service_pb2.ArchiveBoardRequest(name=name)
        await until_done(lambda: call(boards.ArchiveBoard, archive), "UNAVAILABLE")
        request = leaderboard_service_pb2.GetProofRequest(board=board, user_id=frame.entries[0].user_id)
        # Refused until the board is closed, and then until it is sealed.
        response = await until_done(lambda: call(leaderboard.GetProof, request), "INVALID_ARGUMENT", "UNAVAILABLE")
        head = checked(response.proof)
        print(f"proof: rank {response.proof.rank} of {head['players']} with {response.proof.score} points")


if __name__ == "__main__":
    if len(sys.argv) != 6:
        sys.exit("usage: team.py IDENTITY QUIZ SCORE LEADERBOARD NAME")
    asyncio.run(main(*sys.argv[1:]))
