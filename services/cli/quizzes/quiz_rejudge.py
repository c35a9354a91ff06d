"""Judge the recorded answers of a running system's quiz again, after its key was corrected."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from topten.quiz.v1 import quiz_service_pb2 as messages
from topten.score.v1 import score_service_pb2 as score

from services.cli.system.client import Endpoints
from services.cli.system.operator_client import quiz_service, score_service
from services.runtime.grpc.client import call, open_stream

MAX_SHOWN: Final = 20


@dataclass(slots=True)
class Rejudged:
    """What judging again did, or would do.

    `points` is by how much the counted points of all players change together; `largest` are those whose points change most, at
    most MAX_SHOWN. `closed` are the boards of closed periods that keep the former points until they are resealed.
    """

    version: int = 0
    actions: int = 0
    changed: int = 0
    players: int = 0
    points: int = 0
    largest: list[messages.RejudgedPlayer] = field(default_factory=list)
    closed: list[str] = field(default_factory=list)

    def add(self, progress: messages.RejudgeQuizResponse) -> None:
        """Add a step of the work."""
        self.version, self.actions, self.changed = progress.version, progress.actions, progress.changed
        self.players += len(progress.players)
        self.points += sum(player.after - player.before for player in progress.players)
        players = [*self.largest, *progress.players]
        self.largest = sorted(players, key=lambda player: -abs(player.after - player.before))[:MAX_SHOWN]


async def rejudge_quiz(endpoints: Endpoints, quiz_id: str, reason: str, *, dry_run: bool) -> Rejudged:
    """Judge a quiz again; return what changed. Raises QUIZ_NOT_FOUND, UNAVAILABLE."""
    result, progress = Rejudged(), messages.RejudgeQuizResponse()
    request = messages.RejudgeQuizRequest(quiz_id=quiz_id, reason=reason, dry_run=dry_run)
    async with (
        quiz_service(endpoints) as (stub, token),
        open_stream(stub.RejudgeQuiz, request, token=token) as steps,
    ):
        async for progress in steps:
            result.add(progress)
    if progress.changed:
        changed = score.ListClosedBoardsRequest(
            quiz_id=quiz_id, times=progress.changed_at, tags=progress.tags, countries=progress.countries
        )
        async with score_service(endpoints) as (scores, token):
            result.closed = list((await call(scores.ListClosedBoards, changed, token=token)).boards)
    return result
