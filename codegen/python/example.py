"""The first calls of a service: its token, the head of a board, a frame of its stream, and what a refusal says.

TOKEN_URL=… CLIENT_ID=… CLIENT_SECRET=… python example.py 127.0.0.1:50054 weekly
"""

import asyncio
import base64
import json
import os
import sys
import time
import urllib.request

import grpc
from google.rpc import error_details_pb2, status_pb2
from topten.leaderboard.v1 import leaderboard_service_pb2 as messages
from topten.leaderboard.v1.leaderboard_service_pb2_grpc import LeaderboardServiceStub

# The first call also connects, so its deadline is generous; the calls of a service that is warm do with 2 s.
SECONDS = 30


class ServiceToken:
    """The token of this service, renewed after 80 % of its lifetime."""

    def __init__(self) -> None:
        self._token = ""
        self._renew_at = 0.0

    async def metadata(self) -> list[tuple[str, str]]:
        """The metadata of a call."""
        if time.monotonic() >= self._renew_at:
            issued = await asyncio.to_thread(self._request)
            self._token, self._renew_at = issued["access_token"], time.monotonic() + 0.8 * issued["expires_in"]
        return [("authorization", f"Bearer {self._token}")]

    def _request(self) -> dict:
        secret = f"{os.environ['CLIENT_ID']}:{os.environ['CLIENT_SECRET']}"
        headers = {"Authorization": f"Basic {base64.b64encode(secret.encode()).decode()}"}
        request = urllib.request.Request(os.environ["TOKEN_URL"], b"grant_type=client_credentials", headers)
        with urllib.request.urlopen(request, timeout=10) as response:
            return json.load(response)


def reason_of(failure: grpc.aio.AioRpcError) -> str:
    """The reason that Topten gave; the failure itself if it is not Topten's: the network, or a proxy."""
    status, info = status_pb2.Status(), error_details_pb2.ErrorInfo()
    status.ParseFromString(dict(failure.trailing_metadata()).get("grpc-status-details-bin", b""))
    if not any(detail.Unpack(info) for detail in status.details):
        raise failure
    return info.reason


async def main(address: str, board: str) -> None:
    token = ServiceToken()
    async with grpc.aio.insecure_channel(address) as channel:
        leaderboard = LeaderboardServiceStub(channel)
        head = await leaderboard.GetLeaderboard(
            messages.GetLeaderboardRequest(board=board, limit=10), metadata=await token.metadata(), timeout=SECONDS
        )
        for entry in head.frame.entries:
            print(entry.rank, entry.username, entry.score)

        # A stream has no deadline and lasts until it is cancelled.
        watch = messages.WatchLeaderboardRequest(board=board)
        stream = leaderboard.WatchLeaderboard(watch, metadata=await token.metadata())
        async for update in stream:
            print(f"frame of {update.frame.board} with {len(update.frame.entries)} entries")
            break
        stream.cancel()

        wrong = messages.GetLeaderboardRequest(board="no such board")
        try:
            await leaderboard.GetLeaderboard(wrong, metadata=await token.metadata(), timeout=SECONDS)
        except grpc.aio.AioRpcError as failure:
            print("refused:", reason_of(failure))


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: example.py ADDRESS BOARD")
    asyncio.run(main(*sys.argv[1:3]))
