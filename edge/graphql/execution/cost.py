"""The cost of a document, found before anything else is done with it.

One walk over the syntax tree, bottom up. Each selection set yields three numbers that do not depend on where it stands
(height, fields, total), so each fragment is walked once however often it is spread: the walk is linear in the document
where the expanded document may be exponential. Pure; must never execute, validate or repeat a walk.

    total(selection set) = Σ cost(field) + size(field) · total(field's selection set)

`cost` and `size` are declared at the field (see `fields`). The size of a page is its argument where that is a plain number,
and the maximum where it is a variable or out of bounds. The number of operations is bounded because each of them is
validated with all its fragments.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLField,
    GraphQLNamedType,
    GraphQLObjectType,
    GraphQLSchema,
    IntValueNode,
    OperationDefinitionNode,
    SelectionSetNode,
    get_named_type,
)

from edge.graphql.fields import Page, declaration
from services.runtime.errors import Reason, ServiceError

# Typical lengths of the lists of introspection. Hardly any type wraps one that wraps another.
_INTROSPECTION_SIZES: Final[Mapping[str, float]] = {"__Schema.types": 40, "__Type.fields": 5, "__Type.ofType": 0.5}
# Inline fragments and spreads nest as well, and no sensible document does so as deep as this.
MAX_NESTING: Final = 60
_BEYOND: Final = 10**12


@dataclass(frozen=True)
class Limits:
    """The most a document may be; see EdgeConfig for each."""

    depth: int = 14
    fields: int = 300
    cost: int = 5_000
    operations: int = 10
    tokens: int = 2_000

    def check(self, cost: Cost) -> None:
        """Raise DOCUMENT_TOO_COSTLY, naming the first limit that `cost` exceeds."""
        # Introspection is deep and wide by nature. It is off in production by default.
        factor = 2 if cost.introspects else 1
        for name, value, maximum in (
            ("depth", cost.depth, self.depth * factor),
            ("number of fields", cost.fields, self.fields * factor),
            ("cost", cost.total, self.cost * factor),
            ("number of operations", cost.operations, self.operations),
        ):
            if value > maximum:
                raise too_costly(f"The document's {name} is {min(value, _BEYOND):.0f}; the limit is {maximum}.")


@dataclass(frozen=True)
class Cost:
    """The cost of a document, all its operations together; `visited` counts the steps it took to find it."""

    depth: int
    fields: int
    total: float
    operations: int
    introspects: bool
    visited: int


def too_costly(message: str) -> ServiceError:
    """Return the refusal of a document."""
    return ServiceError(Reason.DOCUMENT_TOO_COSTLY, message)


def cost_of(document: DocumentNode, schema: GraphQLSchema) -> Cost:
    """Return the cost of a document, valid or not; a field that the schema does not have costs 1.

    Raises DOCUMENT_TOO_COSTLY for nesting that no limit would allow.
    """
    return _Walk(document, schema).cost()


@dataclass(frozen=True, slots=True)
class _Weight:
    height: int = 0
    fields: int = 0
    total: float = 0


_NOTHING = _Weight()


class _Walk:
    def __init__(self, document: DocumentNode, schema: GraphQLSchema) -> None:
        self._schema = schema
        self._operations = [node for node in document.definitions if isinstance(node, OperationDefinitionNode)]
        self._fragments = {
            node.name.value: node for node in document.definitions if isinstance(node, FragmentDefinitionNode)
        }
        self._weights: dict[str, _Weight] = {}
        self._introspects = False
        self._visited = 0

    def cost(self) -> Cost:
        weights = [
            self._set(operation.selection_set, self._schema.get_root_type(operation.operation), 0)
            for operation in self._operations
        ]
        for name in self._fragments:  # one that nothing spreads is validated all the same
            self._fragment(name, 0)
        return Cost(
            depth=max((weight.height for weight in weights), default=0),
            fields=sum(weight.fields for weight in weights),
            total=sum(weight.total for weight in weights),
            operations=len(self._operations),
            introspects=self._introspects,
            visited=self._visited,
        )

    def _set(self, selections: SelectionSetNode | None, parent: GraphQLNamedType | None, nesting: int) -> _Weight:
        if selections is None:
            return _NOTHING
        if nesting > MAX_NESTING:
            raise too_costly(f"The document is nested too deep; the limit is {MAX_NESTING}.")
        height = fields = 0
        total = 0.0
        for selection in selections.selections:
            self._visited += 1
            if isinstance(selection, FieldNode):
                weight = self._field(selection, parent, nesting + 1)
            elif isinstance(selection, FragmentSpreadNode):
                weight = self._fragment(selection.name.value, nesting + 1)
            else:
                condition = getattr(selection, "type_condition", None)
                inner = self._schema.get_type(condition.name.value) if condition else parent
                weight = self._set(getattr(selection, "selection_set", None), inner, nesting + 1)
            height = max(height, weight.height)
            fields = min(fields + weight.fields, _BEYOND)
            total = min(total + weight.total, _BEYOND)
        return _Weight(height, fields, total)

    def _field(self, node: FieldNode, parent: GraphQLNamedType | None, nesting: int) -> _Weight:
        name = node.name.value
        if name in ("__schema", "__type"):
            self._introspects = True
        definition = None
        if isinstance(parent, GraphQLObjectType):
            definition = self._schema.get_field(parent, name)
        inner = self._set(node.selection_set, get_named_type(definition.type) if definition else None, nesting)
        own, size = (1, 1.0) if definition is None else _declared(node, definition, f"{parent}.{name}")
        return _Weight(inner.height + 1, inner.fields + 1, own + size * inner.total)

    def _fragment(self, name: str, nesting: int) -> _Weight:
        known = self._weights.get(name)
        if known is not None:
            return known
        node = self._fragments.get(name)
        if node is None:
            return _NOTHING
        self._weights[name] = _NOTHING  # a cycle ends here; validation names it
        condition = self._schema.get_type(node.type_condition.name.value)
        weight = self._weights[name] = self._set(node.selection_set, condition, nesting)
        return weight


def _declared(node: FieldNode, definition: GraphQLField, coordinate: str) -> tuple[int, float]:
    """The field's own cost, and its size."""
    declared = declaration(definition)
    if isinstance(declared.size, Page):
        return declared.cost, _page_size(node, definition, declared.size)
    return declared.cost, declared.size or _INTROSPECTION_SIZES.get(coordinate, 1)


def _page_size(node: FieldNode, definition: GraphQLField, page: Page) -> int:
    for given in node.arguments or ():
        if given.name.value == page.argument:
            text = given.value.value if isinstance(given.value, IntValueNode) else ""
            return int(text) if text.isdigit() and len(text) < 6 and int(text) <= page.maximum else page.maximum
    default: int = definition.args[page.argument].default_value
    return default
