"""The cost of a document: found in one walk, whatever it expands to."""

from __future__ import annotations

import pytest
from graphql import get_introspection_query, parse

from edge.graphql.execution.cost import Cost, Limits, cost_of
from edge.graphql.execution.prepared import DocumentError, Prepared, prepare
from edge.graphql.schema import executable_schema
from services.runtime.errors import Reason, ServiceError

SCHEMA = executable_schema()
DEPTH = 26


def cost(text: str) -> Cost:
    return cost_of(parse(text), SCHEMA)


def prepared(text: str, limits: Limits | None = None, *, introspection: bool = True) -> Prepared:
    return prepare(text, "", SCHEMA, limits or Limits(), introspection=introspection)


def nested_spreads(inner: str) -> str:
    """Fragments that spread the next one twice each, which doubles the document with every level."""
    steps = "".join(f"fragment F{n} on Query{{{inner}...F{n + 1} ...F{n + 1}}}" for n in range(DEPTH))
    return f"{{...F0}}{steps}fragment F{DEPTH} on Query{{me{{userId}}}}"


@pytest.mark.parametrize("inner", ["", "a:me{userId} "], ids=["bare", "with aliases"])
def test_doubled_fragment_spreads_are_walked_once_and_refused(inner: str) -> None:
    text = nested_spreads(inner)
    assert len(text) < 1500

    found = cost(text)

    assert found.total >= 2**DEPTH
    # Two spreads a level, the field and its field, and what is between: linear, not doubled.
    assert found.visited <= 2 * DEPTH + 3 + (2 * DEPTH if inner else 0)
    with pytest.raises(ServiceError) as refused:
        prepared(text)
    assert refused.value.reason is Reason.DOCUMENT_TOO_COSTLY


def test_a_list_multiplies_the_cost_of_its_entries() -> None:
    one = cost("{getLeaderboard(limit: 1) {userId}}").total
    hundred = cost("{getLeaderboard(limit: 100) {userId}}").total
    assert hundred - one == 99


@pytest.mark.parametrize("argument", ["$n", "1000", "-1", "99999999999"])
def test_a_length_that_is_unknown_or_out_of_bounds_costs_the_maximum(argument: str) -> None:
    most = cost("{getLeaderboard(limit: 100) {userId}}").total
    assert cost(f"query($n: Int!) {{getLeaderboard(limit: {argument}) {{userId}}}}").total == most


def test_an_inline_fragment_costs_as_much_as_its_fields() -> None:
    plain = cost("{getLeaderboard(limit: 50) {userId user {username}}}")
    inlined = cost(
        "{... on Query {getLeaderboard(limit: 50) {... on LeaderboardEntry {userId ... {user {username}}}}}}"
    )
    assert (inlined.total, inlined.fields, inlined.depth) == (plain.total, plain.fields, plain.depth)


def test_a_page_of_a_hundred_with_its_users_is_affordable() -> None:
    prepared("{getLeaderboard(limit:100){userId username score rank country user{userId username country}}}")


def test_a_page_of_quizzes_with_all_their_questions_is_affordable() -> None:
    prepared(
        "{quizzes{totalCount pageInfo{hasNextPage endCursor} edges{cursor node{id title description tags "
        "questions{id text kind points options{id text}}}}}}"
    )


def test_the_introspection_of_common_clients_is_affordable() -> None:
    prepared(get_introspection_query(specified_by_url=True, directive_is_repeatable=True, input_value_deprecation=True))


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("{quizzes{edges{node{questions{options{id}}}}}}", {"depth": 5}),
        ("{me{" + " ".join(f"a{n}: userId" for n in range(20)) + "}}", {"fields": 20}),
        ("{getLeaderboard(limit: 100){userId}}", {"cost": 100}),
        ("query a{me{userId}} query b{me{userId}}", {"operations": 1}),
    ],
)
def test_each_limit_is_enforced_alone(text: str, limit: dict[str, int]) -> None:
    prepared(text)
    with pytest.raises(ServiceError) as refused:
        prepared(text, Limits(**limit))
    assert refused.value.reason is Reason.DOCUMENT_TOO_COSTLY


def test_a_document_of_many_lines_is_refused_before_it_is_read() -> None:
    prepared("{" + "\n" * 999 + "me{userId}}")
    for line_end in ("\n", "\r"):
        with pytest.raises(ServiceError) as refused:
            prepared("{" + line_end * 1000 + "me{userId}}")
        assert "lines" in refused.value.message


@pytest.mark.parametrize(
    "text",
    [
        "{" + "me{userId} " * 140 + "}",
        "{" + "".join(f"...F{n} " for n in range(150)) + "}"
        + "".join(f"fragment F{n} on Query{{a{n}:__typename}}" for n in range(150)),
        "{" + "".join(f"a:me{{x{n}:userId ...F0}} " for n in range(90)) + "}"
        + "".join(f"fragment F{n} on Me{{u{n}:userId ...F{n + 1}}}" for n in range(40))
        + "fragment F40 on Me{userId}",
    ],
    ids=["fields of one name", "fragments beside one another", "fields of one name with fragments"],
)  # fmt: skip
def test_a_document_with_too_many_comparisons_is_refused(text: str) -> None:
    with pytest.raises(ServiceError) as refused:
        prepared(text, Limits(fields=10_000, cost=1_000_000, depth=100))
    assert refused.value.reason is Reason.DOCUMENT_TOO_COSTLY
    assert "compare" in refused.value.message


def test_eleven_logins_in_one_document_are_refused() -> None:
    logins = " ".join(f'a{n}: login(input:{{username:"n", password:"p"}}) {{expiresIn}}' for n in range(11))
    with pytest.raises(ServiceError):
        prepared(f"mutation {{{logins}}}")


def test_too_many_tokens_are_refused_before_the_document_is_read() -> None:
    with pytest.raises(ServiceError) as refused:
        prepared("{me{" + "userId " * 2000 + "}}")
    assert refused.value.reason is Reason.DOCUMENT_TOO_COSTLY


@pytest.mark.parametrize(
    "text",
    ["{a" * 20_000, "{me(a:" + "[" * 30_000, '{quiz(id:{a:"' + "x" * 60_000, "{...A}" + "fragment A on Query{...A}"],
)
def test_a_long_malformed_document_is_an_error_of_the_document(text: str) -> None:
    with pytest.raises((DocumentError, ServiceError)):
        prepared(text)


def test_fragments_that_spread_a_long_chain_are_refused() -> None:
    chain = "".join(f"fragment F{n} on Query{{...F{n + 1}}}" for n in range(200))
    with pytest.raises(ServiceError):
        prepared("{...F0}" + chain + "fragment F200 on Query{me{userId}}")


def test_introspection_is_refused_where_it_is_off() -> None:
    with pytest.raises(DocumentError):
        prepared("{__schema{types{name}}}", introspection=False)


def test_suggestions_are_hidden_where_introspection_is_off() -> None:
    text = "{me{userIdd}}"
    messages = {}
    for introspection in (True, False):
        with pytest.raises(DocumentError) as refused:
            prepared(text, introspection=introspection)
        messages[introspection] = refused.value.errors[0].message
    assert "Did you mean" in messages[True]
    assert "Did you mean" not in messages[False]
