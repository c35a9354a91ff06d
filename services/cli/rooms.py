"""Rooms as their hosts lead them, through the public interface."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import time
from base64 import b64decode, b64encode
from collections.abc import Mapping
from typing import Any, Final

from services.cli.system.client import GraphqlClient

STATE: Final = """roomId pin version phase questionNumber questionCount players answered question { id }
  rightAnswer { selectedOption } board { rank nickname points }"""
OPEN: Final = f"mutation ($input: OpenRoomInput!) {{ openRoom(input: $input) {{ title joinUrl {STATE} }} }}"
READ: Final = f"query ($pin: ID!) {{ room(pin: $pin) {{ {STATE} }} }}"
RESULTS: Final = """query ($roomId: ID!, $format: RoomResultsFormat!) {
  roomResultsFile(roomId: $roomId, format: $format) { name base64 }
}"""
READ_EVERY_SECONDS: Final = 0.25
State = dict[str, Any]


class RoomHost:
    """The host of a room that was opened with `open`, with the token of an account that may do so."""

    def __init__(self, client: GraphqlClient, token: str, opened: State) -> None:
        self._client = client
        self._token = token
        self.opened = opened
        self.pin: str = opened["pin"]

    @classmethod
    async def open(cls, client: GraphqlClient, token: str, quiz_id: str, **options: Any) -> RoomHost:
        """Open a room with options of RoomOptionsInput. Raises GraphqlError."""
        data = await client.execute(OPEN, {"input": {"quizId": quiz_id, "options": options}}, token)
        return cls(client, token, data["openRoom"])

    async def state(self) -> State:
        """Return the room as it is."""
        state: State = (await self._client.execute(READ, {"pin": self.pin}, self._token))["room"]
        return state

    async def next(self) -> State:
        """Take the room to its next phase, and return it."""
        return await self._carried_out("nextStep")

    async def lock(self) -> State:
        """Lock the open question, and return the room."""
        return await self._carried_out("lockQuestion")

    async def close(self) -> State:
        """End the room, and return it."""
        return await self._carried_out("closeRoom")

    async def _carried_out(self, command: str) -> State:
        document = f"mutation ($pin: ID!) {{ effect: {command}(pin: $pin) {{ room {{ {STATE} }} }} }}"
        room: State = (await self._client.execute(document, {"pin": self.pin}, self._token))["effect"]["room"]
        return room

    async def wait_for_answers(self, seconds: float) -> State:
        """Return the room once all players have answered, the question has locked, or the time is over."""
        end = time.monotonic() + seconds
        while True:
            state = await self.state()
            if state["phase"] != "QUESTION" or state["answered"] >= state["players"] or time.monotonic() > end:
                return state
            await asyncio.sleep(READ_EVERY_SECONDS)


async def results_file(client: GraphqlClient, token: str, room_id: str, written: str) -> tuple[str, bytes]:
    """Return the name and the content of a room's results in a format of RoomResultsFormat. Raises GraphqlError."""
    data = await client.execute(RESULTS, {"roomId": room_id, "format": written}, token)
    return data["roomResultsFile"]["name"], b64decode(data["roomResultsFile"]["base64"])


def solved(challenge: Mapping[str, Any]) -> str:
    """Return the solution of a `joinChallenge`, as `joinRoom` takes it. Computes for up to a second; call it in a thread.

    Raises ValueError if there is none.
    """
    salt = hashlib.sha256(challenge["salt"].encode())
    for number in range(challenge["maxNumber"] + 1):
        found = salt.copy()
        found.update(b"%d" % number)
        if found.hexdigest() == challenge["challenge"]:
            payload = {each: challenge[each] for each in ("algorithm", "challenge", "salt", "signature")}
            return b64encode(json.dumps(payload | {"number": number}).encode()).decode()
    raise ValueError("The challenge has no solution.")


def invitation(opened: State, *, with_code: bool) -> str:
    """Return what a host shows to players: the PIN, the address, and a QR code of it for a terminal."""
    lines = [f"{opened['title']}: room {opened['pin']}", f"join at {opened['joinUrl']}"]
    if with_code:
        import segno

        code = io.StringIO()
        segno.make_qr(opened["joinUrl"]).terminal(code, border=2, compact=True)
        lines.append(code.getvalue().rstrip("\n"))
    return "\n".join(lines)
