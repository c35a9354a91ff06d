"""Action types and actions, from JSON into a running system, with the operator's token."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from typing import Final

from google.protobuf.json_format import MessageToJson
from topten.action.v1 import action_pb2
from topten.action.v1 import action_service_pb2 as messages
from topten.score.v1.confirmation_pb2 import COUNTED, RECORDED

from services.cli.json_lines import read_definitions, read_messages
from services.cli.system.client import Endpoints, describe
from services.cli.system.operator_client import BULK_CALL_SECONDS, action_service
from services.cli.typed_names import of_file, renamed
from services.runtime.errors import Reason, ServiceError
from services.runtime.grpc.client import call

ACTIONS_A_CALL: Final = 500
_REFUSED: Final = action_pb2.ActionResult.REFUSED
Report = Callable[[str], None]
Entry = tuple[int, action_pb2.PlayerAction | str]


async def put_action_types(endpoints: Endpoints, file: str, *, on_success: Report, on_problem: Report) -> int:
    """Store the action types of a file, `-` for standard input, and return how many were refused.

    The file is one JSON object, or has one on each line. Raises OSError, ServiceError.
    """
    definitions, refused = read_definitions(file, action_pb2.ActionType, on_problem)
    async with action_service(endpoints) as (stub, token):
        for definition in definitions:
            request = messages.PutActionTypeRequest(action_type=definition)
            try:
                response = await call(stub.PutActionType, request, token=token)
            except ServiceError as error:
                if error.reason is not Reason.INVALID_ARGUMENT:
                    raise
                refused += 1
                on_problem(f"{definition.action_type_id}: {describe(error, partial(of_file, wrapper='action_type'))}")
            else:
                changed = "" if response.changed else ", unchanged"
                on_success(f"{definition.action_type_id}: version {response.version}{changed}")
    return refused


async def list_action_types(endpoints: Endpoints, *, report: Report) -> None:
    """Report every action type, by ID, as one line of JSON."""
    request = messages.ListActionTypesRequest(page_size=100)
    async with action_service(endpoints) as (stub, token):
        while True:
            response = await call(stub.ListActionTypes, request, token=token)
            for definition in response.action_types:
                report(MessageToJson(definition, indent=None, ensure_ascii=False))
            if not response.next_page_token:
                return
            request.page_token = response.next_page_token


async def archive_action_type(endpoints: Endpoints, action_type_id: str) -> bool:
    """Archive an action type and return whether it was open. Raises ACTION_TYPE_NOT_FOUND."""
    request = messages.ArchiveActionTypeRequest(action_type_id=action_type_id)
    async with action_service(endpoints) as (stub, token):
        return (await call(stub.ArchiveActionType, request, token=token)).changed


async def submit_actions(
    endpoints: Endpoints, file: str, *, wait: bool, boards: Sequence[str], report: Report
) -> Counter[str]:
    """Submit the actions of a file, `-` for standard input; return the number of actions by status.

    With `wait` each call of up to 500 lasts until its actions are counted, for up to a minute, and results have the total and
    the standings on `boards`. Each line, in order, is reported with its result as one line of JSON; a line that is no action
    is refused like one. Raises OSError, BOARD_NOT_FOUND, and ServiceError if quiz is away; lines without a report are to be
    sent again then.
    """
    statuses: Counter[str] = Counter()
    entries = read_messages(file, action_pb2.PlayerAction)
    async with action_service(endpoints) as (stub, token):
        while chunk := list(islice(entries, ACTIONS_A_CALL)):
            actions = [entry for _, entry in chunk if not isinstance(entry, str)]
            response = messages.SubmitActionsResponse()
            if actions:
                request = messages.SubmitActionsRequest(
                    actions=actions, wait=COUNTED if wait else RECORDED, boards=boards
                )
                response = await call(stub.SubmitActions, request, token=token, timeout=BULK_CALL_SECONDS)
            for result in _results(chunk, response.results):
                statuses[action_pb2.ActionResult.Status.Name(result.status)] += 1
                report(MessageToJson(result, indent=None, ensure_ascii=False))
    return statuses


def _results(chunk: Iterable[Entry], results: Iterable[action_pb2.ActionResult]) -> Iterator[action_pb2.ActionResult]:
    """Yield the result of each line: that of its action, or the refusal of a line that is none."""
    remaining = iter(results)
    for number, entry in chunk:
        if isinstance(entry, str):
            message = f"Line {number}: {entry}"
            yield action_pb2.ActionResult(status=_REFUSED, reason=Reason.INVALID_ARGUMENT, message=message)
        else:
            result = next(remaining)
            if result.field:
                result.message = renamed(result.message, (), of_file)
                result.field = of_file(result.field)
            yield result
