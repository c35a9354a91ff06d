"""GraphQL over HTTP, from end to end: read the request, find its caller, count its rates, execute its operation.

Owns that order. Must never let a client that disconnects interrupt a call under way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from aiohttp import web
from graphql import ExecutionResult, GraphQLSchema

from edge.boards import ExistingBoards
from edge.config import EdgeConfig
from edge.graphql.execution.context import Context
from edge.graphql.execution.documents import Documents
from edge.graphql.execution.last_responses import LastResponses
from edge.graphql.execution.operations import execute_operation
from edge.graphql.execution.prepared import DocumentError, Operation, errors_of
from edge.graphql.execution.requests import JSON, GraphQLRequest, accepted_type, parse_request, read_source
from edge.graphql.execution.response_cache import CachedResponse, ResponseCache
from edge.graphql.execution.responses import Outcome, answered, outcome_of, refused
from edge.http.callers.authentication import Authenticator, Caller
from edge.http.callers.cookies import REFRESH, CookieSession, wants_cookies
from edge.http.callers.peer import client_address, user_agent
from edge.rates.limiter import Left, Limiter
from edge.stream.hub import Hub
from edge.upstreams import Upstreams
from services.diagnosis.rates import Rates
from services.runtime.admission import Admission, Place
from services.runtime.errors import ServiceError

# Requests that wait for quiz, most of them for one call together, for each that may run: refused, they would only come again.
MAX_WAITING = 8


class GraphQLHandler:
    """Serves /graphql. `on_accepted` is called with the player and the points of each accepted action."""

    def __init__(
        self,
        schema: GraphQLSchema,
        documents: Documents,
        upstreams: Upstreams,
        authenticator: Authenticator,
        limiter: Limiter,
        hub: Hub,
        boards: ExistingBoards,
        config: EdgeConfig,
        *,
        on_accepted: Callable[[str, int], None],
    ) -> None:
        self._schema = schema
        self._documents = documents
        self._upstreams = upstreams
        self._authenticator = authenticator
        self._limiter = limiter
        self._hub = hub
        self._boards = boards
        self._config = config
        self._on_accepted = on_accepted
        self._responses = ResponseCache(hub.held)
        self._last_responses = LastResponses()
        self._system_rates = Rates()
        limit = config.process.max_running
        self._admission = Admission("graphql", limit=limit, max_waiting=MAX_WAITING * limit)

    async def handle(self, http: web.Request) -> web.StreamResponse:
        """Return the response to one request, which is finished even if the client disconnects."""
        media_type = accepted_type(http)
        try:
            self._admission.require()
            cookie_mode = wants_cookies(http)
            source = await read_source(http, self._config.body_timeout)
            cached = self._responses.get(source)
            request = None if cached is not None else parse_request(http, source)
            # Work starts here; a client that sends slowly takes nobody's place.
            with self._admission.admitted() as place:
                caller = await self._authenticator.caller(http, cookies=cookie_mode)
                if media_type is None:
                    raise web.HTTPNotAcceptable
                address = client_address(http, self._config.trusted_proxies)
                if cached is not None and _may_read(caller, cached.operation):
                    left = await self._count(caller, address, cached.operation.rates)
                    return answered(Outcome(cached.body, begun=True), media_type, left)
                context = self._context(http, caller, address, place, cookie_mode=cookie_mode)
                outcome = await self._outcome(request or parse_request(http, source), source, context)
        except ServiceError as error:
            return refused(error, media_type or JSON, http)
        response = answered(outcome, media_type, context.left)
        if context.cookies is not None:
            context.cookies.apply(response, secure=self._config.secure_cookies)
        return response

    def _context(self, http: web.Request, caller: Caller, address: str, place: Place, *, cookie_mode: bool) -> Context:
        return Context(
            upstreams=self._upstreams,
            caller=caller,
            client_address=address,
            user_agent=user_agent(http),
            limiter=self._limiter,
            hub=self._hub,
            boards=self._boards,
            last_responses=self._last_responses,
            on_accepted=self._on_accepted,
            place=place,
            origin=f"{'https' if self._config.secure_cookies else 'http'}://{http.host}",
            runbooks=self._config.runbooks,
            system_rates=self._system_rates,
            players_host_rooms=self._config.rooms.players_host,
            cookies=CookieSession(http.cookies.get(REFRESH, "")) if cookie_mode else None,
        )

    async def _outcome(self, request: GraphQLRequest, source: bytes, context: Context) -> Outcome:
        """Return the outcome of a request. Raises RATE_LIMITED, and HTTPMethodNotAllowed for a mutation by GET."""
        caller, address = context.caller, context.client_address
        if self._documents.needs_lookup(request):
            context.left = await self._count(caller, address, {"query": 1})
        try:
            prepared = await self._documents.get(request)
            operation = prepared.operation(request.operation_name)
        except (DocumentError, ServiceError) as error:
            # It cost the server as much as a query.
            context.left = await self._count(caller, address, {"query": 1})
            return outcome_of(ExecutionResult(None, errors_of(error)))
        if operation.is_mutation and not request.may_mutate:
            raise web.HTTPMethodNotAllowed("GET", ["POST"])
        context.left = await self._count(caller, address, operation.rates)
        await self._documents.share(request, prepared)
        result = await execute_operation(
            self._schema, prepared, request, context, hide_suggestions=self._config.process.production
        )
        outcome = outcome_of(result, stale=context.stale, frozen_since=context.frozen_since)
        if outcome.begun and len(context.board_reads) == operation.fields and _may_read(caller, operation):
            self._responses.put(source, CachedResponse(outcome.body, operation, context.board_reads))
        return outcome

    async def _count(self, caller: Caller, address: str, rates: Mapping[str, int]) -> list[Left]:
        """Count a request's operations, and return what is left of each limit. Raises RATE_LIMITED.

        A login counts for its address here, and in its resolver for the username, not for the caller. A password that a
        signed-in caller confirms counts for the session, so that nobody else uses up its attempts.
        """
        claims = caller.claims
        lefts = []
        for name, count in rates.items():
            who = "" if claims is None or name == "login" else claims.user_id
            if claims is not None and name == "password":
                who = claims.session_id or claims.user_id
            left = await self._limiter.take(name, caller=who, address=address, count=count)
            if left is not None:
                lefts.append(left)
        return lefts


def _may_read(caller: Caller, operation: Operation) -> bool:
    """Whether the response to an operation is the same for all callers, and this one may read it."""
    return operation.readers is not None and caller.claims is not None and caller.claims.may(operation.readers)
