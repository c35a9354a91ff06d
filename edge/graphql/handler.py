"""GraphQL over HTTP, from end to end: a request is read, its caller found, its rate counted, its operation executed.

Owns that order. Must never let a client that leaves cut off a call that was begun.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from aiohttp import web
from graphql import DocumentNode, ExecutionResult, GraphQLSchema, OperationDefinitionNode, OperationType, execute
from strawberry.execution import optimized_is_awaitable

from edge.auth import Authenticator, Caller
from edge.config import EdgeConfig
from edge.graphql.answers import Answers, Held, Kept, Key, is_for_everybody, key_of
from edge.graphql.context import Context
from edge.graphql.documents import DocumentError, Documents, errors_of, operation_of
from edge.graphql.last_answers import LastAnswers
from edge.graphql.loaders import users_loader
from edge.graphql.persisted import Texts
from edge.graphql.requests import JSON, Operation, accepted_type, read_operation
from edge.graphql.responses import Outcome, answer, outcome_of, refused
from edge.peer import client_address, user_agent
from edge.rates.limiter import Left, Limiter
from edge.rates.rates import operations_of
from edge.repeats import ASKED, Asked
from edge.session import REFRESH, CookieSession, wants_cookies
from edge.upstreams import Upstreams
from services.runtime.access import BOARD_READERS
from services.runtime.admission import Admission
from services.runtime.errors import ServiceError

# Quicker than graphql-core's own for the plain values that most fields are.
_is_awaitable: Any = optimized_is_awaitable


class GraphQLHandler:
    """Answers /graphql."""

    def __init__(
        self,
        schema: GraphQLSchema,
        documents: Documents,
        texts: Texts,
        upstreams: Upstreams,
        authenticator: Authenticator,
        limiter: Limiter,
        config: EdgeConfig,
        *,
        held: Held,
        answers: Answers,
        admission: Admission,
        on_accepted: Callable[[str, int], None] | None = None,
    ) -> None:
        self._schema = schema
        self._documents = documents
        self._texts = texts
        self._upstreams = upstreams
        self._authenticator = authenticator
        self._limiter = limiter
        self._config = config
        self._held = held
        self._answers = answers
        self._last = LastAnswers()
        self._admission = admission
        self._on_accepted = on_accepted
        self._running: set[asyncio.Task[web.Response]] = set()

    async def handle(self, request: web.Request) -> web.Response:
        """The answer to one request.

        It is worked out to its end even if the client leaves: a cancelled call costs a store its connection, and an
        action that may have been recorded is better recorded.
        """
        try:
            self._admission.require()
        except ServiceError as error:
            return refused(error, accepted_type(request) or JSON)
        task = asyncio.get_running_loop().create_task(self._answer(request))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return await asyncio.shield(task)

    async def _answer(self, request: web.Request) -> web.Response:
        media_type = accepted_type(request)
        try:
            cookie_mode = wants_cookies(request)
            operation = await read_operation(request, self._config.body_timeout)
            # From here on it is work; who sends slowly takes nobody's place.
            with self._admission.admitted():
                return await self._admitted(request, operation, media_type, cookie_mode=cookie_mode)
        except ServiceError as error:
            return refused(error, media_type or JSON)

    async def _admitted(
        self, request: web.Request, operation: Operation, media_type: str | None, *, cookie_mode: bool
    ) -> web.Response:
        caller = await self._authenticator.caller(request, cookies=cookie_mode)
        if media_type is None:
            raise web.HTTPNotAcceptable
        cookies = CookieSession(request.cookies.get(REFRESH, "")) if cookie_mode else None
        try:
            outcome, left = await self._outcome(operation, request, caller, cookies)
            response = answer(outcome, media_type, left)
        except ServiceError as error:  # too many of this
            response = refused(error, media_type)
        if cookies is not None:
            cookies.apply(response, secure=self._config.secure_cookies)
        return response

    async def _outcome(
        self, operation: Operation, request: web.Request, caller: Caller, cookies: CookieSession | None
    ) -> tuple[Outcome, list[Left]]:
        """What came of an operation, and what the caller has left. Raises RATE_LIMITED and HTTPMethodNotAllowed."""
        address = client_address(request, self._config.trusted_proxies)
        if self._texts.is_far(operation):
            await self._take(caller, address, {"query": 1})
        try:
            text = await self._texts.text_of(operation)
        except ServiceError as unknown:
            return await self._unfit(unknown, caller, address)
        key = key_of(text, operation.name, operation.variables)
        claims = caller.claims
        if key is not None and claims is not None and claims.may(BOARD_READERS):
            kept = self._answers.get(key)
            if kept is not None:
                left = await self._take(caller, address, {"query": kept.fields})
                request[ASKED] = Asked(key, claims, address)
                return Outcome(kept.body, begun=True), left
        context = Context(
            upstreams=self._upstreams,
            caller=caller,
            users=users_loader(self._upstreams, caller),
            client_address=address,
            user_agent=user_agent(request),
            limiter=self._limiter,
            held=self._held,
            last=self._last,
            cookies=cookies,
            on_accepted=self._on_accepted,
        )
        return await self._execute(text, operation, key, context)

    async def _execute(
        self, text: str, operation: Operation, key: Key | None, context: Context
    ) -> tuple[Outcome, list[Left]]:
        try:
            document = self._documents.get(text)
            node = operation_of(document, operation.name)
        except (DocumentError, ServiceError) as unfit:
            return await self._unfit(unfit, context.caller, context.client_address)
        if node.operation is OperationType.MUTATION and not operation.may_mutate:
            raise web.HTTPMethodNotAllowed("GET", ["POST"])
        left = await self._take(context.caller, context.client_address, operations_of(document, node))
        await self._texts.learn(operation)
        result = await self._run(document, operation, context)
        outcome = outcome_of(result, stale=context.stale)
        if key is not None and outcome.begun:
            self._keep(key, outcome.body, document, node, context)
        return outcome, left

    async def _unfit(
        self, error: DocumentError | ServiceError, caller: Caller, address: str
    ) -> tuple[Outcome, list[Left]]:
        """The outcome of what can't be executed, which costs the server as much as a question."""
        left = await self._take(caller, address, {"query": 1})
        return outcome_of(ExecutionResult(None, errors_of(error))), left

    async def _run(self, document: DocumentNode, operation: Operation, context: Context) -> ExecutionResult:
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
        return outcome

    def _keep(
        self, key: Key, body: bytes, document: DocumentNode, node: OperationDefinitionNode, context: Context
    ) -> None:
        """Keeps an answer that is the same for everybody: one that was made of frames this process holds alone."""
        fields = len(node.selection_set.selections)
        if len(context.reads) == fields and is_for_everybody(document, node):
            self._answers.put(key, Kept(body, fields, context.reads))

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
