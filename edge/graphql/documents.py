"""From text to a document that may be executed: parsed, priced, validated, and remembered.

Owns the order (price before validation, whose own cost can explode), the bounds of each step, and the cache. Nothing of
a request but its text is looked at, so what is found out holds for every request with the same text.
"""

from __future__ import annotations

from graphql import (
    DocumentNode,
    GraphQLError,
    GraphQLSchema,
    NoSchemaIntrospectionCustomRule,
    OperationDefinitionNode,
    get_operation_ast,
    parse,
    specified_rules,
    validate,
)
from graphql.validation.rules import overlapping_fields_can_be_merged

from edge.graphql.cost import Limits, cost_of, too_costly
from edge.graphql.remembered import Remembered
from services.runtime.errors import Reason, ServiceError

# Each error may repeat a whole value of the document before it is cut.
MAX_ERRORS = 5
# The place of each error is found by reading the document's lines up to it.
MAX_LINES = 1000
# What comparing fields of one response name may take, in the library's units: about a microsecond each.
MAX_COMPARISONS = 10_000
# A syntax tree takes some hundred times the memory of its text.
MAX_CACHED_CHARACTERS = 256 * 1024

_ABORTED = "Validation aborted."


class DocumentError(Exception):
    """A document that can't be executed, and why: `errors` has at least one entry."""

    def __init__(self, errors: list[GraphQLError]) -> None:
        super().__init__(errors[0].message)
        self.errors = errors


class Documents:
    """The documents of one schema, remembered by their text: the least recently used are forgotten first."""

    def __init__(self, schema: GraphQLSchema, limits: Limits, *, max_tokens: int, introspection: bool) -> None:
        self._schema = schema
        self._limits = limits
        self._max_tokens = max_tokens
        self._hide_suggestions = not introspection
        self._rules = specified_rules if introspection else (*specified_rules, NoSchemaIntrospectionCustomRule)
        self._kept: Remembered[str, DocumentNode] = Remembered(MAX_CACHED_CHARACTERS)
        # The library has no other way to say it.
        overlapping_fields_can_be_merged.MAX_COMPLEXITY_BUDGET = MAX_COMPARISONS

    def get(self, text: str) -> DocumentNode:
        """The document of `text`, fit for execution.

        Raises DocumentError for what is not valid, ServiceError DOCUMENT_TOO_COSTLY for what costs too much.
        """
        kept = self._kept.get(text)
        if kept is not None:
            return kept
        try:
            document = self._prepare(text)
        except RecursionError:
            raise too_costly("the document is nested too deep") from None
        self._kept.put(text, document, len(text))
        return document

    def _prepare(self, text: str) -> DocumentNode:
        if text.count("\n") + text.count("\r") >= MAX_LINES:
            raise too_costly(f"the document has more than {MAX_LINES} lines")
        try:
            document = parse(text, max_tokens=self._max_tokens, allow_empty_selection_sets=False)
        except GraphQLError as error:
            if "token" in error.message and str(self._max_tokens) in error.message:
                raise too_costly(f"the document has more than {self._max_tokens} tokens") from None
            raise DocumentError([error]) from None
        self._limits.check(cost_of(document, self._schema))
        errors = validate(
            self._schema, document, self._rules, max_errors=MAX_ERRORS, hide_suggestions=self._hide_suggestions
        )
        if any(error.message == _ABORTED for error in errors):
            raise too_costly("the document has too many fields or fragments to compare with one another")
        if errors:
            raise DocumentError(errors)
        return document


def operation_of(document: DocumentNode, name: str | None) -> OperationDefinitionNode:
    """The operation that is meant. Raises INVALID_ARGUMENT unless the name, or there being one alone, says which."""
    operation = get_operation_ast(document, name)
    if operation is None:
        raise ServiceError(Reason.INVALID_ARGUMENT, "operationName must name one operation of the document")
    return operation


def errors_of(unfit: DocumentError | ServiceError) -> list[GraphQLError]:
    """Why a document can't be executed, in the form of GraphQL."""
    return unfit.errors if isinstance(unfit, DocumentError) else [GraphQLError(unfit.message, original_error=unfit)]
