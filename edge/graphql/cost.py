"""What a document may cost, found out before anything else is done with it.

One walk over the syntax tree, bottom up. Each selection set yields three numbers that do not depend on where it stands
(height, fields, total), so each fragment is walked once however often it is spread: the walk is linear in the document
where the expanded document may be exponential. Pure; must never execute, validate or repeat a walk.

    total(selection set) = Σ price(field) + size(field) · total(field's selection set)

`size` is what a list may hold: its `first` or `limit` argument where that is a plain number, the maximum where it is a
variable or out of bounds, a typical length where the field has no such argument. `price` is 1 and more where a field is
a call of a service. The number of operations is bounded because each of them is validated with all its fragments.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLNamedType,
    GraphQLObjectType,
    GraphQLSchema,
    IntValueNode,
    OperationDefinitionNode,
    SelectionSetNode,
    get_named_type,
)

from services.runtime.errors import Reason, ServiceError

# Where one field is a call, or a list. A list without a length of its own is given a typical one.
PRICES: Mapping[str, int] = {
    "Query.getLeaderboard": 30,
    "Query.leaderboard": 30,
    "Query.aroundPlayer": 30,
    "Query.ranks": 60,
    "Query.percentile": 30,
    "Query.scoreForPercentile": 30,
    "Query.rankIfScore": 30,
    "Query.boards": 60,
    "Query.closedPeriods": 30,
    "Query.quizzes": 30,
    "Query.quiz": 30,
    "Query.scoreHistory": 30,
    "Query.flags": 30,
    "Query.streamToken": 30,
    "Query.exportMyData": 500,
    "LeaderboardEntry.user": 10,  # one call for all of a page, but each waits for it by itself
    "Me.score": 30,
    "Me.rank": 30,
    "Mutation.register": 500,
    "Mutation.login": 500,
    "Mutation.deleteMyAccount": 500,
    "Mutation.changePassword": 500,
    "Mutation.refreshToken": 200,
    "Mutation.logout": 200,
    "Mutation.submitQuizAction": 200,
    "Mutation.updateProfile": 200,
    "Mutation.voidAction": 200,
    "Mutation.adjustScore": 200,
    "Mutation.blockUser": 200,
    "Mutation.unblockUser": 200,
    "Mutation.closeFlag": 200,
}
SIZES: Mapping[str, tuple[str, float, float]] = {
    # field: (argument that bounds it, its default, its maximum)
    "Query.getLeaderboard": ("limit", 10, 100),
    "Query.leaderboard": ("first", 10, 100),
    "Query.aroundPlayer": ("radius", 5, 50),
    "Query.ranks": ("", 50, 50),
    "Query.boards": ("", 10, 10),
    "Query.closedPeriods": ("first", 20, 50),
    "Query.quizzes": ("first", 20, 50),
    "Query.scoreHistory": ("first", 20, 100),
    "Query.flags": ("first", 20, 100),
    "Quiz.questions": ("", 10, 10),
    "Question.options": ("", 4, 4),
    # A page's edges are as many as its field says.
    "QuizConnection.edges": ("", 1, 1),
    "ScoreHistory.edges": ("", 1, 1),
    "FlagConnection.edges": ("", 1, 1),
    "LeaderboardConnection.edges": ("", 1, 1),
    "ClosedPeriodConnection.edges": ("", 1, 1),
    "RankedEntries.entries": ("", 2, 2),
    "Flag.evidence": ("", 3, 3),
    "__Schema.types": ("", 40, 40),
    "__Type.fields": ("", 5, 5),
    # Every other type wraps none, and hardly any wraps one that wraps another.
    "__Type.ofType": ("", 0.5, 0.5),
}
# Inline fragments and spreads nest too, and no sensible document does so as deep as this.
MAX_NESTING = 60
_BEYOND = 10**12


@dataclass(frozen=True)
class Limits:
    """The most a document may be; see EdgeConfig for each."""

    depth: int = 14
    fields: int = 300
    cost: int = 5_000
    operations: int = 10

    def check(self, cost: Cost) -> None:
        """Raises DOCUMENT_TOO_COSTLY, naming the first limit that `cost` is above."""
        # Reading the schema is deep and wide by nature. It is offered in development alone.
        factor = 2 if cost.introspects else 1
        for name, value, maximum in (
            ("depth", cost.depth, self.depth * factor),
            ("fields", cost.fields, self.fields * factor),
            ("cost", cost.total, self.cost * factor),
            ("number of operations", cost.operations, self.operations),
        ):
            if value > maximum:
                raise too_costly(f"the document's {name} would be {min(value, _BEYOND):.0f}; the limit is {maximum}")


@dataclass(frozen=True)
class Cost:
    """What a document costs, all its operations together; `visited` counts the steps it took to find out."""

    depth: int
    fields: int
    total: float
    operations: int
    introspects: bool
    visited: int


def too_costly(message: str) -> ServiceError:
    """The refusal of a document."""
    return ServiceError(Reason.DOCUMENT_TOO_COSTLY, message)


def cost_of(document: DocumentNode, schema: GraphQLSchema) -> Cost:
    """The cost of a document, valid or not; what is unknown to the schema costs as little as it can do.

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
            raise too_costly(f"the document is nested deeper than {MAX_NESTING}")
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
        coordinate = f"{parent.name}.{name}" if parent else name
        total = PRICES.get(coordinate, 1) + _size(node, coordinate) * inner.total
        return _Weight(inner.height + 1, inner.fields + 1, total)

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


def _size(node: FieldNode, coordinate: str) -> float:
    bound = SIZES.get(coordinate)
    if bound is None:
        return 1
    argument, default, maximum = bound
    for given in node.arguments or ():
        if given.name.value == argument:
            text = given.value.value if isinstance(given.value, IntValueNode) else ""
            return int(text) if text.isdigit() and len(text) < 6 and int(text) <= maximum else maximum
    return default
