"""Authoring over gRPC and GraphQL: the same refusals for the same reason, the same faults, and the same facts."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any, Final

from pymongo import AsyncMongoClient

from services.cli.identity.accounts import grant_role
from services.quiz.formats.registry import read
from tests.players import PASSWORD, Player, endpoints, register
from tests.servers import RunningStack, unique
from tests.system.quizzes.both_ways import OK, BothWays, Refused, both_ways, facts, selection

UNKNOWN: Final = "no-such-quiz"
QUIZ: Final = selection("AuthoredQuiz", "owner", "editors")
DRAFT: Final = f"{{ quiz {QUIZ} document faults {selection('FileFault')} }}"
LIST: Final = f"""query ($all: Boolean!, $after: String) {{
  authoredQuizzes(all: $all, after: $after) {{ edges {{ cursor node {QUIZ} }} }}
}}"""
# The field of GraphQL that calls a method, with everything that it returns.
FIELDS: Final = {
    "GetDraft": f"query ($id: ID!) {{ quizDraft(id: $id) {DRAFT} }}",
    "SaveDraft": f"mutation ($input: SaveQuizDraftInput!) {{ saveQuizDraft(input: $input) {DRAFT} }}",
    "PublishQuiz": "mutation ($id: ID!, $revision: Int!, $version: Int!) {"
    f" publishQuiz(id: $id, revision: $revision, version: $version) {{ changed quiz {QUIZ} }} }}",
    "ListQuizVersions": "query ($id: ID!, $before: Int = 0) { quizVersions(id: $id, before: $before) "
    + selection("QuizVersion")
    + " }",
    "RestoreQuizVersion": "mutation ($id: ID!, $version: Int!, $revision: Int!) {"
    f" restoreQuizVersion(id: $id, version: $version, revision: $revision) {DRAFT} }}",
    "ScheduleQuiz": f"mutation ($input: ScheduleQuizInput!) {{ scheduleQuiz(input: $input) {QUIZ} }}",
    "CloseQuiz": f"mutation ($id: ID!) {{ closeQuiz(id: $id) {QUIZ} }}",
    "ArchiveQuiz": f"mutation ($id: ID!) {{ archiveQuiz(id: $id) {QUIZ} }}",
    "DuplicateQuiz": f"mutation ($id: ID!, $copyId: ID!) {{ duplicateQuiz(id: $id, copyId: $copyId) {DRAFT} }}",
    "ShareQuiz": f"mutation ($input: ShareQuizInput!) {{ shareQuiz(input: $input) {QUIZ} }}",
    "ImportFile": "mutation ($input: ImportQuizInput!) { importQuiz(input: $input) " + selection("QuizImport") + " }",
    "ExportFile": "query ($id: ID!, $format: QuizFileFormat!) { exportQuiz(id: $id, format: $format) "
    + selection("QuizFile")
    + " }",
}
AIKEN: Final = "Which is a prime?\nA. 7\nB. 9\nANSWER: A\n\nWhich is even?\nA. 1\nANSWER: A\n"


def document(quiz_id: str, **changes: Any) -> str:
    options = [{"id": "a", "text": "7"}, {"id": "b", "text": "9"}]
    question = {"id": "q1", "text": "Which is a prime?", "options": options, "correct": "a"}
    return json.dumps({"id": quiz_id, "title": "Primes", "questions": [question]} | changes, indent=1)


def faulty(quiz_id: str) -> str:
    """A draft with a fault in the quiz, in a question, in an option and in the key."""
    return document(quiz_id, title="", questions=[
        {"id": "q1", "text": "", "options": [{"id": "a", "text": "7"}, {"id": "b", "text": "7"}], "correct": "a"},
        {"id": "q2", "text": "One?", "options": [{"id": "a", "text": "1"}, {"id": "b", "text": "2"}], "correct": "c"},
    ])  # fmt: skip


def asked(caller: str, method: str, reason: str = OK, **given: Any) -> Refused:
    """Call a method with these fields of its request, and the field of GraphQL with the same arguments."""
    fields, variables, quiz = dict(given), dict(given), given.get("quizId", "")
    document = FIELDS[method]
    if method == "ShareQuiz":
        fields = {"quizId": quiz, "authors": {key: each for key, each in given.items() if key != "quizId"}}
    if method == "ImportFile":
        fields["content"] = fields.pop("base64")
    if method == "ExportFile":
        fields["format"] = f"FILE_FORMAT_{given['format']}"
    if "$input" in document:
        variables = {"input": given}
    else:
        variables["id"] = variables.pop("quizId")
    return Refused(caller, f"authoring.{method}", fields, document, variables, reason)


def of_grpc(told: Any) -> Any:
    """Return the facts of a response with the names of GraphQL."""
    if isinstance(told, dict):
        if "questions" in told or "state" in told:  # an AuthoredQuiz, or a version
            told = {{"quizId": "id", "questions": "questionCount"}.get(key, key): each for key, each in told.items()}
        return facts({key: int(each) if key == "revision" else of_grpc(each) for key, each in told.items()})
    return [of_grpc(each) for each in told] if isinstance(told, list) else told


def items_of(file: str) -> list[str]:
    """Return the items of a quiz file in base64, with their outcomes."""
    return [str(item) for report in read(base64.b64decode(file), "file") for item in report.items]


class Authors:
    """Accounts by name, and a call that both ways must answer with the same facts."""

    def __init__(self, both: BothWays, accounts: dict[str, Player]) -> None:
        self.both = both
        self.accounts = accounts
        self.tokens = {name: account.access_token for name, account in accounts.items()} | {"nobody": ""}

    async def same(self, method: str, caller: str = "ada", **given: Any) -> Any:
        """Call over gRPC, then over GraphQL: a call that is repeated changes nothing and says the same."""
        call = asked(caller, method, **given)
        over_grpc = await self.both.grpc(call.method, self.tokens[caller], call.fields)
        over_graphql = await self.both.graphql(call.document, self.tokens[caller], call.variables)
        assert (over_grpc.reason, over_graphql.reason) == (OK, OK), (method, over_grpc, over_graphql)
        first, again = of_grpc(over_grpc.facts), over_graphql.facts
        if method == "PublishQuiz":
            assert first.pop("changed", False), "the first call publishes"
        if method == "ExportFile":
            first["base64"] = first.pop("content")
            if given["format"] == "XLSX":  # a workbook has the time at which it was written
                first["base64"], again["base64"] = (items_of(each["base64"]) for each in (first, again))
        if isinstance(again, list) or (set(first) in ({"draft"}, {"quiz"}) and set(again) != set(first)):
            (first,) = first.values()
        assert first == again, method
        return again


async def prepared(stack: RunningStack, both: BothWays) -> Authors:
    accounts = {name: await register(both.client) for name in ("ada", "bob", "eve", "player", "admin")}
    for name in ("ada", "bob", "eve", "admin"):
        await grant_role(endpoints(stack), accounts[name].username, "admin" if name == "admin" else "author")
        accounts[name].access_token = await both.client.login(accounts[name].username, PASSWORD)
    return Authors(both, accounts)


async def test_what_an_author_does_has_the_same_facts_over_grpc_and_graphql(stack: RunningStack) -> None:
    async with both_ways(stack) as both:
        authors = await prepared(stack, both)
        same, ada = authors.same, authors.accounts["ada"]
        quiz_id, copy_id = unique("both-"), unique("both-")
        wrong = await same("SaveDraft", quizId=quiz_id, document=faulty(quiz_id), revision=0)
        assert {(fault["place"], fault["line"]) for fault in wrong["faults"]} == {
            ("title", 3), ("questions[0].text", 7), ("questions[0].options[1].text", 15), ("questions[1].correct", 33)
        }  # fmt: skip
        publishing = asked("ada", "PublishQuiz", quizId=quiz_id, revision=1, version=0)
        refused = [
            await both.grpc(publishing.method, ada.access_token, publishing.fields),
            await both.graphql(publishing.document, ada.access_token, publishing.variables),
        ]
        assert {each.reason for each in refused} == {"INVALID_ARGUMENT"}
        named = [(fault["place"], f"{fault['message']} (line {fault['line']})") for fault in wrong["faults"]]
        assert [list(each.faults) for each in refused] == [named, named]

        await same("SaveDraft", quizId=quiz_id, document=document(quiz_id), revision=1)
        await same("PublishQuiz", quizId=quiz_id, revision=2, version=0)
        times = {"opensAt": "2031-05-01T10:00:00Z", "closesAt": "2031-05-02T10:00:00Z"}
        scheduled = await same("ScheduleQuiz", quizId=quiz_id, version=1, **times)
        assert (scheduled["state"], scheduled["version"]) == ("SCHEDULED", 2)
        editor = authors.accounts["bob"].user_id
        shared = await same("ShareQuiz", quizId=quiz_id, ownerId=ada.user_id, editorIds=[editor])
        assert (shared["ownerId"], shared["editorIds"]) == (ada.user_id, [editor])
        assert (await same("GetDraft", "bob", quizId=quiz_id))["quiz"] == shared
        assert (await same("ScheduleQuiz", quizId=quiz_id, version=2))["state"] == "OPEN"
        assert (await same("CloseQuiz", quizId=quiz_id))["state"] == "CLOSED"
        await forget_publication(stack, quiz_id, (1, 2))
        await edited_again(authors, quiz_id)
        await same("DuplicateQuiz", quizId=quiz_id, copyId=copy_id)
        assert (await same("ArchiveQuiz", quizId=quiz_id))["state"] == "ARCHIVED"
        for written in ("JSON", "GIFT", "AIKEN", "CSV", "XLSX", "MOODLE", "QTI"):
            await same("ExportFile", quizId=quiz_id, format=written)
        content = base64.b64encode(AIKEN.encode()).decode()
        (taken,) = (await same("ImportFile", name=quiz_id, base64=content, dryRun=True))["quizzes"]
        assert [item["outcome"] for item in taken["items"]] == ["TAKEN", "REFUSED"]
        unread = base64.b64encode(b"nothing that anybody knows").decode()
        assert (await same("ImportFile", name=quiz_id, base64=unread, dryRun=True))["faults"]

        listing = (await both.grpc("authoring.ListAuthoredQuizzes", ada.access_token, {})).facts
        listed = (await both.graphql(LIST, ada.access_token, {"all": False})).facts["edges"]
        assert [(each["cursor"], each["node"]) for each in listed] == list(
            zip(listing["cursors"], of_grpc(listing["quizzes"]), strict=True)
        )
        assert [each["node"]["id"] for each in listed] == sorted([quiz_id, copy_id])


async def forget_publication(stack: RunningStack, quiz_id: str, versions: Iterable[int]) -> None:
    """Leave these versions as an earlier release stored them, which did not store when they were published."""
    mongo: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(stack.endpoints["stores"]["mongo"])
    async with mongo:
        ids = [f"{quiz_id}:{version}" for version in versions]
        forgotten = {"$unset": {"published_at": ""}}
        changed = await mongo["topten_quiz"]["quiz_versions"].update_many({"_id": {"$in": ids}}, forgotten)
    assert changed.modified_count == len(ids)


async def edited_again(authors: Authors, quiz_id: str) -> None:
    """Publish the first version of a quiz again, which an editor sees at its fourth, with a draft at revision 2."""
    same = authors.same
    versions = await same("ListQuizVersions", "bob", quizId=quiz_id)
    assert [(each["version"], "publishedAt" in each, "current" in each) for each in versions] == [
        (4, True, True), (3, True, False), (2, True, False), (1, False, False)
    ]  # fmt: skip
    assert await same("ListQuizVersions", quizId=quiz_id, before=3) == versions[2:]
    await same("SaveDraft", "bob", quizId=quiz_id, document=document(quiz_id, title="Odd"), revision=2)
    for version, revision, reason in ((1, 2, "VERSION_CONFLICT"), (5, 3, "INVALID_ARGUMENT")):
        call = asked("bob", "RestoreQuizVersion", reason, quizId=quiz_id, version=version, revision=revision)
        told, expected = await authors.both.reasons([call], authors.tokens)
        assert told == expected
    restored = await same("RestoreQuizVersion", "bob", quizId=quiz_id, version=2, revision=3)
    text = json.loads(restored["document"])
    assert (text["title"], restored["quiz"]["changed"], restored["quiz"]["version"]) == ("Primes", True, 4)
    assert "opensAt" not in text, "the times are those of the current version"
    assert datetime.fromisoformat(text["closesAt"]) == restored["quiz"]["closesAt"]
    await same("SaveDraft", "bob", quizId=quiz_id, document=document(quiz_id, title="Even"), revision=4)
    await same("PublishQuiz", "bob", quizId=quiz_id, revision=5, version=4)
    now = await same("ListQuizVersions", "bob", quizId=quiz_id)
    assert [each["title"] for each in now] == ["Even", *["Primes"] * 4]
    assert now[1:] == [{key: each[key] for key in each if key != "current"} for each in versions], (
        "nothing is rewritten"
    )


def refusals(mine: str, taken: str, authors: Authors) -> Iterator[Refused]:
    """Calls about a published quiz of Ada, at revision 1 and version 1, and another one of hers."""
    strange = ("PERMISSION_DENIED", "eve"), ("PERMISSION_DENIED", "player"), ("UNAUTHENTICATED", "nobody")
    others: dict[str, dict[str, Any]] = {
        "GetDraft": {},
        "SaveDraft": {"document": document(mine), "revision": 1},
        "PublishQuiz": {"revision": 1, "version": 1},
        "ListQuizVersions": {},
        "RestoreQuizVersion": {"version": 1, "revision": 1},
        "ScheduleQuiz": {"version": 1},
        "CloseQuiz": {},
        "ArchiveQuiz": {},
        "DuplicateQuiz": {"copyId": unique("copy-")},
        "ShareQuiz": {"ownerId": authors.accounts["eve"].user_id, "editorIds": []},
        "ExportFile": {"format": "JSON"},
    }
    for method, given in others.items():
        for reason, caller in strange:
            yield asked(caller, method, reason, quizId=mine, **given)
        if method != "SaveDraft":
            yield asked("ada", method, "QUIZ_NOT_FOUND", quizId=UNKNOWN, **given)
        yield asked("ada", method, "INVALID_ARGUMENT", quizId="Not an id", **given)
    yield asked("ada", "SaveDraft", "VERSION_CONFLICT", quizId=mine, document=document(mine, title="Else"), revision=0)
    yield asked("ada", "SaveDraft", "VERSION_CONFLICT", quizId=UNKNOWN, document=document(UNKNOWN), revision=3)
    yield asked("ada", "SaveDraft", "INVALID_ARGUMENT", quizId=mine, document=document(mine), revision=-1)
    for text in ("", "[]", "{", "7"):
        yield asked("ada", "SaveDraft", "INVALID_ARGUMENT", quizId=mine, document=text, revision=1)
    yield asked("ada", "PublishQuiz", "VERSION_CONFLICT", quizId=mine, revision=7, version=1)
    yield asked("ada", "ListQuizVersions", "INVALID_ARGUMENT", quizId=mine, before=-1)
    yield asked("ada", "RestoreQuizVersion", "INVALID_ARGUMENT", quizId=mine, version=0, revision=1)
    yield asked("ada", "RestoreQuizVersion", "INVALID_ARGUMENT", quizId=mine, version=2, revision=1)
    yield asked("ada", "ScheduleQuiz", "VERSION_CONFLICT", quizId=mine, version=9, closesAt="2031-05-01T10:00:00Z")
    backwards = {"opensAt": "2031-05-02T10:00:00Z", "closesAt": "2031-05-01T10:00:00Z"}
    yield asked("ada", "ScheduleQuiz", "INVALID_ARGUMENT", quizId=mine, version=1, **backwards)
    yield asked("ada", "DuplicateQuiz", "VERSION_CONFLICT", quizId=mine, copyId=taken)
    yield asked("ada", "DuplicateQuiz", "INVALID_ARGUMENT", quizId=mine, copyId="No id")
    bob, ada = authors.accounts["bob"].user_id, authors.accounts["ada"].user_id
    yield asked("bob", "ShareQuiz", "PERMISSION_DENIED", quizId=mine, ownerId=bob, editorIds=[])
    yield asked("bob", "ArchiveQuiz", "PERMISSION_DENIED", quizId=mine)
    yield asked("ada", "ShareQuiz", "PLAYER_NOT_FOUND", quizId=mine, ownerId=ada, editorIds=["nobody-at-all"])
    yield asked("ada", "ShareQuiz", "INVALID_ARGUMENT", quizId=mine, ownerId=ada, editorIds=[bob, bob])
    content = base64.b64encode(AIKEN.encode()).decode()
    for caller, reason in (("player", "PERMISSION_DENIED"), ("nobody", "UNAUTHENTICATED")):
        yield asked(caller, "ImportFile", reason, name="a file", base64=content, dryRun=True)
    yield asked("ada", "ImportFile", "INVALID_ARGUMENT", name="", base64=content, dryRun=True)
    yield asked("ada", "ImportFile", "INVALID_ARGUMENT", name="a file", base64="", dryRun=True)
    given = {"all": True}
    yield Refused("ada", "authoring.ListAuthoredQuizzes", given, LIST, given, "PERMISSION_DENIED")
    token = {"pageToken": "not a token"}
    variables = {"all": False, "after": "not a token"}
    yield Refused("ada", "authoring.ListAuthoredQuizzes", token, LIST, variables, "INVALID_ARGUMENT")


async def test_every_refusal_of_an_author_has_the_same_reason_over_grpc_and_graphql(stack: RunningStack) -> None:
    async with both_ways(stack) as both:
        authors = await prepared(stack, both)
        mine, taken = unique("both-"), unique("both-")
        for quiz_id in (mine, taken):
            await authors.same("SaveDraft", quizId=quiz_id, document=document(quiz_id), revision=0)
        await authors.same("PublishQuiz", quizId=mine, revision=1, version=0)
        editors: dict[str, Any] = {
            "ownerId": authors.accounts["ada"].user_id,
            "editorIds": [authors.accounts["bob"].user_id],
        }
        await authors.same("ShareQuiz", quizId=mine, **editors)
        told, expected = await both.reasons(refusals(mine, taken, authors), authors.tokens)
        assert told == expected
