"""GraphQL over HTTP: from a request to an operation, from its result to an answer.

Follows the GraphQL-over-HTTP specification: POST with JSON, or GET for queries alone; `application/json` answers 200
wherever the request was well formed, `application/graphql-response+json` 400 where the document could not be executed.
A batch is refused. Must never let a client that leaves cut off a call that was begun.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from aiohttp import web
from graphql import ExecutionResult, GraphQLError, GraphQLSchema, OperationType, execute, get_operation_ast
from strawberry.execution import optimized_is_awaitable
from topten.leaderboard.v1.leaderboard_pb2 import Frame

from edge.auth import Authenticator, Caller
from edge.config import EdgeConfig
from edge.graphql.answers import Answers, Kept, Key, is_for_everybody, key_of
from edge.graphql.context import Context
from edge.graphql.documents import DocumentError, Documents
from edge.graphql.errors import Shown, refusal, show_all
from edge.graphql.loaders import users_loader
from edge.peer import client_address, user_agent
from edge.problems import HTTP_STATUS
from edge.rates.limiter import Left, Limiter
from edge.rates.rates import operations_of
from edge.session import REFRESH, CookieSession, wants_cookies
from edge.upstreams import Upstreams
from services.runtime.access import BOARD_READERS
from services.runtime.errors import Reason, ServiceError

JSON = "application/json"
GRAPHQL_JSON = "application/graphql-response+json"
_ANY = ("*/*", "application/*")
# Quicker than graphql-core's own for the plain values that most fields are.
_is_awaitable: Any = optimized_is_awaitable


@dataclass(frozen=True)
class Operation:
    """What a request asks to be executed."""

    query: str
    variables: Mapping[str, Any] | None
    name: str | None
    may_mutate: bool


class GraphQLHandler:
    """Answers /graphql."""

    def __init__(
        self,
        schema: GraphQLSchema,
        documents: Documents,
        upstreams: Upstreams,
        authenticator: Authenticator,
        limiter: Limiter,
        config: EdgeConfig,
        *,
        held: Callable[[str, int], Frame | None],
        on_accepted: Callable[[str, int], None] | None = None,
    ) -> None:
        self._schema = schema
        self._documents = documents
        self._upstreams = upstreams
        self._authenticator = authenticator
        self._limiter = limiter
        self._config = config
        self._held = held
        self._answers = Answers(held)
        self._on_accepted = on_accepted
        self._running: set[asyncio.Task[web.Response]] = set()

    async def handle(self, request: web.Request) -> web.Response:
        """The answer to one request.

        It is worked out to its end even if the client leaves: a cancelled call costs a store its connection, and an
        action that may have been recorded is better recorded.
        """
        task = asyncio.get_running_loop().create_task(self._answer(request))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return await asyncio.shield(task)

    async def _answer(self, request: web.Request) -> web.Response:
        media_type = _media_type(request)
        try:
            cookie_mode = wants_cookies(request)
            operation = await self._read(request)
            caller = await self._authenticator.caller(request, cookies=cookie_mode)
        except ServiceError as error:
            return _refused(error, media_type or JSON, HTTP_STATUS[error.reason])
        if media_type is None:
            raise web.HTTPNotAcceptable
        address = client_address(request, self._config.trusted_proxies)
        cookies = CookieSession(request.cookies.get(REFRESH, "")) if cookie_mode else None
        key = key_of(operation.query, operation.name, operation.variables)
        may_read = caller.claims is not None and caller.claims.may(BOARD_READERS)
        kept = self._answers.get(key) if key is not None and may_read else None
        try:
            if kept is not None:
                left = await self._take(caller, address, {"query": kept.fields})
                return _response(kept.body, media_type, 200, left)
            context = Context(
                upstreams=self._upstreams,
                caller=caller,
                users=users_loader(self._upstreams, caller),
                client_address=address,
                user_agent=user_agent(request),
                limiter=self._limiter,
                held=self._held,
                cookies=cookies,
                on_accepted=self._on_accepted,
            )
            response = await self._execute(operation, key, context, media_type)
        except ServiceError as error:  # too many of this
            response = _refused(error, media_type, HTTP_STATUS[error.reason])
        if cookies is not None:
            cookies.apply(response, secure=self._config.secure_cookies)
        return response

    async def _execute(self, operation: Operation, key: Key | None, context: Context, media_type: str) -> web.Response:
        # A document that can't be executed: 400, but 200 for those who asked for plain JSON (6.4.1 and 6.4.2 there).
        unfit = 400 if media_type == GRAPHQL_JSON else 200
        try:
            document = self._documents.get(operation.query)
            node = get_operation_ast(document, operation.name)
            if node is None:
                raise ServiceError(Reason.INVALID_ARGUMENT, "operationName must name one operation of the document")
        except (DocumentError, ServiceError) as error:
            # What can't be executed costs the server as much as a question.
            await self._take(context.caller, context.client_address, {"query": 1})
            errors = show_all(error.errors) if isinstance(error, DocumentError) else [refusal(error)]
            return _json({"errors": errors}, media_type, unfit)
        if node.operation is OperationType.MUTATION and not operation.may_mutate:
            raise web.HTTPMethodNotAllowed("GET", ["POST"])
        left = await self._take(context.caller, context.client_address, operations_of(document, node))
        try:
            result = execute(
                self._schema,
                document,
                context_value=context,
                variable_values=dict(operation.variables or {}),
                operation_name=operation.name,
                is_awaitable=_is_awaitable,
                hide_suggestions=self._config.process.production,
            )
            outcome: ExecutionResult = await result if inspect.isawaitable(result) else result
        except RecursionError:
            deep = ServiceError(Reason.DOCUMENT_TOO_COSTLY, "the variables are nested too deep")
            return _refused(deep, media_type, unfit)
        body, begun = _body(outcome, stale=context.stale)
        encoded = orjson.dumps(body)
        fields = len(node.selection_set.selections)
        if key is not None and begun and len(context.reads) == fields and is_for_everybody(document, node):
            self._answers.put(key, Kept(encoded, fields, context.reads))
        return _response(encoded, media_type, 200 if begun else unfit, left)

    async def _take(self, caller: Caller, address: str, operations: Mapping[str, int]) -> list[Left]:
        """Counts what is asked to be done; what the caller has left of each. Raises RATE_LIMITED.

        A login counts for the name that is tried, when that is known.
        """
        found = []
        for operation, count in operations.items():
            who = "" if caller.claims is None or operation == "login" else caller.claims.user_id
            left = await self._limiter.take(operation, caller=who, address=address, count=count)
            if left is not None:
                found.append(left)
        return found

    async def _read(self, request: web.Request) -> Operation:
        """The operation of a request. Raises INVALID_ARGUMENT for one that is not well formed."""
        if request.method == "GET":
            parameters: dict[str, Any] = dict(request.query)
            for name in ("variables", "extensions"):
                if name in parameters:
                    parameters[name] = _parse(parameters[name].encode())
            return _operation(parameters, may_mutate=False)
        if request.content_type != JSON or request.charset not in (None, "utf-8", "utf8", "UTF-8"):
            raise web.HTTPUnsupportedMediaType
        try:
            async with asyncio.timeout(self._config.body_timeout.total_seconds()):
                body = await request.read()
        except TimeoutError:
            raise web.HTTPRequestTimeout from None
        return _operation(_parse(body), may_mutate=True)


def _operation(parameters: Any, *, may_mutate: bool) -> Operation:
    if isinstance(parameters, list):
        raise ServiceError(Reason.INVALID_ARGUMENT, "one operation a request: batches are not taken")
    if not isinstance(parameters, dict):
        raise ServiceError(Reason.INVALID_ARGUMENT, "the body must be a JSON object")
    query, variables, name = (parameters.get(key) for key in ("query", "variables", "operationName"))
    if not isinstance(query, str) or not query:
        raise ServiceError(Reason.INVALID_ARGUMENT, "query must be the text of a document")
    if variables is not None and not isinstance(variables, dict):
        raise ServiceError(Reason.INVALID_ARGUMENT, "variables must be an object or null")
    if name is not None and not isinstance(name, str):
        raise ServiceError(Reason.INVALID_ARGUMENT, "operationName must be a string or null")
    if not isinstance(parameters.get("extensions") or {}, dict):
        raise ServiceError(Reason.INVALID_ARGUMENT, "extensions must be an object or null")
    return Operation(query, variables, name or None, may_mutate)


def _parse(text: bytes) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:  # also for nesting deeper than a thousand
        raise ServiceError(Reason.INVALID_ARGUMENT, "this is not JSON") from None


def _media_type(request: web.Request) -> str | None:
    """The media type of the answer: the first that is accepted, `application/json` where none is named."""
    accepted = request.headers.get("Accept")
    if not accepted:
        return JSON
    for part in accepted.split(","):
        name = part.partition(";")[0].strip().lower()
        if name in (GRAPHQL_JSON, JSON):
            return name
        if name in _ANY:
            return JSON
    return None


def _was_begun(errors: list[GraphQLError]) -> bool:
    """Whether execution began: errors of the request itself (its variables) have no path, those of fields have."""
    return any(error.path is not None for error in errors)


def _refused(error: ServiceError, media_type: str, status: int) -> web.Response:
    response = _json({"errors": [refusal(error)]}, media_type, status)
    if status == HTTP_STATUS[Reason.UNAUTHENTICATED]:
        response.headers["WWW-Authenticate"] = "Bearer"
    if error.retry_after is not None:
        response.headers["Retry-After"] = str(max(1, round(error.retry_after.total_seconds())))
    return response


def _body(outcome: ExecutionResult, *, stale: bool) -> tuple[Shown, bool]:
    """The answer's body, and whether execution began."""
    body: Shown = {}
    if outcome.errors:
        body["errors"] = show_all(outcome.errors)
    begun = outcome.data is not None or _was_begun(outcome.errors or [])
    if begun:
        body["data"] = outcome.data
    if stale:
        body["extensions"] = {"stale": True}
    return body, begun


def _json(body: Shown, media_type: str, status: int) -> web.Response:
    return _response(orjson.dumps(body), media_type, status)


def _response(body: bytes, media_type: str, status: int, left: Sequence[Left] = ()) -> web.Response:
    """An answer; `left` is told as draft-ietf-httpapi-ratelimit-headers-10 writes it."""
    headers = {"Content-Type": f"{media_type}; charset=utf-8", "Cache-Control": "no-store"}
    if left:
        policies = (f'"{each.operation}";q={each.rate.count};w={each.rate.seconds}' for each in left)
        rests = (f'"{each.operation}";r={each.remaining};t={each.reset_seconds}' for each in left)
        headers |= {"RateLimit-Policy": ", ".join(policies), "RateLimit": ", ".join(rests)}
    return web.Response(body=body, status=status, headers=headers)
