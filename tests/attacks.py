"""Requests that cost a server more than they cost their sender, each as large as a body may be.

`system/access/test_attacks.py` tests the response to each, `bench/documents.py` measures what it costs. Those that are
executed grow until one more field would be refused.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from edge.graphql.execution.cost import Limits
from edge.graphql.execution.prepared import DocumentError, prepare
from edge.graphql.schema import executable_schema
from services.runtime.errors import ServiceError

BODY_BYTES = 65_536
TOO_COSTLY = "DOCUMENT_TOO_COSTLY"
INVALID = "INVALID_ARGUMENT"
ANSWERED = ""


@dataclass(frozen=True)
class Attack:
    """A request, and the reason of the first error in its response; empty if it is executed."""

    name: str
    query: str
    reason: str = TOO_COSTLY
    variables: Any = None

    @property
    def body(self) -> bytes:
        """The request's body, within the limit."""
        request = {"query": self.query} | ({"variables": self.variables} if self.variables is not None else {})
        body = json.dumps(request, ensure_ascii=False, separators=(",", ":")).encode()
        assert len(body) <= BODY_BYTES, (self.name, len(body))
        return body


def check(text: str) -> None:
    """Prepare a document as an edge does by default in development, where more is allowed. Raises its refusal."""
    prepare(text, "", executable_schema(), Limits(), introspection=True)


def filled(head: str, unit: str | Callable[[int], str], tail: str = "") -> str:
    """Return a document with as many units as fit into a body."""
    room = BODY_BYTES - len(json.dumps(head + tail, ensure_ascii=False).encode()) - 60
    parts: list[str] = []
    while True:
        part = unit if isinstance(unit, str) else unit(len(parts))
        room -= len(json.dumps(part, ensure_ascii=False).encode()) - 2
        if room < 0:
            return head + "".join(parts) + tail
        parts.append(part)


def times(count: int, unit: str | Callable[[int], str]) -> str:
    """Return `count` units."""
    return "".join(unit if isinstance(unit, str) else unit(number) for number in range(count))


def largest(make: Callable[[int], str], most: int = 400) -> str:
    """Return the document with the greatest number that is not refused."""
    low, high = 1, most
    while low < high:
        middle = (low + high + 1) // 2
        try:
            check(make(middle))
            low = middle
        except (ServiceError, DocumentError):
            high = middle - 1
    return make(low)


def chain(count: int, body: Callable[[int], str], kind: str = "Query") -> str:
    """Return fragments, each of which may spread the next."""
    return times(count, lambda n: f"fragment F{n} on {kind}{{{body(n)}}}")


PARSED = [
    Attack("comments", filled("{__typename}", "# \n"), TOO_COSTLY),
    Attack("empty lines", filled("{__typename}", "\n"), TOO_COSTLY),
    Attack("commas", filled("{", ",", "__typename}"), ANSWERED),
    Attack("byte order marks", filled("{", "\ufeff", "__typename}"), ANSWERED),
    Attack("a long name", filled("{", "a", "}"), INVALID),
    Attack("a long name that an error's masking would search", filled("{", "represent", "}"), INVALID),
    Attack("a long string", filled('{quiz(id:"', "a", '"){id}}'), "UNAUTHENTICATED"),
    Attack("a string of escapes", filled('{quiz(id:"', "\\u{1F600}", '"){id}}'), "UNAUTHENTICATED"),
    Attack("a block string of quotes", filled('{quiz(id:"""', '\\"""', '"""){id}}'), "UNAUTHENTICATED"),
    Attack("characters of four bytes", filled('{quiz(id:"', "\U0001f600", '"){id}}'), "UNAUTHENTICATED"),
    Attack("a long number", filled("{quiz(id:", "9", "){id}}"), "UNAUTHENTICATED"),
    Attack("short fields", filled("{me{", "a ", "}}"), TOO_COSTLY),
    Attack("aliases", filled("{", lambda n: f"a{n}:me{{userId}}", "}"), TOO_COSTLY),
    Attack("open braces", filled("", "{a"), INVALID),
    Attack("open brackets", filled("{me(a:", "["), INVALID),
    Attack("directives", "{me{userId " + times(980, "@a") + "}}", INVALID),
    Attack("known directives", "{me{userId " + times(240, "@skip(if:true)") + "}}", INVALID),
    Attack("definitions of types", times(240, lambda n: f"type T{n}{{a:Int}}"), INVALID),
]
VALIDATED = [
    Attack("a fragment bomb", "{...F0}" + chain(26, lambda n: f"...F{n + 1} ...F{n + 1}") +
           "fragment F26 on Query{me{userId}}"),
    Attack("a fragment bomb with fields", "{...F0}" + chain(26, lambda n: f"a:me{{userId}} ...F{n + 1} ...F{n + 1}")
           + "fragment F26 on Query{me{userId}}"),
    Attack("fragments that spread all others", "{...F0}"
           + chain(24, lambda n: times(24, lambda m: f"...F{m} ")), INVALID),
    Attack("a long chain of fragments", "{...F0}" + chain(200, lambda n: f"...F{n + 1}")
           + "fragment F200 on Query{me{userId}}"),
    Attack("fragments beside one another", "{" + times(170, lambda n: f"...F{n} ") + "}"
           + chain(170, lambda n: f"a{n}:__typename")),
    Attack("fields of one name", "{" + times(140, "me{userId}") + "}"),
    Attack("fields of one name with a chain", "{" + times(90, lambda n: f"a:me{{x{n}:userId ...F0}}") + "}"
           + chain(40, lambda n: f"u{n}:userId ...F{n + 1}", "Me") + "fragment F40 on Me{userId}"),
    Attack("fields of one name with arguments", "{" + times(120, lambda n: f"leaderboard(first:{n + 1}){{totalCount}}") + "}"),
    Attack("operations", times(200, lambda n: f"query q{n}{{me{{userId}}}}")),
    Attack("variables of every operation", times(10, lambda n: f"query q{n}($a:ID!){{...F}}")
           + "fragment F on Query{ranks(userIds:[" + times(900, "$a ") + "]){notFound}}", INVALID),
    Attack("variables", "query(" + times(480, lambda n: f"$a{n}:Int ") + "){me{userId}}", INVALID),
    Attack("wrapped types", "query(" + times(40, lambda n: f"$a{n}:{'[' * 20}Int{']' * 20} ") + "){me{userId}}", INVALID),
    Attack("a literal of unknown fields", "{leaderboard(board:{" + times(600, lambda n: f"a{n}:1 ")
           + "}){totalCount}}", INVALID),
    Attack("a literal that each error repeats", "{leaderboard(board:{a:[" + times(1900, "1 ")
           + "] b:1 c:1 d:1 e:1 f:1}){totalCount}}", INVALID),
    Attack("a long list", "{ranks(userIds:[" + times(1900, '"a"') + "]){notFound}}", "UNAUTHENTICATED"),
    Attack("unknown arguments", "{me(" + times(600, lambda n: f"a{n}:1 ") + "){userId}}", INVALID),
    Attack("deep introspection", "{__schema{types{" + "fields{type{" * 6 + "name" + "}}" * 6 + "}}}"),
    Attack("deep inline fragments", "{" + "...{" * 100 + "me{userId}" + "}" * 100 + "}"),
]  # fmt: skip
SUBMIT = "mutation($i:QuizActionInput!){submitQuizAction(input:$i){success}}"
LOGIN = "mutation($i:LoginInput!){login(input:$i){expiresIn}}"
COERCED = [
    Attack("a long list as a variable", "query($i:[ID!]!){ranks(userIds:$i){notFound}}", TOO_COSTLY, {"i": ["a"] * 16_000}),
    Attack("many objects as a variable", SUBMIT, TOO_COSTLY, {"i": {"answers": [{"a": 1}] * 7_000}}),
    Attack("many variables", "{__typename}", TOO_COSTLY, {f"a{n}": 1 for n in range(6_000)}),
    Attack("a deep variable", "query($i:ID!){quiz(id:$i){id}}", TOO_COSTLY, {"i": json.loads("[" * 900 + "]" * 900)}),
    Attack("as many wrong values as are read", SUBMIT, INVALID, {"i": {"answers": [{"a": 1}] * 490}}),
    Attack("a long value", "query($i:ID!){quiz(id:$i){id}}", "UNAUTHENTICATED", {"i": "a" * 65_000}),
    Attack("a name of marks in the wrong order", LOGIN, INVALID,
           {"i": {"username": "a" + "\u0301" * 16_000 + "\u0316" * 16_000, "password": "correct horse"}}),
    Attack("a long password", LOGIN, INVALID, {"i": {"username": "alice", "password": "p" * 65_000}}),
]  # fmt: skip


def executed() -> list[Attack]:
    """Return the largest requests that are executed; they need a signed-in player."""

    def attack(name: str, make: Callable[[int], str]) -> Attack:
        return Attack(name, largest(make), ANSWERED)

    def aliases(count: int, field: str) -> str:
        return times(count, lambda n: f"a{n}:{field} ")

    return [
        attack("calls", lambda n: "{" + aliases(n, "percentile") + "}"),
        attack("calls below the caller", lambda n: "{me{" + aliases(n, "rank") + "}}"),
        attack("pages", lambda n: "{" + aliases(n, "getLeaderboard(limit:100){userId}") + "}"),
        attack("a page of many fields", lambda n: "{getLeaderboard(limit:100){" + aliases(n, "userId") + "}}"),
        attack("a page of many users", lambda n: "{getLeaderboard(limit:100){" + aliases(n, "user{username}") + "}}"),
        attack(
            "a page of many edges", lambda n: "{leaderboard(first:100){edges{node{" + aliases(n, "username") + "}}}}"
        ),
        attack("neighbors", lambda n: "{" + aliases(n, "aroundPlayer(radius:50){entries{userId}}") + "}"),
        attack("quizzes", lambda n: "{quizzes(first:50){edges{node{questions{" + aliases(n, "options{id}") + "}}}}}"),
        attack("boards", lambda n: "{" + aliases(n, "boards{key}") + "}"),
        attack("histories", lambda n: "{" + aliases(n, "scoreHistory(first:100){edges{node{kind}}}") + "}"),
        attack("introspection", lambda n: "{__schema{types{" + aliases(n, "fields{name type{name}}") + "}}}"),
        attack(
            "introspection of wrapped types",
            lambda n: "{__schema{types{fields{type{ofType{" + aliases(n, "name") + "}}}}}}",
        ),
    ]


def generated(seed: int) -> str:
    """Return a random document near the limits: operations, fragments in any order, fields of few names, variables."""
    chance = random.Random(seed)
    fragments, names = chance.choice([0, 2, 10, 40, 120]), chance.choice([1, 3, 30])
    budget = 1900

    def name(prefix: str) -> str:
        return f"{prefix}{chance.randrange(names)}"

    def selections(depth: int, most: int) -> str:
        nonlocal budget
        parts = []
        for _ in range(chance.randint(1, most)):
            if budget < 20:
                break
            budget -= 6
            pick = chance.random()
            if pick < 0.3 and fragments:
                parts.append(f"...F{chance.randrange(fragments)}")
            elif pick < 0.5 and depth:
                parts.append(f"{name('a')}:me{{{selections(depth - 1, most)}}}")
            elif pick < 0.6 and depth:
                parts.append(f"...{{{selections(depth - 1, most)}}}")
            elif pick < 0.7:
                count = chance.randint(1, max(1, budget // 40))
                budget -= count
                parts.append(f"{name('b')}:ranks(userIds:[{'$v ' * count}]){{notFound}}")
            elif pick < 0.8:
                parts.append(f"leaderboard(board:{{{name('c')}:1 {name('d')}:2}}){{totalCount}}")
            else:
                parts.append(f"{name('e')}:__typename")
        return " ".join(parts) or "__typename"

    operations = times(chance.choice([1, 1, 10]), lambda n: f"query q{n}($v:ID){{{selections(4, 12)}}}")
    return operations + chain(
        fragments, lambda _: selections(2, chance.choice([1, 4, 12])), chance.choice(["Query", "Me"])
    )
