"""Executing an operation: by its plan where it has one, by graphql-core's executor otherwise or to the end."""

from __future__ import annotations

import inspect
from typing import Any

from graphql import ExecutionResult, GraphQLSchema, execute
from strawberry.execution import optimized_is_awaitable

from edge.graphql.execution.context import Context
from edge.graphql.execution.plan import Resolved
from edge.graphql.execution.prepared import Prepared
from edge.graphql.execution.requests import GraphQLRequest

# Faster than graphql-core's for the plain values that most fields are.
_is_awaitable: Any = optimized_is_awaitable


async def execute_operation(
    schema: GraphQLSchema, prepared: Prepared, request: GraphQLRequest, context: Context, *, hide_suggestions: bool
) -> ExecutionResult:
    """Execute the operation of a request, which its prepared document must have."""
    variables = dict(request.variables or {})
    resolved = Resolved()
    plan = prepared.plan(schema, request.operation_name)
    if plan is not None:
        data = await plan.run(context, variables, resolved)
        if data is not None:
            return ExecutionResult(data, None)
    result = execute(
        schema,
        prepared.document,
        context_value=context,
        variable_values=variables,
        operation_name=request.operation_name,
        middleware=None if plan is None else [resolved],
        is_awaitable=_is_awaitable,
        hide_suggestions=hide_suggestions,
    )
    found: ExecutionResult = await result if inspect.isawaitable(result) else result
    return found
