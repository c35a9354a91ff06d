"""Players of another system, from JSON lines into a running system."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Final

from google.protobuf.json_format import MessageToJson
from topten.identity.v1 import identity_pb2
from topten.identity.v1 import identity_service_pb2 as messages

from services.cli.json_lines import read_messages
from services.cli.system.client import Endpoints
from services.cli.system.operator_client import BULK_CALL_SECONDS, identity_service
from services.cli.typed_names import of_file, renamed
from services.runtime.errors import Reason
from services.runtime.grpc.client import call

PLAYERS_A_CALL: Final = 500
_REFUSED: Final = identity_pb2.EnsuredPlayer.REFUSED
Entry = tuple[int, identity_pb2.PlayerProfile | str]


async def ensure_players(endpoints: Endpoints, file: str, *, report: Callable[[str], None]) -> Counter[str]:
    """Ensure the players of a file, `-` for standard input, with the operator's token; return how many had which status.

    Each line, in order, is reported with its result as one line of JSON; a line that is no player is refused like one.
    Raises OSError, and ServiceError if identity is away or admits nobody: lines that were not reported are to be sent again.
    """
    statuses: Counter[str] = Counter()
    entries = read_messages(file, identity_pb2.PlayerProfile)
    async with identity_service(endpoints) as (stub, token):
        while chunk := list(islice(entries, PLAYERS_A_CALL)):
            players = [entry for _, entry in chunk if not isinstance(entry, str)]
            request = messages.EnsurePlayersRequest(players=players)
            response = messages.EnsurePlayersResponse()
            if players:
                response = await call(stub.EnsurePlayers, request, token=token, timeout=BULK_CALL_SECONDS)
            for result in _results(chunk, response.results):
                statuses[identity_pb2.EnsuredPlayer.Status.Name(result.status)] += 1
                report(MessageToJson(result, indent=None, ensure_ascii=False))
    return statuses


def _results(
    chunk: Iterable[Entry], results: Iterable[identity_pb2.EnsuredPlayer]
) -> Iterator[identity_pb2.EnsuredPlayer]:
    """Yield the result of each line: that of its player, or the refusal of a line that is none."""
    remaining = iter(results)
    for number, entry in chunk:
        if isinstance(entry, str):
            message = f"Line {number}: {entry}"
            yield identity_pb2.EnsuredPlayer(status=_REFUSED, reason=Reason.INVALID_ARGUMENT, message=message)
        else:
            result = next(remaining)
            result.message = renamed(result.message, (), of_file)
            yield result
