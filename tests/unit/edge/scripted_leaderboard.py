"""A leaderboard service, over real gRPC, whose frames a test decides, and beside it the other services that an edge asks."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
from topten.board.v1.board_service_pb2 import ListBoardsRequest, ListBoardsResponse
from topten.board.v1.board_service_pb2_grpc import BoardServiceServicer, add_BoardServiceServicer_to_server
from topten.group.v1 import group_service_pb2 as group_messages
from topten.group.v1.group_service_pb2_grpc import GroupServiceServicer, add_GroupServiceServicer_to_server
from topten.leaderboard.v1 import leaderboard_service_pb2 as messages
from topten.leaderboard.v1.leaderboard_pb2 import Entry, Frame
from topten.leaderboard.v1.leaderboard_service_pb2_grpc import (
    LeaderboardServiceServicer,
    add_LeaderboardServiceServicer_to_server,
)
from topten.quiz.v1 import quiz_pb2
from topten.quiz.v1 import quiz_service_pb2 as quiz_messages
from topten.quiz.v1.quiz_service_pb2_grpc import QuizServiceServicer, add_QuizServiceServicer_to_server
from topten.room.v1 import room_pb2
from topten.room.v1 import room_service_pb2 as room_messages
from topten.room.v1.room_service_pb2_grpc import RoomServiceServicer, add_RoomServiceServicer_to_server
from topten.score.v1.score_service_pb2 import GetScoreRequest, GetScoreResponse
from topten.score.v1.score_service_pb2_grpc import ScoreServiceServicer, add_ScoreServiceServicer_to_server

from services.runtime.errors import STATUS_KEY as ERROR_KEY
from services.runtime.errors import Reason, ServiceError, to_rpc_status
from tests.deadline import deadline
from tests.servers import HOST
from tests.unit.partly import partly


def frame(version: int, *, generation: int = 1, board: str = "all", name: str = "Ada", entries: int = 1) -> Frame:
    """Return a frame whose players all have this name."""
    made = Frame(board=board, generation=generation, version=version)
    made.timestamp.FromSeconds(1_795_464_000)
    for rank in range(1, entries + 1):
        made.entries.append(Entry(rank=rank, user_id=f"u{rank}", username=name, score=1000 - rank))
    return made


@partly
class ScriptedLeaderboard(LeaderboardServiceServicer):
    """Serves only `WatchLeaderboard`, `WatchRanks` and, of the boards in `closed`, `GetLeaderboard`.

    `opened` counts the streams of each board since the start, `rank_requests` lists the players of each `WatchRanks` call,
    and `standings` holds what it responds.
    """

    def __init__(self) -> None:
        self.address = ""
        self.quizzes = ScriptedQuizzes()  # type: ignore[abstract]  # `partly` adds the methods that are missing
        self.rooms = ScriptedRooms()  # type: ignore[abstract]  # as above
        self.groups = ScriptedGroups()  # type: ignore[abstract]  # as above
        self.opened: dict[str, int] = defaultdict(int)
        self.rank_requests: list[list[str]] = []
        self.standings: dict[str, messages.Standing] = {}
        self.closed: dict[str, Frame] = {}
        self._queues: dict[str, list[asyncio.Queue[Any]]] = defaultdict(list)
        self._latest: dict[str, Frame] = {}
        self._failures: dict[str, grpc.StatusCode] = {}
        self._changed = asyncio.Event()

    def publish(self, frame: Frame) -> None:
        """Send a frame to every stream of its board, and to each new one."""
        self._latest[frame.board] = frame
        self._send(frame.board, frame)

    def end(self, board: str) -> None:
        """End the open streams of a board in order, as those of a closed period do."""
        self._send(board, None)

    def fail(self, board: str, code: grpc.StatusCode | None) -> None:
        """Fail the open and all new streams of a board; with None, serve it again."""
        if code is None:
            del self._failures[board]
        else:
            self._failures[board] = code
            self._send(board, code)

    async def wait_open(self, board: str, count: int) -> None:
        """Wait until a board has this many open streams."""
        async with deadline(f"{board} has {count} open streams"):
            while len(self._queues[board]) != count:
                await self._changed.wait()

    async def GetLeaderboard(
        self, request: messages.GetLeaderboardRequest, context: Any
    ) -> messages.GetLeaderboardResponse:
        if request.board not in self.closed:
            await context.abort(grpc.StatusCode.UNIMPLEMENTED, "not in the script")
        return messages.GetLeaderboardResponse(frame=self.closed[request.board])

    async def WatchLeaderboard(
        self, request: messages.WatchLeaderboardRequest, context: Any
    ) -> AsyncIterator[messages.WatchLeaderboardResponse]:
        board = request.board
        self.opened[board] += 1
        if board in self._failures:
            await context.abort(self._failures[board], "failed by the test")
        queue: asyncio.Queue[Any] = asyncio.Queue()
        if board in self._latest:
            queue.put_nowait(self._latest[board])
        self._queues[board].append(queue)
        self._notify()
        try:
            while (item := await queue.get()) is not None:
                if isinstance(item, grpc.StatusCode):
                    await context.abort(item, "failed by the test")
                yield messages.WatchLeaderboardResponse(frame=item)
        finally:
            self._queues[board].remove(queue)
            self._notify()

    async def WatchRanks(
        self, request: messages.WatchRanksRequest, context: Any
    ) -> AsyncIterator[messages.WatchRanksResponse]:
        self.rank_requests.append(list(request.user_ids))
        standings = [self.standings[user_id] for user_id in request.user_ids if user_id in self.standings]
        yield messages.WatchRanksResponse(board=request.board, standings=standings)
        await asyncio.Event().wait()

    def _send(self, board: str, item: Frame | grpc.StatusCode | None) -> None:
        for queue in self._queues[board]:
            queue.put_nowait(item)

    def _notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


@partly
class ScriptedBoards(BoardServiceServicer):
    """Serves only `ListBoards`: no team has defined a board."""

    async def ListBoards(self, request: ListBoardsRequest, context: Any) -> ListBoardsResponse:
        return ListBoardsResponse()


@partly
class ScriptedScores(ScoreServiceServicer):
    """Serves only `GetScore`, which is unavailable."""

    async def GetScore(self, request: GetScoreRequest, context: Any) -> GetScoreResponse:
        await _refuse(context, Reason.UNAVAILABLE)
        raise AssertionError("refused")


@partly
class ScriptedQuizzes(QuizServiceServicer):
    """Serves only `GetQuiz`: every quiz exists but those whose id starts with `unknown`; `requested` lists the ids."""

    def __init__(self) -> None:
        self.requested: list[str] = []

    async def GetQuiz(self, request: quiz_messages.GetQuizRequest, context: Any) -> quiz_messages.GetQuizResponse:
        self.requested.append(request.quiz_id)
        if request.quiz_id.startswith("unknown"):
            await _refuse(context, Reason.QUIZ_NOT_FOUND)
        return quiz_messages.GetQuizResponse(quiz=quiz_pb2.Quiz(quiz_id=request.quiz_id))


@partly
class ScriptedGroups(GroupServiceServicer):
    """Serves only `ListMembers`: the `members` of every group, or `refuses`. `asked` has the group of each call."""

    def __init__(self) -> None:
        self.members = {"ada"}
        self.refuses: Reason | None = None
        self.asked: asyncio.Queue[str] = asyncio.Queue()

    async def ListMembers(
        self, request: group_messages.ListMembersRequest, context: Any
    ) -> group_messages.ListMembersResponse:
        self.asked.put_nowait(request.group_id)
        if self.refuses is not None:
            await _refuse(context, self.refuses)
        response = group_messages.ListMembersResponse()
        for user_id in self.members:
            response.members.add(user_id=user_id)
        return response


@partly
class ScriptedRooms(RoomServiceServicer):
    """Serves only `GetRoom`, `WatchRoom`, `GetRoomBoard` and `ListRoomOutcomes`, of the rooms in `phases`, by PIN or ID.

    `watched` lists the PINs that were watched, and `removed` has the users who were removed from them. `requests` lists the
    `ListRoomOutcomes` calls: the revision of the room, and the users. Each waits for `answering`, and responds with the
    `points` of players at that revision, unless it `fails`.
    """

    def __init__(self) -> None:
        self.phases: dict[str, room_pb2.RoomPhase.ValueType] = {}
        self.watched: list[str] = []
        self.points: dict[str, int] = {}
        self.requests: list[tuple[int, list[str]]] = []
        self.answering = asyncio.Event()
        self.answering.set()
        self.fails = False
        self._revisions: defaultdict[str, int] = defaultdict(lambda: 1)
        self._shown: dict[str, list[asyncio.Queue[int]]] = defaultdict(list)
        self.removed: set[str] = set()

    def show(self, pin: str, revision: int) -> None:
        """Send the state of a watched room at a revision."""
        self._revisions[pin] = revision
        for queue in self._shown[pin]:
            queue.put_nowait(revision)

    async def GetRoom(self, request: room_messages.GetRoomRequest, context: Any) -> room_messages.GetRoomResponse:
        if request.pin not in self.phases:
            await _refuse(context, Reason.ROOM_NOT_FOUND)
        return room_messages.GetRoomResponse(frame=room_pb2.RoomFrame(pin=request.pin, phase=self.phases[request.pin]))

    async def WatchRoom(
        self, request: room_messages.WatchRoomRequest, context: Any
    ) -> AsyncIterator[room_messages.WatchRoomResponse]:
        room = request.pin or request.room_id
        self.watched.append(room)
        frame = (await self.GetRoom(room_messages.GetRoomRequest(pin=room), context)).frame
        frame.revision = self._revisions[room]
        queue: asyncio.Queue[int] = asyncio.Queue()
        self._shown[room].append(queue)
        try:
            while True:
                yield room_messages.WatchRoomResponse(frame=frame, removed_user_ids=self.removed)
                frame.revision = await queue.get()
        finally:
            self._shown[room].remove(queue)

    async def GetRoomBoard(
        self, request: room_messages.GetRoomBoardRequest, context: Any
    ) -> room_messages.GetRoomBoardResponse:
        if request.room_id not in self.phases:
            await _refuse(context, Reason.ROOM_NOT_FOUND)
        revision = self._revisions[request.room_id]
        entry = room_pb2.RoomEntry(rank=1, seat_id="s1", nickname="Ada", points=revision)
        return room_messages.GetRoomBoardResponse(revision=revision, entries=[room_pb2.RoomPlace(entry=entry)])

    async def ListRoomOutcomes(
        self, request: room_messages.ListRoomOutcomesRequest, context: Any
    ) -> room_messages.ListRoomOutcomesResponse:
        revision = self._revisions[request.pin]
        self.requests.append((revision, list(request.user_ids)))
        await self.answering.wait()
        if self.fails:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "failed by the test")
        outcomes = [
            room_messages.PlayerOutcome(
                user_id=user_id,
                outcome=room_pb2.RoomOutcome(
                    seat_id=f"seat of {user_id}", points=self.points[user_id], extra_time=room_pb2.EXTRA_TIME_NONE
                ),
            )
            for user_id in request.user_ids
            if user_id in self.points
        ]
        return room_messages.ListRoomOutcomesResponse(revision=revision, outcomes=outcomes)


async def _refuse(context: Any, reason: Reason) -> None:
    error = ServiceError(reason, "There is none.")
    await context.abort(error.code, error.message, ((ERROR_KEY, to_rpc_status(error).SerializeToString()),))


@asynccontextmanager
async def scripted_leaderboard() -> AsyncIterator[ScriptedLeaderboard]:
    """Serve a scripted leaderboard on a free port."""
    leaderboard = ScriptedLeaderboard()  # type: ignore[abstract]  # `partly` adds the methods that are missing
    server = grpc.aio.server()
    add_LeaderboardServiceServicer_to_server(leaderboard, server)
    add_QuizServiceServicer_to_server(leaderboard.quizzes, server)
    add_RoomServiceServicer_to_server(leaderboard.rooms, server)
    add_GroupServiceServicer_to_server(leaderboard.groups, server)
    add_BoardServiceServicer_to_server(ScriptedBoards(), server)  # type: ignore[abstract]  # as above
    add_ScoreServiceServicer_to_server(ScriptedScores(), server)  # type: ignore[abstract]  # as above
    port = server.add_insecure_port(f"{HOST}:0")
    await server.start()
    leaderboard.address = f"{HOST}:{port}"
    try:
        yield leaderboard
    finally:
        await server.stop(None)
