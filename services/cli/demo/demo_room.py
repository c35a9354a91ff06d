"""A room that plays by itself: simulated players join as guests and answer, and their host steps on.

Uses the public interface, but for the answer key, which the operator exports: players of a stated skill have to know it.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from typing import Final

import aiohttp
from topten.quiz.v1 import quiz_pb2
from topten.quiz.v1 import quiz_service_pb2 as messages

from services.cli.demo.demo_players import given_answer
from services.cli.rooms import RoomHost, State, invitation, solved
from services.cli.system.client import Endpoints, GraphqlClient, GraphqlError
from services.cli.system.operator_client import quiz_service
from services.runtime.grpc.client import call

GUEST: Final = "mutation ($nickname: String!) { continueAsGuest(nickname: $nickname) { accessToken } }"
CHALLENGE: Final = "query ($pin: ID!) { joinChallenge(pin: $pin) { algorithm challenge maxNumber salt signature } }"
JOIN: Final = "mutation ($input: JoinRoomInput!) { joinRoom(input: $input) { outcome { nickname } } }"
ANSWER: Final = "mutation ($input: AnswerRoomQuestionInput!) { answerRoomQuestion(input: $input) { duplicate } }"
AT_ONCE: Final = 25
FOR_PEOPLE: Final = 50
PODIUM: Final = 3
SEED: Final = 7
Report = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """How the room plays: players who know the answer with probability `skill`, and so many seconds for each step.

    With `proof_of_work` each player solves a challenge for their seat.
    """

    quiz_id: str
    players: int
    skill: float
    seconds: float
    pause: float
    proof_of_work: bool = False


class _Guest:
    """A simulated player with a seat in the room."""

    def __init__(self, client: GraphqlClient, token: str, pin: str, number: int) -> None:
        self._client = client
        self._token = token
        self._pin = pin
        self._dice = random.Random(SEED + number)  # noqa: S311  # a reproducible player, not a secret

    async def answer(self, entry: quiz_pb2.QuestionDefinition, plan: Plan) -> None:
        """Think for a while and answer. An answer that is too late is lost, as a slow person's is."""
        await asyncio.sleep(self._dice.uniform(0, plan.seconds * 0.8))
        question_id, answer = entry.question.id, given_answer(entry, plan.skill, self._dice)
        given = {"pin": self._pin, "questionId": question_id, "answer": answer}
        try:
            await self._client.execute(ANSWER, {"input": given}, self._token)
        except GraphqlError as error:
            if error.reason != "QUESTION_LOCKED":
                raise


async def play_room(endpoints: Endpoints, username: str, password: str, plan: Plan, report: Report) -> None:
    """Open a room, play its quiz to the podium, and end it, also after a failure. Raises GraphqlError, ServiceError."""
    async with AsyncExitStack() as stack:
        service, operator = await stack.enter_async_context(quiz_service(endpoints))
        request = messages.ExportQuizRequest(quiz_id=plan.quiz_id)
        questions = (await call(service.ExportQuiz, request, token=operator)).definition.questions
        client = await stack.enter_async_context(GraphqlClient(endpoints.graphql))
        token = await client.login(username, password)
        host = await RoomHost.open(
            client,
            token,
            plan.quiz_id,
            maxPlayers=plan.players + FOR_PEOPLE,
            nicknames="GENERATED",
            frozenQuestions=1,
            proofOfWork=plan.proof_of_work,
        )
        try:
            report(invitation(host.opened, with_code=False))
            guests = await _seated(client, host.pin, plan)
            report(f"{len(guests)} players have joined")
            await _play(host, guests, {entry.question.id: entry for entry in questions}, plan, report)
        finally:
            # The first failure is the one to report; its cause may keep the room from ending as well.
            with suppress(GraphqlError, aiohttp.ClientError, TimeoutError):
                await host.close()


async def _seated(client: GraphqlClient, pin: str, plan: Plan) -> list[_Guest]:
    slots = asyncio.Semaphore(AT_ONCE)

    async def seat(number: int) -> _Guest:
        async with slots:
            guest = await client.execute(GUEST, {"nickname": f"Player-{number + 1}"})
            token = guest["continueAsGuest"]["accessToken"]
            challenge = None
            if plan.proof_of_work:
                challenge = (await client.execute(CHALLENGE, {"pin": pin}, token))["joinChallenge"]
            solution = "" if challenge is None else await asyncio.to_thread(solved, challenge)
            await client.execute(JOIN, {"input": {"pin": pin, "solution": solution}}, token)
            return _Guest(client, token, pin, number)

    return await asyncio.gather(*map(seat, range(plan.players)))


async def _play(
    host: RoomHost,
    guests: Sequence[_Guest],
    questions: Mapping[str, quiz_pb2.QuestionDefinition],
    plan: Plan,
    report: Report,
) -> None:
    await asyncio.sleep(plan.pause)  # everybody is seen in the lobby
    state = await host.next()
    while state["phase"] != "PODIUM":
        entry = questions[state["question"]["id"]]
        number, of_all = state["questionNumber"], state["questionCount"]
        answering = asyncio.gather(*(guest.answer(entry, plan) for guest in guests))
        try:
            answered = (await host.wait_for_answers(plan.seconds))["answered"]
            await host.lock()
            await answering
        finally:
            answering.cancel()
        report(f"question {number} of {of_all}: {answered} of {len(guests)} have answered")
        for _ in range(2):  # the reveal, the board
            await asyncio.sleep(plan.pause)
            state = await host.next()
        report(f"  leading: {_leaders(state)}")
        await asyncio.sleep(plan.pause)
        state = await host.next()
    report(f"podium: {_leaders(state)}")


def _leaders(state: State) -> str:
    return ", ".join(f"{each['nickname']} {each['points']}" for each in state["board"][:PODIUM])
