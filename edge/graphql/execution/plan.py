"""Plans: operations compiled to what their execution does every time, for documents that are sent again.

A plan has looked up every field, resolver and type once; what is left is to coerce the variables, call the resolvers and
pick the selected attributes. graphql-core's executor is the authority: whatever a plan does not cover (directives,
introspection, any error) ends it, and the executor continues with what the resolvers that were called have returned, so
that none is called twice. Must never differ from the executor in a response.
"""

from __future__ import annotations

import asyncio
import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Final, NamedTuple

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLField,
    GraphQLLeafType,
    GraphQLList,
    GraphQLObjectType,
    GraphQLOutputType,
    GraphQLSchema,
    InlineFragmentNode,
    OperationDefinitionNode,
    OperationType,
    Undefined,
    VariableValues,
    get_argument_values,
    get_nullable_type,
    is_leaf_type,
    print_ast,
)

from edge.graphql.binding import Attribute
from edge.graphql.execution.variables import UnplannedError, Variables

_MAX_INT: Final = 2**31 - 1
_VARIABLE: Final = re.compile(r"\$(\w+)", re.ASCII)
# The Python type that a scalar writes as it is.
_PLAIN: Final[Mapping[str, type]] = {"String": str, "ID": str, "Boolean": bool, "Int": int}
Fragments = Mapping[str, FragmentDefinitionNode]
# From what a field resolves to to what the response has.
Complete = Callable[[Any, "_Run"], Any]


class Info(NamedTuple):
    """What resolvers read of an execution."""

    context: Any


class Resolved:
    """What resolvers returned or raised, by their source and the node of their field."""

    def __init__(self) -> None:
        self._outcomes: dict[tuple[int, int], tuple[Any, Any]] = {}

    def keep(self, source: Any, node: FieldNode, outcome: Any) -> None:
        """Keep an outcome. The source is kept as well, so that its identity stays its own."""
        self._outcomes[id(source), id(node)] = source, outcome

    def resolve(self, resolve: Callable[..., Any], source: Any, info: Any, **arguments: Any) -> Any:
        """Return or raise the kept outcome, or resolve the field. A middleware of graphql-core."""
        found = self._outcomes.get((id(source), id(info.field_nodes[0])))
        if found is None:
            return resolve(source, info, **arguments)
        if isinstance(found[1], Exception):
            raise found[1]
        return found[1]


def plan_of(schema: GraphQLSchema, document: DocumentNode, name: str | None) -> Plan | None:
    """Return the plan of an operation of a valid document, which may have no name if it is the only one; None if none."""
    operations = [node for node in document.definitions if isinstance(node, OperationDefinitionNode)]
    found = next(node for node in operations if name is None or (node.name is not None and node.name.value == name))
    try:
        return Plan(schema, document, found)
    except UnplannedError:
        return None


class Plan:
    """The plan of one operation of a valid document. Raises UnplannedError for one that it does not cover."""

    def __init__(self, schema: GraphQLSchema, document: DocumentNode, operation: OperationDefinitionNode) -> None:
        fragments = {node.name.value: node for node in document.definitions if isinstance(node, FragmentDefinitionNode)}
        root = schema.get_root_type(operation.operation)
        if root is None or operation.directives:
            raise UnplannedError
        self._variables = Variables(schema, operation.variable_definitions or ())
        fields = _collect([operation], root, fragments)
        # The fields of a mutation are executed one after another, those of a query together.
        steps = [fields] if operation.operation is OperationType.QUERY else [{key: fields[key]} for key in fields]
        self._steps = [_object(root, step, fragments) for step in steps]

    async def run(self, context: Any, variables: Mapping[str, Any], resolved: Resolved) -> dict[str, Any] | None:
        """Return the data of the response; None if the executor must continue with what is `resolved`."""
        data: dict[str, Any] = {}
        try:
            run = _Run(Info(context), self._variables.values(variables), resolved)
            for step in self._steps:
                fields = step(None, run)
                await run.settle()
                data |= fields
        except Exception:  # noqa: BLE001  # the executor finds it again, and says where
            return None
        return data


@dataclass(frozen=True, slots=True)
class _Slot:
    """The place of a variable in arguments."""

    variable: str


class _Arguments(NamedTuple):
    """The arguments of a field with slots; those that are `variables`, and the `lists` that have some."""

    slotted: Mapping[str, Any]
    variables: Mapping[str, str]
    lists: Mapping[str, Sequence[Any]]

    @property
    def are_constant(self) -> bool:
        """Whether there are no variables among them."""
        return not self.variables and not self.lists

    def filled(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the arguments with the values of all variables."""
        arguments = dict(self.slotted)
        for name, variable in self.variables.items():
            arguments[name] = values[variable]
        for name, items in self.lists.items():
            arguments[name] = [values[item.variable] if type(item) is _Slot else item for item in items]
        return arguments


class _Call(NamedTuple):
    """A field with a resolver. Without `arguments`, graphql-core has to find them."""

    key: str
    node: FieldNode
    definition: GraphQLField
    resolve: Callable[..., Any]
    arguments: _Arguments | None
    complete: Complete


class _Run:
    """One execution of a plan."""

    def __init__(self, info: Info, variables: VariableValues, resolved: Resolved) -> None:
        self._info = info
        self._variables = variables
        # Otherwise the defaults of arguments count, and whether null is allowed.
        values = variables.coerced.values()
        self._have_values = len(values) == len(variables.sources) and all(value is not None for value in values)
        self._resolved = resolved
        self._calls: list[tuple[dict[str, Any], Any, _Call]] = []

    def call(self, parent: dict[str, Any], source: Any, call: _Call) -> None:
        """Fill in a field of `parent` later, by a call of its resolver."""
        self._calls.append((parent, source, call))

    async def settle(self) -> None:
        """Make the calls, those of one level together, until there are no more. Raises the error of the first that fails."""
        while self._calls:
            calls, self._calls = self._calls, []
            if len(calls) == 1:
                outcomes = [await self._outcome(*calls[0][1:])]
            else:
                outcomes = await asyncio.gather(*(self._outcome(source, call) for _, source, call in calls))
            for outcome in outcomes:
                if isinstance(outcome, Exception):
                    raise outcome
            for (parent, _, call), outcome in zip(calls, outcomes, strict=True):
                parent[call.key] = call.complete(outcome, self)

    async def _outcome(self, source: Any, call: _Call) -> Any:
        """Call a resolver; an exception is an outcome as well."""
        try:
            if call.arguments is not None and (self._have_values or call.arguments.are_constant):
                arguments = call.arguments.filled(self._variables.coerced)
            else:
                arguments = get_argument_values(call.definition, call.node, self._variables)
            outcome = call.resolve(source, self._info, **arguments)
            if inspect.iscoroutine(outcome):
                outcome = await outcome
        except Exception as error:  # noqa: BLE001  # the executor raises it again
            outcome = error
        self._resolved.keep(source, call.node, outcome)
        return outcome


def _collect(
    nodes: Sequence[OperationDefinitionNode | FieldNode], parent: GraphQLObjectType, fragments: Fragments
) -> dict[str, list[FieldNode]]:
    """Return the selected fields of an object by the names that they have in the response."""
    found: dict[str, list[FieldNode]] = {}

    def add(selections: Sequence[Any]) -> None:
        for selection in selections:
            if selection.directives:
                raise UnplannedError
            if isinstance(selection, FieldNode):
                found.setdefault((selection.alias or selection.name).value, []).append(selection)
                continue
            fragment: FragmentDefinitionNode | InlineFragmentNode = selection
            if isinstance(selection, FragmentSpreadNode):
                fragment = fragments[selection.name.value]
            condition = fragment.type_condition
            if fragment.directives or (condition is not None and condition.name.value != parent.name):
                raise UnplannedError
            add(fragment.selection_set.selections)

    for node in nodes:
        if node.selection_set is not None:
            add(node.selection_set.selections)
    return found


def _object(parent: GraphQLObjectType, fields: Mapping[str, list[FieldNode]], fragments: Fragments) -> Complete:
    attributes: list[str] = []
    completes: list[tuple[str, Complete]] = []
    calls: list[_Call] = []
    for key, nodes in fields.items():
        name = nodes[0].name.value
        if name == "__typename":
            attributes.append("__class__")
            completes.append((key, lambda _value, _run: parent.name))
            continue
        definition = parent.fields.get(name)
        if definition is None or definition.resolve is None:
            raise UnplannedError
        complete = _value(definition.type, nodes, fragments)
        if isinstance(definition.resolve, Attribute):
            attributes.append(definition.resolve.name)
            completes.append((key, complete))
        else:  # keeps its place until it is called
            attributes.append("__class__")
            completes.append((key, lambda _value, _run: None))
            calls.append(
                _Call(key, nodes[0], definition, definition.resolve, _arguments(definition, nodes[0]), complete)
            )
    values = attrgetter(*attributes, "__class__")  # of at least two, so that it returns a tuple

    def complete_object(source: Any, run: _Run) -> dict[str, Any]:
        data = {key: complete(value, run) for (key, complete), value in zip(completes, values(source), strict=False)}
        for call in calls:
            run.call(data, source, call)
        return data

    return complete_object


def _arguments(definition: GraphQLField, node: FieldNode) -> _Arguments | None:
    """Return the arguments of a field; None if variables are elsewhere in them than in place of an argument or in a list."""
    names = [name for argument in node.arguments or () for name in _VARIABLE.findall(print_ast(argument))]
    slots = {name: _Slot(name) for name in names}
    found = get_argument_values(definition, node, VariableValues({}, slots))
    variables = {name: value.variable for name, value in found.items() if type(value) is _Slot}
    lists = {name: value for name, value in found.items() if type(value) is list and _Slot in map(type, value)}
    placed = len(variables) + sum(type(item) is _Slot for items in lists.values() for item in items)
    return _Arguments(found, variables, lists) if placed == len(names) else None


def _value(kind: GraphQLOutputType, nodes: list[FieldNode], fragments: Fragments) -> Complete:
    nullable = get_nullable_type(kind)
    is_required = nullable is not kind
    if is_leaf_type(nullable):
        return _leaf(nullable, is_required=is_required)
    if isinstance(nullable, GraphQLObjectType):
        complete = _object(nullable, _collect(nodes, nullable, fragments), fragments)
    elif isinstance(nullable, GraphQLList):
        complete = _list(_value(nullable.of_type, nodes, fragments))
    else:
        raise UnplannedError

    def complete_value(value: Any, run: _Run) -> Any:
        return complete(value, run) if value is not None else _null(is_required=is_required)

    return complete_value


def _list(item: Complete) -> Complete:
    def complete_list(values: Any, run: _Run) -> list[Any]:
        if not isinstance(values, list):
            raise UnplannedError
        return [item(value, run) for value in values]

    return complete_list


def _leaf(kind: GraphQLLeafType, *, is_required: bool) -> Complete:
    plain = _PLAIN.get(kind.name)
    coerce = kind.coerce_output_value

    def complete_leaf(value: Any, _run: _Run) -> Any:
        if type(value) is plain and (plain is not int or -_MAX_INT <= value <= _MAX_INT):  # type: ignore[operator]  # it is an int
            return value
        if value is None:
            return _null(is_required=is_required)
        coerced = coerce(value)
        return _null(is_required=True) if coerced is None or coerced is Undefined else coerced

    return complete_leaf


def _null(*, is_required: bool) -> None:
    if is_required:
        raise UnplannedError
