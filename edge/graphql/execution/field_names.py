"""The names by which a client knows the fields of its request, for the messages of INVALID_ARGUMENT.

Services name a field as their contract does (`action_id`), graphql-core names the variable or nothing at all. The client
reads the argument and the path below it, in the spelling of the schema: `input.answers[0].questionId`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import pairwise
from typing import Any, Final

from graphql import (
    ArgumentNode,
    DocumentNode,
    GraphQLError,
    GraphQLField,
    GraphQLInputObjectType,
    GraphQLList,
    Node,
    ObjectFieldNode,
    Visitor,
    get_named_type,
    get_nullable_type,
    print_ast,
    visit,
)
from graphql.language.visitor import BREAK

from services.runtime.errors import Reason, ServiceError

MAX_FIELDS: Final = 3
# Fields of contracts that have another name in the schema.
_RENAMED: Final = {
    "pageToken": "after",
    "pageSize": "first",
    "quizId": "id",
    "inviteCode": "code",
    "expectedRevision": "expectedVersion",
    "answers": "answer",
}
_VARIABLE: Final = re.compile(r"Variable '\$(\w+)' has invalid value(?: at ([\w.[\]]+))?: ", re.ASCII)
_ENUM: Final = re.compile(
    r"(?:Value '.*' does not exist in '(\w+)' enum|Enum '(\w+)' cannot represent)", re.ASCII | re.DOTALL
)
_SCALAR: Final = re.compile(r"(Boolean|Float|ID|Int|String) cannot represent ", re.ASCII)
_SCALARS: Final = {
    "Boolean": "must be a Boolean: true or false.",
    "Float": "must be a Float: a number.",
    "ID": "must be an ID: a string or a whole number.",
    "Int": f"must be an Int: a whole number from {-(2**31)} to {2**31 - 1}.",
    "String": "must be a String.",
}
_NAMING: Final = frozenset({Reason.INVALID_ARGUMENT, Reason.BOARD_DEFINITION_INVALID})
_OBJECT: Final = re.compile(r"Expected value of type '(\w+)' to be an object", re.ASCII)
_MISSING: Final = re.compile(r"Expected (?:a )?value of non-null type", re.ASCII)
_MEMBER: Final = re.compile(
    r"Expected value of type '\w+' (to include required|not to include unknown) field '(\w+)'", re.ASCII
)


def with_field_names(error: ServiceError, definition: GraphQLField) -> ServiceError:
    """Return an error about arguments with a message that names those of the field; other errors unchanged."""
    violations = error.violations
    if not violations and "field" in error.metadata:
        violations = ((error.metadata["field"], error.message),)
    if error.reason not in _NAMING or not violations:
        return error
    named = [(field_path(definition, field), text) for field, text in violations]
    message = " ".join(f"{path}: {text.rstrip('.')}." for path, text in named[:MAX_FIELDS])
    return ServiceError(error.reason, message, retry_after=error.retry_after, violations=named)


def field_path(definition: GraphQLField, path: str) -> str:
    """Return the argument of a field that a path of its contract's request means; the path in camel case if none does.

    `credentials.username` becomes `input.username`: a message that only groups fields in the contract is left out. A path that
    leads to its end is better than one that does not.
    """
    parts = [re.sub(r"_(\w)", lambda match: match[1].upper(), part) for part in path.split(".")]
    fields = {name: argument.type for name, argument in definition.args.items()}
    within = get_named_type(fields["input"]) if "input" in fields else None
    inner = _types_in(within) if isinstance(within, GraphQLInputObjectType) else {}
    found: list[tuple[bool, str]] = []
    for start in range(len(parts)):
        for prefix, types in ("", fields), ("input.", inner):
            if names := _below(types, parts[start:]):
                found.append((len(names) == len(parts) - start, prefix + ".".join(names)))
    return next((path for is_whole, path in found if is_whole), found[0][1] if found else ".".join(parts))


def _below(types: Mapping[str, Any], parts: list[str]) -> list[str]:
    """Return the longest beginning of a path that leads through fields of these types."""
    if not parts:
        return []
    name, bracket, index = parts[0].partition("[")
    name = name if name in types else _RENAMED.get(name, name)
    if name not in types:
        return []
    inner = get_named_type(types[name])
    rest = _below(_types_in(inner), parts[1:]) if isinstance(inner, GraphQLInputObjectType) else []
    is_list = isinstance(get_nullable_type(types[name]), GraphQLList)
    return [f"{name}{bracket}{index}" if is_list else name, *rest]


def _types_in(definition: GraphQLInputObjectType) -> dict[str, Any]:
    return {name: each.type for name, each in definition.fields.items()}


def variable_message(error: GraphQLError) -> tuple[str, str]:
    """Return the field and the rule in the error of a variable; an empty field for any other error."""
    match = _VARIABLE.match(error.message)
    if match is None:
        return "", error.message
    return _member(match[1] + (match[2] or ""), error.message[match.end() :])


def name_literals(errors: list[GraphQLError], document: DocumentNode) -> list[GraphQLError]:
    """Return the errors of a document's validation, each about a literal value with the argument that it is for."""
    return [_named_literal(error, document) for error in errors]


def _named_literal(error: GraphQLError, document: DocumentNode) -> GraphQLError:
    node = error.nodes[0] if error.nodes else None
    if node is None or not (node.kind.endswith("_value") or isinstance(node, ObjectFieldNode)):
        return error
    field, rule = _member(_argument_of(node, document), error.message)
    return GraphQLError(f"{field}: {rule}", error.nodes) if field else error


def _member(path: str, rule: str) -> tuple[str, str]:
    """Return the member of an input object that is missing or unknown instead of the object, and the rule as one sentence.

    The sentence names what is expected, in the words of the schema, and never the value that was sent.
    """
    if match := _MEMBER.match(rule):
        path = path if path.endswith(f".{match[2]}") else f"{path}.{match[2]}"
        return path, "is required." if match[1].startswith("to") else "is unknown."
    return path, _expected(rule)


def _expected(rule: str) -> str:
    if match := _ENUM.match(rule):
        return f"is not in the enum {match[1] or match[2]}."
    if match := _SCALAR.match(rule):
        return _SCALARS[match[1]]
    if match := _OBJECT.match(rule):
        return f"must be an object of type {match[1]}."
    return "is required." if _MISSING.match(rule) else rule


def _argument_of(node: Node, document: DocumentNode) -> str:
    """Return the argument, and the path of members below it, in which a node of a document is."""
    finder = _Finder(node)
    visit(document, finder)
    names = ""
    each: Any = document
    for previous, key in pairwise(("", *finder.path)):
        each = each[key] if isinstance(key, int) else getattr(each, key)
        if isinstance(each, ArgumentNode | ObjectFieldNode):
            names += f".{each.name.value}" if names else each.name.value
        elif previous == "values":
            names += f"[{key}]"
    return names


class _Finder(Visitor):
    """Finds the path from a document to one of its nodes."""

    def __init__(self, node: Node) -> None:
        super().__init__()
        self.path: list[str | int] = []
        self._node = node

    def enter(self, node: Node, _key: Any, _parent: Any, path: list[str | int], _ancestors: Any) -> Any:
        if node.kind != self._node.kind or not self._is_same(node):
            return None
        self.path = list(path)
        return BREAK

    def _is_same(self, node: Node) -> bool:
        """Compare places or, because validation copies objects and lists without their place, text."""
        return node.loc == self._node.loc if self._node.loc else print_ast(node) == print_ast(self._node)
