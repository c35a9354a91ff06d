"""Rooms: so many players in one room, who join within 10 s and answer within 5 s; and the same players in rooms of 25 at once.

    python -m tests.bench rooms [PLAYERS]

Every player is a guest with a token and an open stream of their room. Joins and answers are an open loop through GraphQL:
each is sent on time, whether or not earlier ones were answered, and again as long as the server says that it is overloaded.
Then the host locks and reveals, and each stream notes when the reveal arrives. Nobody may be lost or count twice: seats,
answers and results add up, and a tenth of the answers is sent again.

Floors of the same run: as many single durable inserts at the same times; and as many bytes as the reveal has, written by a
bare server of one loop to as many connections of this process. CPU is what the operating system charges to all processes and
stores.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from pymongo import AsyncMongoClient, WriteConcern

from services.cli.system.client import GraphqlClient
from tests.bench.price import cpu_seconds
from tests.bench.raw_http import RawClient
from tests.factories import quiz_definition
from tests.imports import import_quiz
from tests.players import endpoints
from tests.servers import RunningStack, running_stack, unique

PLAYERS: Final = 5000
SMALL_ROOM: Final = 25
JOIN_SECONDS: Final = 10.0
ANSWER_SECONDS: Final = 5.0
AGAIN: Final = 10
AT_ONCE: Final = 64
CONNECTIONS: Final = 1000
REVEAL: Final = b'"reveal"'
RATES: Final = ("QUERY", "SUBMIT", "WRITE", "GUEST", "ROOM", "ROOM_JOIN", "STREAM")
GUEST: Final = "mutation ($nickname: String!) { continueAsGuest(nickname: $nickname) { accessToken } }"
OPEN: Final = "mutation ($input: OpenRoomInput!) { openRoom(input: $input) { pin roomId } }"
JOIN: Final = "mutation ($input: JoinRoomInput!) { joinRoom(input: $input) { outcome { seatId } } }"
ANSWER: Final = "mutation ($input: AnswerRoomQuestionInput!) { answerRoomQuestion(input: $input) { duplicate } }"
STATE: Final = "query ($pin: ID!) { room(pin: $pin) { players answered } }"
NEXT: Final = """mutation ($pin: ID!, $expectedVersion: Int!) {
  nextStep(pin: $pin, expectedVersion: $expectedVersion) { applied room { version } }
}"""
CLOSE: Final = "mutation ($pin: ID!) { closeRoom(pin: $pin) { applied } }"
RESULTS: Final = "query ($id: ID!) { roomResults(roomId: $id) { totalCount questions { answered right } } }"


class Stream(asyncio.Protocol):
    """An open stream that notes when a reveal arrives. It reads nothing else, so that it costs little."""

    def __init__(self) -> None:
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.revealed: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self._tail = b""

    def data_received(self, data: bytes) -> None:
        """Look for the reveal, also where it is cut in two."""
        if not self.opened.done():
            self.opened.set_result(None)
        if not self.revealed.done() and REVEAL in self._tail + data:
            self.revealed.set_result(time.perf_counter())
        self._tail = data[-len(REVEAL) :]


@dataclass
class Room:
    """A room, its players' tokens and their streams."""

    pin: str
    room_id: str
    tokens: Sequence[str]
    streams: list[Stream] = field(default_factory=list)


class Step(NamedTuple):
    """What a step cost: CPU seconds by process, those of the load generator, and how many requests were sent again."""

    cpu: Mapping[str, float]
    generator: float
    sent_again: int


class Outcome(NamedTuple):
    """One arrangement of the players: sorted seconds of each step, and what it cost."""

    name: str
    joins: Sequence[float]
    answers: Sequence[float]
    reveals: Sequence[float]
    steps: Mapping[str, Step]


class Floor(NamedTuple):
    """What the machine does without us: sorted seconds of inserts and of the bare stream, CPU seconds of the inserts."""

    joins: Sequence[float]
    answers: Sequence[float]
    reveals: Sequence[float]
    cpu: float


async def on_time(act: Callable[[int], Awaitable[object]], count: int, seconds: float) -> list[float]:
    """Start `count` acts within some seconds, each on time; return the seconds from its time to its end, sorted."""
    begun = time.perf_counter()

    async def one(number: int) -> float:
        due = begun + number * seconds / count
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        await act(number)
        return time.perf_counter() - due

    return sorted(await asyncio.gather(*map(one, range(count))))


class Crowd:
    """The players, and the hosts, of one system."""

    def __init__(self, stack: RunningStack, client: RawClient, host: str, quiz_id: str) -> None:
        self._stack = stack
        self._client = client
        self._host = host
        self._quiz_id = quiz_id
        self.sent_again = 0

    async def ask(self, document: str, token: str | None, **variables: Any) -> Any:
        """Return the only field of a response. Nothing may be refused, but for what the server asks to be sent again."""
        body = {"query": document, "variables": variables}
        while True:
            result = await self._client.post(body, token=token)
            if "errors" not in result:
                (found,) = result["data"].values()
                return found
            extensions = result["errors"][0]["extensions"]
            assert extensions["reason"] == "UNAVAILABLE", result
            self.sent_again += 1
            await asyncio.sleep(extensions.get("retryAfter", 1) * random.uniform(1, 2))

    async def guests(self, count: int) -> list[str]:
        """Return the tokens of new guests."""
        turns = asyncio.Semaphore(AT_ONCE)

        async def one(number: int) -> str:
            async with turns:
                return str((await self.ask(GUEST, None, nickname=f"guest-{number}"))["accessToken"])

        return list(await asyncio.gather(*map(one, range(count))))

    async def open(self, tokens: Sequence[str]) -> Room:
        """Open a room, and a stream of it for each player."""
        options = {"quizId": self._quiz_id, "options": {"maxPlayers": len(tokens)}}
        opened = await self.ask(OPEN, self._host, input=options)
        room = Room(opened["pin"], opened["roomId"], tokens)
        turns = asyncio.Semaphore(AT_ONCE)

        async def watch(token: str) -> Stream:
            async with turns:
                return await open_stream(self._stack.http, room.pin, token)

        room.streams.extend(await asyncio.gather(*map(watch, tokens)))
        return room

    async def next(self, room: Room, version: int) -> int:
        """Take the next step of a room, and return its version."""
        advanced = await self.ask(NEXT, self._host, pin=room.pin, expectedVersion=version)
        assert advanced["applied"]
        return int(advanced["room"]["version"])

    async def play(self, name: str, rooms: Sequence[Room]) -> Outcome:
        """Play a question in all rooms at once, and check that everybody counts once."""
        meter = Meter(self._stack, self)
        seats = [
            (room, token) for number in range(len(rooms[0].tokens)) for room in rooms for token in [room.tokens[number]]
        ]
        taken: set[str] = set()

        async def join(number: int) -> None:
            room, token = seats[number]
            joined = await self.ask(JOIN, token, input={"pin": room.pin, "nickname": f"Player {number}"})
            taken.add(joined["outcome"]["seatId"])

        async def answer(number: int) -> None:
            room, token = seats[number]
            given = {"selectedOption": "a" if number // len(rooms) % 2 else "b"}
            await self.ask(ANSWER, token, input={"pin": room.pin, "questionId": "q1", "answer": given})

        async def again(number: int) -> None:
            room, token = seats[number * AGAIN]
            given = {"pin": room.pin, "questionId": "q1", "answer": {"selectedOption": "a"}}
            assert (await self.ask(ANSWER, token, input=given))["duplicate"]

        joins = await on_time(join, len(seats), JOIN_SECONDS)
        meter.read("joins")
        versions = await asyncio.gather(*(self.next(room, 1) for room in rooms))
        meter.read("questions")
        answers = await on_time(answer, len(seats), ANSWER_SECONDS)
        meter.read("answers")
        await on_time(again, len(seats) // AGAIN, 1.0)
        meter.read("answers again")

        async def reveal(room: Room, version: int) -> list[float]:
            begun = time.perf_counter()
            await self.next(room, await self.next(room, version))
            return [at - begun for at in await asyncio.gather(*(stream.revealed for stream in room.streams))]

        revealed = await asyncio.gather(*map(reveal, rooms, versions))
        meter.read("reveals")
        assert len(taken) == len(seats), "a seat for each player"
        await asyncio.gather(*map(self._check, rooms))
        return Outcome(name, joins, answers, sorted(at for room in revealed for at in room), meter.steps)

    async def _check(self, room: Room) -> None:
        state = await self.ask(STATE, self._host, pin=room.pin)
        players = len(room.tokens)
        assert (state["players"], state["answered"]) == (players, players), state
        results = await self.ask(RESULTS, self._host, id=room.room_id)
        assert (results["totalCount"], results["questions"][0]["answered"]) == (players, players), results
        # Every other player has chosen the right option; what was sent again changed nothing.
        assert results["questions"][0]["right"] == players // 2, results
        await self.ask(CLOSE, self._host, pin=room.pin)


class Meter:
    """Measures what each step costs, from the end of the step before it."""

    def __init__(self, stack: RunningStack, crowd: Crowd) -> None:
        self._stack = stack
        self._crowd = crowd
        self.steps: dict[str, Step] = {}
        self._last = self._read()

    def read(self, step: str) -> None:
        """Note the cost of a step that ends now."""
        last, self._last = self._last, self._read()
        spent = {process: seconds - last.cpu[process] for process, seconds in self._last.cpu.items()}
        generator, sent_again = self._last.generator - last.generator, self._last.sent_again - last.sent_again
        self.steps[step] = Step(spent, generator, sent_again)

    def _read(self) -> Step:
        return Step(cpu_seconds(self._stack), time.process_time(), self._crowd.sent_again)


async def open_stream(http: str, pin: str, token: str) -> Stream:
    """Open the stream of a room."""
    target = urlsplit(http)
    transport, stream = await asyncio.get_running_loop().create_connection(
        Stream, target.hostname or "", target.port or 80
    )
    head = f"GET /api/v1/rooms/{pin}/stream HTTP/1.1\r\nHost: {target.netloc}\r\nAuthorization: Bearer {token}\r\n\r\n"
    transport.write(head.encode())
    await stream.opened
    return stream


@asynccontextmanager
async def bare_server(connections: int) -> AsyncIterator[tuple[list[asyncio.StreamWriter], list[Stream]]]:
    """A server that only writes, and the streams that are connected to it."""
    writers: list[asyncio.StreamWriter] = []

    async def accept(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        writer.write(b"\n")

    server = await asyncio.start_server(accept, "127.0.0.1", 0, backlog=1024)
    host, port = server.sockets[0].getsockname()
    streams = []
    async with server:
        for _ in range(connections):
            _, stream = await asyncio.get_running_loop().create_connection(Stream, host, port)
            streams.append(stream)
        await asyncio.gather(*(stream.opened for stream in streams))
        yield writers, streams
        for writer in writers:
            writer.close()


async def floor(stack: RunningStack, players: int) -> Floor:
    """Measure plain inserts at the times of joins and of answers, and a bare stream."""
    mongo: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(stack.endpoints["stores"]["mongo"])
    async with mongo:
        rows = mongo["bench"].get_collection("rooms", write_concern=WriteConcern("majority", j=True))
        mine, theirs = time.process_time(), cpu_seconds(stack)["mongo"]
        insert = lambda number: rows.insert_one({"number": number, "body": "x" * 300})  # noqa: E731  # names one expression
        joins = await on_time(insert, players, JOIN_SECONDS)
        answers = await on_time(insert, players, ANSWER_SECONDS)
        cpu = time.process_time() - mine + cpu_seconds(stack)["mongo"] - theirs
        await mongo.drop_database("bench")
    body = json.dumps({"phase": "reveal", "body": "x" * 1500}).encode()
    async with bare_server(players) as (writers, streams):
        begun = time.perf_counter()
        for writer in writers:
            writer.write(body)
        reveals = sorted(at - begun for at in await asyncio.gather(*(stream.revealed for stream in streams)))
    return Floor(joins, answers, reveals, cpu)


async def measure(stack: RunningStack, players: int) -> tuple[list[Outcome], Floor]:
    """Measure one room, rooms of 25, and the floors."""
    quiz_id = unique("bench-")
    await import_quiz(endpoints(stack), quiz_definition(quiz_id))
    username, password = endpoints(stack).moderator()
    async with GraphqlClient(endpoints(stack).graphql) as client:
        host = await client.login(username, password)
    players_client = RawClient(endpoints(stack).graphql, limit=CONNECTIONS)
    with closing(players_client):
        crowd = Crowd(stack, players_client, host, quiz_id)
        tokens = await crowd.guests(players)
        outcomes = [await crowd.play("one room", [await crowd.open(tokens)])]
        groups = [tokens[start : start + SMALL_ROOM] for start in range(0, players, SMALL_ROOM)]
        rooms = [await crowd.open(group) for group in groups]
        outcomes.append(await crowd.play(f"{len(rooms)} rooms of {SMALL_ROOM}", rooms))
    return outcomes, await floor(stack, players)


def show(outcomes: Sequence[Outcome], floor: Floor, players: int) -> None:
    """Print a table of times and one of CPU."""
    print(f"| {players:,} players | step | p50 | p99 | p50 × its floor | p99 × its floor |")
    print("| --- | --- | --- | --- | --- | --- |")
    for outcome in outcomes:
        for step in ("joins", "answers", "reveals"):
            found, under = (
                [times[len(times) // 2], times[len(times) * 99 // 100]]
                for times in (getattr(outcome, step), getattr(floor, step))
            )
            cells = " | ".join(f"{seconds * 1000:,.0f} ms" for seconds in found)
            ratios = " | ".join(f"{seconds / least:.1f}" for seconds, least in zip(found, under, strict=True))
            print(f"| {outcome.name} | {step} | {cells} | {ratios} |")
    print("\n| CPU ms a player | sum | × floor's CPU | by process | load generator | sent again |")
    print("| --- | --- | --- | --- | --- | --- |")
    for outcome in outcomes:
        for name, cost in {**outcome.steps, "all": total(outcome.steps.values())}.items():
            each = {process: spent / players * 1000 for process, spent in cost.cpu.items()}
            parts = ", ".join(f"{process} {spent:.2f}" for process, spent in each.items() if spent >= 0.01)
            ratio = sum(cost.cpu.values()) / floor.cpu
            print(
                f"| {outcome.name}, {name} | {sum(each.values()):.2f} | {ratio:.1f} | {parts} "
                f"| {cost.generator / players * 1000:.2f} | {cost.sent_again:,} |"
            )


def total(steps: Iterable[Step]) -> Step:
    """Return the cost of steps together."""
    each = list(steps)
    cpu = {process: sum(step.cpu[process] for step in each) for process in each[0].cpu}
    return Step(cpu, sum(step.generator for step in each), sum(step.sent_again for step in each))


def main(arguments: Sequence[str] = ()) -> None:
    """Measure, and print the result."""
    sizes = [int(each) for each in arguments if each.isdigit()]
    # Rooms of 25 are full.
    players = max(1, (sizes[0] if sizes else PLAYERS) // SMALL_ROOM) * SMALL_ROOM
    settings = {f"TOPTEN_EDGE_RATE_{name}": "-,-" for name in RATES}
    settings |= {"TOPTEN_EDGE_STREAM_MAX_PER_ADDRESS": "20000", "TOPTEN_EDGE_STREAM_MAX_PER_USER": "20000"}
    with running_stack(settings) as stack:
        outcomes, under = asyncio.run(measure(stack, players))
    show(outcomes, under, players)
