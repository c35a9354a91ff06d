"""A room over gRPC, GraphQL and its stream: in every state each caller gets the same facts and the same refusals."""

from __future__ import annotations

import asyncio
import itertools
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from topten.room.v1.room_pb2 import RoomCommand

from services.cli.identity.accounts import grant_role
from tests.deadline import eventually
from tests.factories import quiz_definition
from tests.imports import import_quiz
from tests.players import PASSWORD, endpoints, register, room_stream
from tests.servers import RunningStack, unique
from tests.system.quizzes.both_ways import OK, BothWays, both_ways, facts, selection

ROOM: Final = selection("Room", "joinUrl", "qrSvg")
OUTCOME: Final = selection("RoomOutcome")
SEAT: Final = selection("SeatExtraTime")
GUEST: Final = 'mutation { continueAsGuest(nickname: "Gus") { accessToken } }'
NOBODY: Final = str(uuid.uuid4())
# The commands by their fields in GraphQL, and the phases that take each.
COMMANDS: Final = {
    "startRoom": ("START", ("LOBBY",)),
    "nextStep": ("NEXT", ("LOBBY", "QUESTION", "LOCKED", "REVEAL", "BOARD", "PODIUM")),
    "previousStep": ("BACK", ("BOARD", "PODIUM")),
    "lockQuestion": ("LOCK", ("QUESTION",)),
    "extendQuestion": ("EXTEND", ("QUESTION",)),
    "reveal": ("REVEAL", ("QUESTION", "LOCKED")),
    "freezeBoard": ("FREEZE", ("LOBBY", "QUESTION", "LOCKED", "REVEAL", "BOARD")),
    "closeRoom": ("END", ("LOBBY", "QUESTION", "LOCKED", "REVEAL", "BOARD", "PODIUM")),
}
PHASES: Final = "LOBBY QUESTION LOCKED REVEAL BOARD QUESTION LOCKED REVEAL BOARD PODIUM ENDED".split()
UNUSED: Final = 1_000_000


class Asked(NamedTuple):
    """A call as both take it, and who makes it."""

    name: str
    method: str
    fields: dict[str, Any]
    document: str
    callers: str = "host ada gus stranger nobody"


@dataclass
class Game:
    """A room, and the tokens of its callers by name; that of nobody is empty."""

    both: BothWays
    url: str
    pin: str
    room_id: str
    tokens: dict[str, str]
    reasons: dict[tuple[str, str, str], str] = field(default_factory=dict)

    async def compare(self, phase: str, asked: Asked) -> None:
        """Make a call both ways as each of its callers: the same reason, and of what is read the same facts."""
        await asyncio.gather(*(self._compare((phase, asked.name, caller), asked) for caller in asked.callers.split()))

    async def _compare(self, place: tuple[str, str, str], asked: Asked) -> None:
        token = self.tokens[place[2]]
        over_grpc = await self.both.grpc(asked.method, token, asked.fields)
        over_graphql = await self.both.graphql(asked.document, token)
        assert over_grpc.reason == over_graphql.reason, place
        self.reasons[place] = over_grpc.reason
        if over_grpc.reason == OK and asked.name == "room":
            assert room_facts(over_grpc.facts["frame"]) == over_graphql.facts, place
        elif over_grpc.reason == OK and asked.name == "outcome":
            assert over_grpc.facts["outcome"] == over_graphql.facts, place
        elif over_grpc.reason == OK and asked.name in COMMANDS:
            assert not {"applied"} & {*over_grpc.facts, *over_graphql.facts}, "it names a version of no room"
            assert room_facts(over_grpc.facts["frame"]) == over_graphql.facts["room"], place

    async def stream_is_the_same(self, caller: str) -> None:
        """Wait until a new stream begins with the room, and after it the caller's own outcome, as gRPC tells them."""
        token, own = self.tokens[caller], {"pin": self.pin}
        frame = room_facts((await self.both.grpc("room.GetRoom", token, own)).facts["frame"])
        outcome = (await self.both.grpc("room.GetRoomOutcome", token, own)).facts["outcome"]

        async def is_the_same() -> bool:
            async with room_stream(self.url, token, self.pin) as events:
                told: dict[str, Any] = {}
                async for event in events:
                    told[event.name] = facts(event.data)
                    if event.name == "me":
                        break
            state, me = told["state"], told["me"]
            return (state | {"phase": state["phase"].upper()}, me) == (frame, outcome | {"version": frame["version"]})

        await eventually(is_the_same, f"the stream of {caller} begins with {frame['phase']}")

    async def give_full_points(self, caller: str, *, over_grpc: bool) -> None:
        """Have the host give a player full points one way, and take the other way, which tells the same."""
        own = {"pin": self.pin}
        seat_id = (await self.both.grpc("room.GetRoomOutcome", self.tokens[caller], own)).facts["outcome"]["seatId"]
        given = f'pin: "{self.pin}", seatId: "{seat_id}", extraTime: NONE, fullPoints: true'
        document = f"mutation {{ setExtraTime({given}) {SEAT} }}"
        fields = own | {"seatId": seat_id, "extraTime": "EXTRA_TIME_NONE", "fullPoints": True}
        told: dict[bool, Any] = {}
        for way in (over_grpc, not over_grpc):
            if way:
                told[way] = (await self.both.grpc("room.SetExtraTime", self.tokens["host"], fields)).facts["extraTimes"]
            else:
                told[way] = (await self.both.graphql(document, self.tokens["host"])).facts
        assert told[True] == told[False]
        assert {"seatId": seat_id, "extraTime": "NONE", "fullPoints": True} in told[True]

    async def step(self, *, over_grpc: bool) -> None:
        """Have the host take the next step, one way or the other."""
        token = self.tokens["host"]
        if over_grpc:
            command = {"pin": self.pin, "command": "ROOM_COMMAND_NEXT", "commandId": str(uuid.uuid4())}
            told = await self.both.grpc("room.AdvanceRoom", token, command)
        else:
            told = await self.both.graphql(f'mutation {{ nextStep(pin: "{self.pin}") {{ applied }} }}', token)
        assert told.facts["applied"]

    async def answer(self, number: int) -> None:
        """Have Ada answer over gRPC and then over GraphQL, and Gus the other way round: the first answer stays."""
        for caller, ways in (("ada", ("grpc", "graphql")), ("gus", ("graphql", "grpc"))):
            token, question = self.tokens[caller], f"q{number}"
            asked, told = answer(self.pin, question, "b" if (caller, number) == ("gus", 1) else "a"), {}
            for way in ways:
                if way == "grpc":
                    told[way] = (await self.both.grpc(asked.method, token, asked.fields)).facts
                else:
                    told[way] = (await self.both.graphql(asked.document, token)).facts
            given = [told[way].pop("duplicate", False) for way in ways]
            assert given == [False, True]
            assert told["grpc"] == told["graphql"], caller


def room_facts(frame: dict[str, Any]) -> dict[str, Any]:
    """Return a frame with the names of `Room`, which has two of the options and not the changes within a version."""
    told = {key: each for key, each in frame.items() if key not in ("revision", "changes", "options")}
    options = frame.get("options", {})
    shown = {
        "version": int(frame["revision"]),
        "proofOfWork": options.get("proofOfWork"),
        "nicknames": options["nicknames"],
    }
    named: dict[str, Any] = facts(told | shown)
    return named


def answer(pin: str, question: str, option: str) -> Asked:
    given = f'pin: "{pin}", questionId: "{question}", answer: {{selectedOption: "{option}"}}'
    return Asked(
        "answer",
        "room.AnswerRoomQuestion",
        {"pin": pin, "answer": {"questionId": question, "selectedOption": option}},
        f"mutation {{ answerRoomQuestion(input: {{{given}}}) "
        "{ answer { questionId selectedOption } receivedAt duplicate } }",
    )


def reads(pin: str, room_id: str) -> Iterator[Asked]:
    yield Asked("room", "room.GetRoom", {"pin": pin}, f'{{ room(pin: "{pin}") {ROOM} }}')
    yield Asked("outcome", "room.GetRoomOutcome", {"pin": pin}, f'{{ myRoomOutcome(pin: "{pin}") {OUTCOME} }}')
    yield Asked("hosts", "room.ListRoomHosts", {"pin": pin}, f'{{ roomHosts(pin: "{pin}") {{ userId }} }}')
    yield Asked("challenge", "room.GetJoinChallenge", {"pin": pin}, f'{{ joinChallenge(pin: "{pin}") {{ salt }} }}')
    results = f'{{ roomResults(roomId: "{room_id}") {{ totalCount }} }}'
    yield Asked("results", "room.GetRoomResults", {"roomId": room_id}, results)
    document = f'{{ roomResultsFile(roomId: "{room_id}", format: JSON) {{ name }} }}'
    fields = {"roomId": room_id, "format": "ROOM_RESULTS_FORMAT_JSON"}
    yield Asked("file", "room.ExportRoomResults", fields, document)


def commands(pin: str) -> Iterator[Asked]:
    """Yield every command. It names a version that the room does not have, so that none takes effect."""
    for name, (command, _) in COMMANDS.items():
        seconds = 5 if command == "EXTEND" else 0
        more = f", seconds: {seconds}" if seconds else ""
        fields = {
            "pin": pin,
            "command": RoomCommand.Value(f"ROOM_COMMAND_{command}"),
            "expectedRevision": UNUSED,
            "commandId": str(uuid.uuid4()),
            "seconds": seconds,
        }
        document = f'mutation {{ {name}(pin: "{pin}", expectedVersion: {UNUSED}{more}) {{ applied room {ROOM} }} }}'
        yield Asked(name, "room.AdvanceRoom", fields, document, "host ada gus nobody")


def refused_commands(pin: str, phase: str) -> Iterator[Asked]:
    """Yield the commands that the phase does not take, for the version that the room has."""
    for asked in commands(pin):
        if phase not in COMMANDS[asked.name][1]:
            document = asked.document.replace(f", expectedVersion: {UNUSED}", "")
            yield asked._replace(fields=asked.fields | {"expectedRevision": 0}, document=document, callers="host")


def others(pin: str, host: str) -> Iterator[Asked]:
    """Yield calls about players and hosts that nobody may make, or whose player or host does not exist."""
    kick = f'mutation {{ kickPlayer(pin: "{pin}", seatId: "{NOBODY}") {{ version }} }}'
    yield Asked("kick", "room.KickFromRoom", {"pin": pin, "seatId": NOBODY}, kick)
    given = f'pin: "{pin}", seatId: "{NOBODY}", extraTime: DOUBLE, fullPoints: true'
    fields = {"pin": pin, "seatId": NOBODY, "extraTime": "EXTRA_TIME_DOUBLE", "fullPoints": True}
    yield Asked("time", "room.SetExtraTime", fields, f"mutation {{ setExtraTime({given}) {{ seatId }} }}")
    for name, method, user_id in (
        ("addRoomHost", "room.AddRoomHost", NOBODY),
        ("removeRoomHost", "room.RemoveRoomHost", host),
    ):
        document = f'mutation {{ {name}(pin: "{pin}", userId: "{user_id}") {{ version }} }}'
        yield Asked(name, method, {"pin": pin, "userId": user_id}, document)
    code = f'mutation {{ createSeatCode(pin: "{pin}") {{ code }} }}'
    yield Asked("code", "room.CreateSeatCode", {"pin": pin}, code, "host ada stranger nobody")
    move = f'mutation {{ moveSeat(pin: "{pin}", code: "AAAA-AAAA") {{ rejoined }} }}'
    yield Asked("move", "room.MoveSeat", {"pin": pin, "code": "AAAA-AAAA"}, move)
    lock = f'mutation {{ lockRoom(pin: "{pin}", locked: true) {{ version }} }}'
    yield Asked("lock", "room.LockRoom", {"pin": pin, "locked": True}, lock, "ada gus stranger nobody")


def join(pin: str, callers: str) -> Asked:
    document = f'mutation {{ joinRoom(input: {{pin: "{pin}", nickname: "Somebody"}}) {{ rejoined }} }}'
    return Asked("join", "room.JoinRoom", {"pin": pin, "nickname": "Somebody"}, document, callers)


async def opened(stack: RunningStack, both: BothWays) -> tuple[Game, str]:
    """Open a room of two questions, whose board freezes for the second; return it with the ID of its host."""
    definition = quiz_definition(unique("room-"))
    definition.questions[0].explanation = "Because it is this."
    await import_quiz(endpoints(stack), definition)
    host, ada, late, stranger = [await register(both.client) for _ in range(4)]
    await grant_role(endpoints(stack), host.username, "author")
    token = await both.client.login(host.username, PASSWORD)
    options = {"secondsPerQuestion": 600, "frozenQuestions": 1}
    told = await both.grpc("room.OpenRoom", token, {"quizId": definition.quiz_id, "options": options})
    frame = told.facts["frame"]
    gus = (await both.graphql(GUEST, "")).facts["accessToken"]
    accounts = {"ada": ada.access_token, "late": late.access_token, "stranger": stranger.access_token}
    tokens = accounts | {"host": token, "gus": gus, "nobody": ""}
    for caller, over_grpc in (("ada", False), ("late", False), ("gus", True)):
        asked = join(frame["pin"], caller)
        if over_grpc:
            assert (await both.grpc(asked.method, tokens[caller], asked.fields | {"nickname": caller})).reason == OK
        else:
            document = asked.document.replace("Somebody", caller)
            assert (await both.graphql(document, tokens[caller])).reason == OK
    return Game(both, stack.http, frame["pin"], frame["roomId"], tokens), host.user_id


async def test_every_state_of_a_room_has_the_same_facts_and_refusals_over_grpc_graphql_and_the_stream(
    stack: RunningStack,
) -> None:
    async with both_ways(stack) as both:
        game, host = await opened(stack, both)
        pin, questions, shown = game.pin, 0, set[str]()
        await game.give_full_points("ada", over_grpc=True)
        await game.give_full_points("gus", over_grpc=False)
        for number, phase in enumerate(PHASES):
            if number:
                await game.step(over_grpc=bool(number % 2))
            if phase == "QUESTION":
                questions += 1
                await game.answer(questions)
            for asked in reads(pin, game.room_id):
                await game.compare(phase, asked)
            state = (await both.grpc("room.GetRoom", game.tokens["ada"], {"pin": pin})).facts["frame"]
            assert state["phase"] == phase
            if phase in shown:
                continue
            shown.add(phase)
            for asked in itertools.chain(
                commands(pin), refused_commands(pin, phase), others(pin, host), [join(pin, "ada gus")]
            ):
                await game.compare(phase, asked)
            await game.compare(phase, answer(pin, f"q{max(questions, 1)}", "a"))
            if phase not in ("QUESTION", "LOCKED"):
                await game.compare(phase, answer(pin, f"q{max(questions, 1)}", "a")._replace(callers="late"))
            if phase == "ENDED":
                await game.compare(phase, join(pin, "host stranger"))
            else:
                await game.stream_is_the_same("ada")
                await game.stream_is_the_same("gus")
        for missing in ("0000000", "12"):
            for asked in itertools.chain(
                reads(missing, NOBODY), commands(missing), others(missing, host), [answer(missing, "q1", "a")]
            ):
                await game.compare(missing, asked)
    assert_refusals(game.reasons)


def assert_refusals(reasons: dict[tuple[str, str, str], str]) -> None:
    """What both ways agree on is what the contract says."""
    assert all(reason == "UNAUTHENTICATED" for (_, _, caller), reason in reasons.items() if caller == "nobody"), (
        "whatever is asked without a token"
    )
    for (phase, name, caller), reason in reasons.items():
        if name in COMMANDS and caller in ("ada", "gus") and phase in PHASES:
            assert reason == "PERMISSION_DENIED", (phase, name, caller)
        if name in COMMANDS and caller == "host" and phase in PHASES:
            assert reason == (OK if phase in COMMANDS[name][1] else "INVALID_ARGUMENT"), (phase, name)
        if phase == "0000000" and caller != "nobody":
            assert reason == "ROOM_NOT_FOUND" or (caller, reason) == ("gus", "PERMISSION_DENIED"), (name, caller)
        if phase == "12" and caller != "nobody" and name not in ("results", "file"):
            assert reason in ("INVALID_ARGUMENT", "PERMISSION_DENIED"), (name, caller)
    assert {reasons[phase, "answer", "late"] for phase in ("LOBBY", "REVEAL", "BOARD", "PODIUM")} == {"QUESTION_LOCKED"}
    assert reasons["BOARD", "answer", "ada"] == OK, "the first answer is told again"
    assert [reasons["ENDED", name, "host"] for name in ("join", "kick")] == ["ROOM_CLOSED"] * 2
    assert [reasons["LOBBY", name, "host"] for name in ("kick", "time", "addRoomHost")] == ["PLAYER_NOT_FOUND"] * 3
    assert [reasons["LOBBY", name, "stranger"] for name in ("outcome", "answer")] == ["PLAYER_NOT_FOUND"] * 2
