"""From text to a prepared document: parsed, priced and validated, with what is true of each of its operations.

Owns the order (price before validation, whose own cost can explode) and the bounds of each step. Looks at nothing of a
request but its text, so the result holds for every request with the same text. Pure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    GraphQLSchema,
    InlineFragmentNode,
    NoSchemaIntrospectionCustomRule,
    OperationDefinitionNode,
    OperationType,
    SelectionSetNode,
    parse,
    specified_rules,
    validate,
)
from graphql.validation.rules import overlapping_fields_can_be_merged

from edge.graphql.execution.cost import Limits, cost_of, too_costly
from edge.graphql.execution.field_names import name_literals
from edge.graphql.execution.plan import Plan, plan_of
from edge.graphql.fields import declaration
from services.runtime.errors import Reason, ServiceError

# Each error may repeat a whole value of the document before it is cut.
MAX_ERRORS: Final = 5
# The position of each error is found by reading the document's lines up to it.
MAX_LINES: Final = 1000
# What comparing fields of one response name may take, in the library's units: about a microsecond each. The library reads
# its budget from there and has no parameter for it.
MAX_COMPARISONS: Final = 10_000
overlapping_fields_can_be_merged.MAX_COMPLEXITY_BUDGET = MAX_COMPARISONS
_ABORTED: Final = "Validation aborted."


class DocumentError(Exception):
    """A document that cannot be executed, and why: `errors` has at least one entry."""

    def __init__(self, errors: list[GraphQLError]) -> None:
        super().__init__(errors[0].message)
        self.errors = errors


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation of a valid document."""

    is_mutation: bool
    rates: Mapping[str, int]
    """What executing it counts for, by the names of rates; each alias counts."""
    fields: int
    """How many root fields it selects."""
    readers: frozenset[str] | None
    """Who may read the response, if it is the same for all of them; otherwise None."""


@dataclass(slots=True)
class Prepared:
    """A document that may be executed. `digest` is the SHA-256 of its text, and `size` the text's length."""

    digest: str
    size: int
    document: DocumentNode
    operations: Mapping[str | None, Operation]
    is_shared: bool = False
    """Whether this process knows that other edges can find it by its digest."""
    _uses: int = 0
    _plans: dict[str | None, Plan | None] = field(default_factory=dict)

    def operation(self, name: str | None) -> Operation:
        """Return the named operation, or without a name the only one. Raises INVALID_ARGUMENT if there is none."""
        if name is None and len(self.operations) == 1:
            return next(iter(self.operations.values()))
        if name is None or name not in self.operations:
            raise ServiceError(
                Reason.INVALID_ARGUMENT, "The document has no such operation. Name one of them in operationName."
            )
        return self.operations[name]

    def plan(self, schema: GraphQLSchema, name: str | None) -> Plan | None:
        """Return the plan of an operation; None if there is none, and at the first use of the document."""
        self._uses += 1
        if self._uses == 1:  # most documents that are not sent again would not be worth it
            return None
        if name not in self._plans:
            self._plans[name] = plan_of(schema, self.document, name)
        return self._plans[name]


def prepare(text: str, digest: str, schema: GraphQLSchema, limits: Limits, *, introspection: bool) -> Prepared:
    """Prepare the document of `text`.

    Raises DocumentError for an invalid document, and ServiceError DOCUMENT_TOO_COSTLY for one that exceeds a limit.
    """
    if text.count("\n") + text.count("\r") >= MAX_LINES:
        raise too_costly(f"The document has too many lines; the limit is {MAX_LINES}.")
    try:
        document = _parsed(text, limits.tokens)
        limits.check(cost_of(document, schema))
        _validate(document, schema, introspection=introspection)
    except RecursionError:
        raise too_costly("The document is nested too deep.") from None
    fragments = {node.name.value: node for node in document.definitions if isinstance(node, FragmentDefinitionNode)}
    operations = {
        node.name.value if node.name else None: _operation(node, fragments, schema)
        for node in document.definitions
        if isinstance(node, OperationDefinitionNode)
    }
    return Prepared(digest, len(text), document, operations)


def errors_of(error: DocumentError | ServiceError) -> list[GraphQLError]:
    """Return why a document cannot be executed as errors of GraphQL."""
    return error.errors if isinstance(error, DocumentError) else [GraphQLError(error.message, original_error=error)]


def _parsed(text: str, max_tokens: int) -> DocumentNode:
    try:
        return parse(text, max_tokens=max_tokens, allow_empty_selection_sets=False)
    except GraphQLError as error:
        if "token" in error.message and str(max_tokens) in error.message:
            raise too_costly(f"The document has too many tokens; the limit is {max_tokens}.") from None
        raise DocumentError([error]) from None


def _validate(document: DocumentNode, schema: GraphQLSchema, *, introspection: bool) -> None:
    rules = specified_rules if introspection else (*specified_rules, NoSchemaIntrospectionCustomRule)
    errors = validate(schema, document, rules, max_errors=MAX_ERRORS, hide_suggestions=not introspection)
    if any(error.message == _ABORTED for error in errors):
        raise too_costly("The document has too many fields or fragments to compare with one another.")
    if errors:
        raise DocumentError(name_literals(errors, document))


def _operation(
    node: OperationDefinitionNode, fragments: Mapping[str, FragmentDefinitionNode], schema: GraphQLSchema
) -> Operation:
    root = schema.get_root_type(node.operation)
    definitions = root.fields if root is not None else {}
    names = [field.name.value for field in _root_fields(node.selection_set, fragments)]
    declared = [declaration(definitions[name]) for name in names if name in definitions]
    rates = Counter(each.rate for each in declared)
    rates["query"] += len(names) - len(declared)  # fields of introspection
    readers = {each.access if each.same_for_all else None for each in declared}
    is_same_for_all = len(readers) == 1 and not node.directives and not fragments and _is_plain(node.selection_set, 2)
    return Operation(
        is_mutation=node.operation is OperationType.MUTATION,
        rates=+rates,
        fields=len(names),
        readers=readers.pop() if is_same_for_all and len(declared) == len(names) else None,
    )


def _root_fields(selections: SelectionSetNode, fragments: Mapping[str, FragmentDefinitionNode]) -> Iterator[FieldNode]:
    for selection in selections.selections:
        if isinstance(selection, FieldNode):
            yield selection
        elif isinstance(selection, InlineFragmentNode):
            yield from _root_fields(selection.selection_set, fragments)
        elif isinstance(selection, FragmentSpreadNode):
            yield from _root_fields(fragments[selection.name.value].selection_set, fragments)


def _is_plain(selections: SelectionSetNode, depth: int) -> bool:
    """Whether fields without directives alone are selected, at most `depth` levels of them."""
    return all(
        isinstance(each, FieldNode)
        and not each.directives
        and (each.selection_set is None or (depth > 1 and _is_plain(each.selection_set, depth - 1)))
        for each in selections.selections
    )
