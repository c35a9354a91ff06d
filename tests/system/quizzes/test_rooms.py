"""A room over GraphQL, as its host, players and guests use it, while quiz is killed in a question and in an attempt."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from pymongo import AsyncMongoClient
from typer.testing import CliRunner

from services.cli.app import app
from services.cli.identity.accounts import grant_role
from services.cli.system.client import GraphqlClient, GraphqlError
from tests.deadline import deadline, eventually
from tests.factories import quiz_definition
from tests.imports import import_quiz
from tests.players import PASSWORD, endpoints, register, room_stream
from tests.servers import RunningStack, unique
from tests.system.quizzes.test_attempts import REVIEW, SAVE, START, ask, timed

ROOM = """pin roomId version phase players answered askedAt deadline question { id } rightAnswer { selectedOption }
  distribution { optionId count } board { rank nickname points } newestPlayers { nickname } proofOfWork nicknames frozen"""
OPEN = f"mutation ($input: OpenRoomInput!) {{ openRoom(input: $input) {{ {ROOM} joinUrl qrSvg }} }}"
JOIN = """mutation ($input: JoinRoomInput!) {
  joinRoom(input: $input) { rejoined outcome { seatId nickname } accessToken user { roles guestUntil } }
}"""
ANSWER = """mutation ($input: AnswerRoomQuestionInput!) {
  answerRoomQuestion(input: $input) { duplicate actionId answer { selectedOption } }
}"""
STATE = f"query ($pin: ID!) {{ room(pin: $pin) {{ {ROOM} }} }}"
OUTCOME = (
    "query ($pin: ID!) { myRoomOutcome(pin: $pin) { answer { selectedOption } verdict pointsAwarded points rank } }"
)
RESULTS = """query ($roomId: ID!) {
  roomResults(roomId: $roomId) {
    totalCount next questions { text answered right difficulty } players { nickname points } attempts { counted }
  }
}"""
EXPORT = "query { exportMyData { data } }"


@dataclass
class Room:
    """A room by its PIN, and the tokens of its host and its players by nickname."""

    client: GraphqlClient
    pin: str
    host: str
    players: dict[str, str]

    async def state(self) -> dict[str, Any]:
        data = await self.client.execute(STATE, {"pin": self.pin}, self.host)
        state: dict[str, Any] = data["room"]
        return state

    async def command(self, field: str, arguments: str = "") -> tuple[bool, dict[str, Any]]:
        """Carry out a command; return whether it took effect, and the room."""
        text = f'mutation {{ effect: {field}(pin: "{self.pin}"{arguments}) {{ applied room {{ {ROOM} }} }} }}'
        effect = (await self.client.execute(text, {}, self.host))["effect"]
        return effect["applied"], effect["room"]

    async def next(self) -> dict[str, Any]:
        applied, room = await self.command("nextStep")
        assert applied
        return room

    async def join(self, nickname: str, token: str | None) -> dict[str, Any]:
        data = await self.client.execute(JOIN, {"input": {"pin": self.pin, "nickname": nickname}}, token)
        joined: dict[str, Any] = data["joinRoom"]
        return joined

    async def answer(self, nickname: str, question: str, option: str) -> dict[str, Any]:
        given = {"pin": self.pin, "questionId": question, "answer": {"selectedOption": option}, "actionId": question}
        data = await self.client.execute(ANSWER, {"input": given}, self.players[nickname])
        recorded: dict[str, Any] = data["answerRoomQuestion"]
        return recorded

    async def outcome(self, nickname: str) -> dict[str, Any]:
        data = await self.client.execute(OUTCOME, {"pin": self.pin}, self.players[nickname])
        outcome: dict[str, Any] = data["myRoomOutcome"]
        return outcome


async def watch(
    url: str, token: str, pin: str, states: list[dict[str, Any]], own: list[dict[str, Any]] | None = None
) -> None:
    """Collect every state of a room that a stream shows until the room ends, opening it again where it breaks off.

    `own` gets the outcomes of the player.
    """
    while not states or states[-1]["phase"] != "ended":
        async with room_stream(url, token, pin) as events:
            async for event in events:
                if event.name == "me" and own is not None:
                    assert event.id == ""
                    assert event.data["version"] == states[-1]["version"], "it follows its state"
                    own.append(event.data)
                    continue
                assert (event.name, event.id.partition("-")[0]) == ("state", str(event.data["version"]))
                states.append(event.data)


async def shown(states: list[dict[str, Any]], phase: str) -> None:
    """Wait until the stream has shown a phase: it may leave out one that is soon over."""

    async def is_shown() -> bool:
        return any(state["phase"] == phase for state in states)

    await eventually(is_shown, f"the stream shows {phase}")


async def own_outcome(own: list[dict[str, Any]], version: int) -> dict[str, Any]:
    """Wait until a stream has shown its player's own outcome at a version, and return it."""

    async def is_shown() -> bool:
        return any(outcome["version"] == version for outcome in own)

    await eventually(is_shown, f"the stream shows the outcome at version {version}")
    return next(outcome for outcome in own if outcome["version"] == version)


async def status_of_stream(url: str, token: str, pin: str) -> int:
    headers = {"Authorization": f"Bearer {token}"}
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{url}/api/v1/rooms/{pin}/stream", headers=headers) as got,
    ):
        return got.status


async def test_a_room_and_an_attempt_lose_neither_answers_nor_time_when_quiz_is_killed(
    stack: RunningStack, client: GraphqlClient
) -> None:
    quiz_id = unique("room-")
    definition = quiz_definition(quiz_id)
    definition.rooms_count_on_boards = True
    await import_quiz(endpoints(stack), definition)
    host = await register(client)
    await grant_role(endpoints(stack), host.username, "author")
    author = await client.login(host.username, PASSWORD)
    options = {"countsOnBoards": True, "secondsPerQuestion": 600}
    opened = (await client.execute(OPEN, {"input": {"quizId": quiz_id, "options": options}}, author))["openRoom"]
    assert opened["joinUrl"] == f"{stack.http}/j/{opened['pin']}"
    assert opened["qrSvg"].startswith('<svg role="img" viewBox=')
    assert f"<title>QR code of the room {opened['pin']}</title>" in opened["qrSvg"]
    ada, ben = await register(client), await register(client)
    for token, may_host in ((author, True), (ada.access_token, False)):
        assert (await client.execute("{ me { mayHostRooms } }", {}, token))["me"]["mayHostRooms"] is may_host
    tokens = {"Ada": ada.access_token, "Ben": ben.access_token}
    room = Room(client, opened["pin"], author, tokens)
    seats = {nickname: await room.join(nickname, token) for nickname, token in tokens.items()}
    assert seats["Ada"]["user"] is seats["Ada"]["accessToken"] is None
    joined = await room.join("Gus", None)
    assert (joined["user"]["roles"], joined["outcome"]["nickname"]) == (["guest"], "Gus")
    guest = tokens["Gus"] = joined["accessToken"]
    assert {each["nickname"] for each in (await room.state())["newestPlayers"]} == {*tokens}

    states: list[dict[str, Any]] = []
    own: dict[str, list[dict[str, Any]]] = {nickname: [] for nickname in tokens}
    watching = asyncio.gather(
        watch(stack.http, guest, room.pin, states, own["Gus"]),
        watch(stack.http, ada.access_token, room.pin, [], own["Ada"]),
        watch(stack.http, author, room.pin, []),  # of whom has no seat, and gets nobody's outcome
    )
    await shown(states, "lobby")
    assert (await room.command("startRoom"))[1]["question"] == {"id": "q1"}
    await asyncio.gather(room.answer("Ada", "q1", "a"), room.answer("Gus", "q1", "b"))
    asked = await room.state()
    assert asked["deadline"] > asked["askedAt"]
    # An attempt that goes on after it, and one whose time is over by then or soon.
    long, short = await timed(stack, 3600), await timed(stack, 5, grace=0)
    attempts = {each: await ask(ada, START, id=each) for each in (long, short)}
    chosen = {"questionId": "q1", "selectedOption": "a"}
    for attempt in attempts.values():
        await ask(ada, SAVE, id=attempt["id"], answers=[chosen])
    pid = stack.pid_of("quiz")
    os.kill(pid, signal.SIGKILL)

    async def goes_on() -> bool:
        try:
            return bool((await room.state())["answered"] == 2)
        except (GraphqlError, aiohttp.ClientError):
            return False

    await eventually(goes_on, "the room goes on")
    assert stack.pid_of("quiz") != pid
    again = await room.state()
    assert [again[each] for each in ("askedAt", "deadline")] == [asked[each] for each in ("askedAt", "deadline")]
    kept = {"resumed": True, "answers": [{"questionId": "q1"}]}
    assert await ask(ada, START, id=long) == attempts[long] | kept
    assert await room.answer("Ada", "q1", "b") == {
        "duplicate": True,
        "actionId": "q1",
        "answer": {"selectedOption": "a"},
    }
    await room.answer("Ben", "q1", "a")
    again = await room.join("Ada", ada.access_token)
    assert (again["rejoined"], again["outcome"]) == (True, seats["Ada"]["outcome"])

    asked = await room.state()
    assert (asked["phase"], asked["rightAnswer"], asked["distribution"]) == ("QUESTION", None, [])
    assert (await room.outcome("Ada"))["verdict"] is None
    await room.next()
    revealed = await room.next()
    assert revealed["rightAnswer"] == {"selectedOption": "a"}
    assert revealed["distribution"] == [{"optionId": "a", "count": 2}, {"optionId": "b", "count": 1}]
    await shown(states, "reveal")
    judged = ("nickname", "verdict", "pointsAwarded", "extraTime", "deadline")
    for nickname, verdict, points in (("Ada", "RIGHT", 10), ("Gus", "WRONG", 0)):
        outcome = await own_outcome(own[nickname], revealed["version"])
        assert [outcome[each] for each in judged] == [nickname, verdict, points, "NONE", None]
        assert outcome["answer"]["questionId"] == "q1"
    after = await room.next()
    board = after["board"]
    for nickname, place in (("Ada", (1, 10)), ("Gus", (3, 0))):
        outcome = await own_outcome(own[nickname], after["version"])
        assert (outcome["nickname"], outcome["rank"], outcome["points"]) == (nickname, *place)
    assert [(each["rank"], each["nickname"], each["points"]) for each in board] == [
        (1, "Ada", 10),
        (1, "Ben", 10),
        (3, "Gus", 0),
    ]
    assert await room.outcome("Gus") == {
        "answer": {"selectedOption": "b"},
        "verdict": "WRONG",
        "pointsAwarded": 0,
        "points": 0,
        "rank": 3,
    }
    while (await room.next())["phase"] != "ENDED":
        pass
    async with deadline("the stream ends with the room"):
        await watching
    for nickname, outcomes in own.items():
        assert {outcome["nickname"] for outcome in outcomes} <= {nickname}, "nobody else's"
    orders = [(state["version"], state["players"] + state["answered"]) for state in states]
    assert orders == sorted(orders), "no state comes after a later one"
    assert all((state["rightAnswer"] is None) == (state["phase"] != "reveal") for state in states)
    reveal = next(state for state in states if state["phase"] == "reveal")
    assert reveal["rightAnswer"]["selectedOption"] == "a"
    assert reveal["question"]["options"][0] == {"id": "a", "text": "This"}
    assert await status_of_stream(stack.http, guest, room.pin) == 204
    assert await status_of_stream(stack.http, guest, "0000000") == 404
    results = (await client.execute(RESULTS, {"roomId": opened["roomId"]}, author))["roomResults"]
    expected = {"text": reveal["question"]["text"], "answered": 3, "right": 2, "difficulty": 2 / 3}
    assert (results["totalCount"], results["questions"][0]) == (3, expected)
    (seat,) = (await client.execute(EXPORT, {}, ada.access_token))["exportMyData"]["data"]["seats"]
    assert (seat["nickname"], seat["answers"][0]["answer"]["selectedOption"]) == ("Ada", "a")
    (led,) = (await client.execute(EXPORT, {}, author))["exportMyData"]["data"]["rooms"]
    assert (led["roomId"], led["quizId"], led["opened"]) == (opened["roomId"], quiz_id, True)
    assert {"START", "NEXT"} & {act["command"] for act in led["acts"]}

    async def counted() -> bool:
        entries = await ada.top({"kind": "QUIZ", "quizId": quiz_id})
        return {(each["username"], each["score"]) for each in entries} == {(ada.username, 10), (ben.username, 10)}

    await eventually(counted, "the answers of the accounts count on the quiz's board")

    async def noted() -> bool:
        results = (await client.execute(RESULTS, {"roomId": opened["roomId"]}, author))["roomResults"]
        return bool(results["attempts"] == [{"counted": True}, {"counted": True}])

    await eventually(noted, "the results say so")

    async def handed_in() -> bool:
        try:
            return bool((await ask(ada, REVIEW, id=attempts[short]["id"]))["pointsAwarded"] == 10)
        except GraphqlError as error:
            assert error.reason == "ACTION_NOT_FOUND"
            return False

    await eventually(handed_in, "the server hands in what was saved")


async def test_hosts_lead_a_room_by_commands_that_name_what_they_do(stack: RunningStack, client: GraphqlClient) -> None:
    quiz_id = unique("room-")
    await import_quiz(endpoints(stack), quiz_definition(quiz_id))
    token = await client.login(*endpoints(stack).moderator())
    options = {"secondsPerQuestion": 20}
    opened = (await client.execute(OPEN, {"input": {"quizId": quiz_id, "options": options}}, token))["openRoom"]
    room = Room(client, opened["pin"], token, {})
    seats = [await room.join(nickname, None) for nickname in ("Ada", "Ben")]
    room.players["Ada"] = seats[0]["accessToken"]
    with pytest.raises(GraphqlError, match="does not take REVEAL"):
        await room.command("reveal")
    once = f', expectedVersion: 1, commandId: "{uuid.uuid4()}"'
    for _ in range(2):
        applied, asked = await room.command("startRoom", once)
        assert (applied, asked["phase"], asked["version"]) == (True, "QUESTION", 2), "sent again, it changes nothing"
    assert not (await room.command("nextStep", ", expectedVersion: 1"))[0], "the room has moved on"
    later = (await room.command("extendQuestion", ", seconds: 30"))[1]
    assert later["deadline"] > asked["deadline"]
    await room.answer("Ada", "q1", "a")
    assert (await room.command("lockQuestion"))[1]["phase"] == "LOCKED"
    assert (await room.command("reveal"))[1]["rightAnswer"] == {"selectedOption": "a"}
    board = await room.next()
    _, frozen = await room.command("freezeBoard")
    assert (frozen["frozen"], frozen["board"]) == (True, board["board"])
    version = frozen["version"]
    assert (await room.command("freezeBoard"))[1]["version"] == version, "it stands still already"
    await room.next()
    await room.answer("Ada", "q2", "a")
    assert (await room.command("reveal"))[1]["phase"] == "REVEAL", "also from the open question"
    assert (await room.next())["board"] == board["board"]
    assert (await room.command("freezeBoard", ", frozen: false"))[1]["board"][0]["points"] == 20
    assert (await room.command("previousStep"))[1]["phase"] == "REVEAL"
    kick = f'mutation {{ kickPlayer(pin: "{room.pin}", seatId: "{seats[1]["outcome"]["seatId"]}") {{ players }} }}'
    assert (await client.execute(kick, {}, token))["kickPlayer"]["players"] == 1
    assert (await room.command("closeRoom"))[1]["phase"] == "ENDED"


async def test_a_caller_without_a_session_becomes_no_guest_of_a_room_that_does_not_let_them_in(
    stack: RunningStack, client: GraphqlClient
) -> None:
    quiz_id = unique("room-")
    await import_quiz(endpoints(stack), quiz_definition(quiz_id))
    token = await client.login(*endpoints(stack).moderator())
    costly = {"quizId": quiz_id, "options": {"proofOfWork": True}}
    pin = (await client.execute(OPEN, {"input": costly}, token))["openRoom"]["pin"]
    guests = await count_of_guests(stack)
    for missing, reason in (("0000000", "ROOM_NOT_FOUND"), ("1", "INVALID_ARGUMENT"), (pin, "INVALID_ARGUMENT")):
        with pytest.raises(GraphqlError) as refused:
            await Room(client, missing, token, {}).join("Ada", None)
        assert refused.value.reason == reason
    assert await count_of_guests(stack) == guests


async def count_of_guests(stack: RunningStack) -> int:
    mongo: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(stack.endpoints["stores"]["mongo"])
    async with mongo:
        return await mongo["topten_identity"]["users"].count_documents({"guest_until": {"$exists": True}})


async def test_commands_open_a_room_and_play_one_to_its_podium(
    stack: RunningStack, client: GraphqlClient, tmp_path: Path
) -> None:
    quiz_id = unique("room-")
    await import_quiz(endpoints(stack), quiz_definition(quiz_id))

    async def printed(*arguments: str) -> str:
        done = await asyncio.to_thread(CliRunner().invoke, app, [*arguments, "--data", str(stack.data)])
        assert done.exit_code == 0, done.stderr
        return done.stdout

    choices = ("--frozen-questions", "3", "--nicknames", "generated", "--lock-when-all-answered")
    opened = await printed("room", "open", quiz_id, "--seconds", "20", "--proof-of-work", *choices)
    counted = ["room", "open", quiz_id, "--counts", "--data", str(stack.data)]
    refused = await asyncio.to_thread(CliRunner().invoke, app, counted)
    assert refused.exit_code == 1
    assert "--counts: must be false for this quiz" in " ".join(refused.stderr.split())
    unknown = ["room", "open", quiz_id, "--co-host", "nobody", "--data", str(stack.data)]
    assert "No player has this ID." in (await asyncio.to_thread(CliRunner().invoke, app, unknown)).stderr
    played = await printed(
        *("demo", "room", "--quiz", quiz_id, "--players", "8", "--seconds", "0.2", "--pause", "0", "--proof-of-work")
    )
    username, password = endpoints(stack).moderator()
    token = await client.login(username, password)

    async def room(output: str) -> Any:
        pin = output.partition("/j/")[2].partition("\n")[0]
        assert f"join at {stack.http}/j/{pin}\n" in output
        return (await client.execute(STATE, {"pin": pin}, token))["room"]

    lobby, ended = await room(opened), await room(played)
    assert (lobby["phase"], ended["phase"]) == ("LOBBY", "ENDED")
    assert (lobby["proofOfWork"], lobby["nicknames"], lobby["frozen"]) == (True, "GENERATED", True)
    assert ended["proofOfWork"]
    file = tmp_path / f"room-{ended['pin']}-players.csv"
    results = await printed("room", "results", ended["roomId"], "--format", "players-csv", "--to", str(tmp_path))
    assert results == f"{file}\n"
    assert len(file.read_text(encoding="utf-8-sig").splitlines()) == 9
    assert "8 players have joined" in played
    assert re.search(r"podium: (\w+ \w+ \d{3} \d+, ){2}", played)
