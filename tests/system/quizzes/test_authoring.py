"""Authors write, share, publish and exchange quizzes over GraphQL and gRPC; players see what is published, without its key."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import pytest
from google.protobuf.json_format import MessageToDict
from topten.authoring.v1 import authoring_pb2
from topten.authoring.v1 import authoring_service_pb2 as messages
from topten.authoring.v1.authoring_service_pb2_grpc import AuthoringServiceStub
from topten.quiz.v1 import quiz_service_pb2
from topten.quiz.v1.quiz_service_pb2_grpc import QuizServiceStub

from services.cli.identity.accounts import grant_role
from services.cli.system.client import GraphqlClient, GraphqlError
from services.runtime.errors import ServiceError
from services.runtime.grpc.client import call
from tests.deadline import deadline_seconds, eventually
from tests.factories import quiz_definition
from tests.imports import import_quiz
from tests.players import PASSWORD, Player, endpoints, register
from tests.servers import RunningStack, unique

if TYPE_CHECKING:
    from topten.authoring.v1.authoring_service_pb2_grpc import AuthoringServiceAsyncStub
    from topten.quiz.v1.quiz_service_pb2_grpc import QuizServiceAsyncStub

QUIZ = "{ id title state version changed revision questionCount opensAt closesAt ownerId editorIds }"
DRAFT = f"{{ quiz {QUIZ} document faults {{ place line message }} }}"
GIFT = """::One:: Which is a prime? { =7 ~9 ~8 }

::Two:: The sky is green. {F}

::Three:: Tell us about yourself. {}
"""
SECRET = "Because the author says so."


@dataclass
class Author:
    """An account with a role, and what it does over GraphQL. Refusals raise GraphqlError."""

    player: Player
    token: str

    async def run(self, document: str, **variables: Any) -> Any:
        data = await self.player.client.execute(document, variables, self.token)
        return next(iter(data.values()))

    async def draft(self, quiz_id: str) -> Any:
        return await self.run(f"query ($id: ID!) {{ quizDraft(id: $id) {DRAFT} }}", id=quiz_id)

    async def save(self, quiz_id: str, document: Any, revision: int) -> Any:
        given = {"quizId": quiz_id, "document": json.dumps(document, indent=1), "revision": revision}
        return await self.run(
            f"mutation ($input: SaveQuizDraftInput!) {{ saveQuizDraft(input: $input) {DRAFT} }}", input=given
        )

    async def publish(self, quiz_id: str, revision: int, version: int) -> Any:
        return await self.run(
            "mutation ($id: ID!, $revision: Int!, $version: Int!) {"
            f" publishQuiz(id: $id, revision: $revision, version: $version) {{ changed quiz {QUIZ} }} }}",
            id=quiz_id,
            revision=revision,
            version=version,
        )

    async def act(self, field: str, quiz_id: str) -> Any:
        return await self.run(f"mutation ($id: ID!) {{ {field}(id: $id) {QUIZ} }}", id=quiz_id)

    async def share(self, quiz_id: str, *editors: str) -> Any:
        given = {"quizId": quiz_id, "ownerId": self.player.user_id, "editorIds": editors}
        return await self.run(f"mutation ($input: ShareQuizInput!) {{ shareQuiz(input: $input) {QUIZ} }}", input=given)

    async def take(self, name: str, content: str, *, dry_run: bool, replace: bool = False) -> Any:
        given = {
            "name": name,
            "base64": base64.b64encode(content.encode()).decode(),
            "dryRun": dry_run,
            "replace": replace,
        }
        return await self.run(
            "mutation ($input: ImportQuizInput!) { importQuiz(input: $input) { faults { place message } quizzes {"
            " quizId title revision replaces items { place line outcome notes } faults { place message } } } }",
            input=given,
        )

    async def listed(self, *, every: bool = False) -> set[str]:
        page = await self.run(
            f"query ($all: Boolean!) {{ authoredQuizzes(first: 50, all: $all) {{ edges {{ node {QUIZ} }} }} }}",
            all=every,
        )
        return {edge["node"]["id"] for edge in page["edges"]}


async def author(stack: RunningStack, client: GraphqlClient, role: str = "author") -> Author:
    player = await register(client)
    await grant_role(endpoints(stack), player.username, role)
    return Author(player, await client.login(player.username, PASSWORD))


def document(quiz_id: str, **changes: Any) -> dict[str, Any]:
    question = {
        "id": "q1",
        "text": "Which is a prime?",
        "options": [{"id": "a", "text": "7"}, {"id": "b", "text": "9"}],
        "correct": "a",
        "explanation": SECRET,
    }
    return {"id": quiz_id, "title": "Primes", "questions": [question]} | changes


def refusal(reason: str, text: str = "") -> Any:
    return pytest.raises(GraphqlError, match=text or None, check=lambda error: error.reason == reason)


async def test_a_draft_is_written_by_two_then_published_then_played(stack: RunningStack, client: GraphqlClient) -> None:
    ada, bob, player = await author(stack, client), await author(stack, client), await register(client)
    quiz_id = unique("authored-")
    unfinished = document(quiz_id)
    unfinished["questions"][0] |= {"text": "", "correct": "c"}
    draft = await ada.save(quiz_id, unfinished, 0)
    assert {(fault["place"], fault["line"]) for fault in draft["faults"]} == {
        ("questions[0].text", 7),
        ("questions[0].correct", 18),
    }
    assert (draft["quiz"]["state"], draft["quiz"]["revision"]) == ("DRAFT", 1)
    with refusal("INVALID_ARGUMENT", "correct"):
        await ada.publish(quiz_id, 1, 0)
    with refusal("QUIZ_NOT_FOUND"):
        await player.submit(quiz_id, [])

    await ada.share(quiz_id, bob.player.user_id)
    saved = await bob.save(quiz_id, document(quiz_id), 1)
    assert await bob.save(quiz_id, document(quiz_id), 1) == saved, "sent again, it changes nothing"
    with refusal("VERSION_CONFLICT"):
        await ada.save(quiz_id, document(quiz_id, title="Hers"), 1)
    with refusal("VERSION_CONFLICT"):
        await ada.publish(quiz_id, 1, 0)
    export = "{ exportMyData { data } }"
    (owned,) = (await ada.run(export))["data"]["authoredQuizzes"]
    assert (owned["quizId"], json.loads(owned["document"])["title"]) == (quiz_id, "Primes")
    assert (await bob.run(export))["data"]["authoredQuizzes"] == [], "an editor's quizzes are their owner's"
    found = await bob.run(
        "query ($name: String!) { user(username: $name) { userId } }", name=ada.player.username.upper()
    )
    assert found == {"userId": ada.player.user_id}
    published = await bob.publish(quiz_id, 2, 0)
    assert (published["changed"], published["quiz"]["state"], published["quiz"]["version"]) == (True, "OPEN", 1)
    assert (await bob.publish(quiz_id, 2, 1))["changed"] is False
    assert not (await ada.draft(quiz_id))["quiz"]["changed"]

    shown = await player.client.execute(
        "query ($id: ID!) { quiz(id: $id) { id questions { id text options { id text } } } }",
        {"id": quiz_id},
        player.access_token,
    )
    assert SECRET not in json.dumps(shown)
    assert (await player.submit(quiz_id, [("q1", "a")]))["pointsAwarded"] == 10
    with refusal("PERMISSION_DENIED"):
        await Author(player, player.access_token).draft(quiz_id)

    await ada.save(quiz_id, document(quiz_id, title="Drafted"), 2)
    await import_quiz(endpoints(stack), quiz_definition(quiz_id))
    with refusal("VERSION_CONFLICT"):
        await ada.publish(quiz_id, 3, 1)
    assert (await ada.draft(quiz_id))["quiz"]["title"] == "Drafted", "an import loses no draft"


async def test_quizzes_of_others_are_closed_to_authors_and_open_to_admins(
    stack: RunningStack, client: GraphqlClient
) -> None:
    ada, eve, root = [await author(stack, client, role) for role in ("author", "author", "admin")]
    quiz_id, operators = unique("authored-"), unique("operators-")
    definition = quiz_definition(quiz_id)
    await import_quiz(endpoints(stack), quiz_definition(operators))
    async with endpoints(stack).channel("quiz") as channel:
        quizzes = cast("QuizServiceAsyncStub", QuizServiceStub(channel))
        authoring = cast("AuthoringServiceAsyncStub", AuthoringServiceStub(channel))

        async def refused(method: Any, request: Any) -> None:
            with pytest.raises(ServiceError, check=lambda error: error.reason == "PERMISSION_DENIED"):
                await call(method, request, token=eve.token, timeout=deadline_seconds())

        # Who imports a new quiz as an author owns it.
        await call(quizzes.ImportQuiz, quiz_service_pb2.ImportQuizRequest(definition=definition), token=ada.token)
        for taken in (quiz_id, operators):
            await refused(
                quizzes.ImportQuiz,
                quiz_service_pb2.ImportQuizRequest(definition=quiz_definition(taken, max_attempts=9)),
            )
            await refused(quizzes.ExportQuiz, quiz_service_pb2.ExportQuizRequest(quiz_id=taken))
            await refused(authoring.GetDraft, messages.GetDraftRequest(quiz_id=taken))
            await refused(authoring.CloseQuiz, messages.CloseQuizRequest(quiz_id=taken))
            await refused(
                authoring.ShareQuiz, messages.ShareQuizRequest(quiz_id=taken, authors=authoring_pb2.Authors())
            )
        by_rpc = await call(authoring.GetDraft, messages.GetDraftRequest(quiz_id=quiz_id), token=ada.token)
    with refusal("PERMISSION_DENIED"):
        await eve.run("mutation ($id: ID!) { rejudgeQuiz(quizId: $id, dryRun: true) { changed } }", id=quiz_id)
    with refusal("PERMISSION_DENIED"):
        await eve.listed(every=True)
    report = await eve.take(quiz_id, GIFT, dry_run=False, replace=True)
    assert [fault["place"] for fault in report["quizzes"][0]["faults"]] == ["id"]

    draft = await ada.draft(quiz_id)
    assert draft["document"] == by_rpc.draft.document
    as_message = MessageToDict(by_rpc.draft.quiz)
    assert {key: draft["quiz"][key] for key in ("title", "version", "ownerId")} == {
        key: as_message[key] for key in ("title", "version", "ownerId")
    }
    assert await root.draft(quiz_id) == draft
    assert quiz_id in await ada.listed()
    assert quiz_id not in await eve.listed()
    # As an admin, also a quiz that nobody owns.
    assert (await root.save(operators, document(operators), 0))["quiz"]["ownerId"] is None


async def test_a_dry_run_reports_every_item_and_stores_nothing(stack: RunningStack, client: GraphqlClient) -> None:
    ada, name = await author(stack, client), unique("file-")
    report = await ada.take(name, GIFT, dry_run=True)
    (quiz,) = report["quizzes"]
    assert [(item["outcome"], item["line"]) for item in quiz["items"]] == [("TAKEN", 1), ("TAKEN", 3), ("REFUSED", 5)]
    assert quiz["items"][2]["notes"]
    with refusal("QUIZ_NOT_FOUND"):
        await ada.draft(name)
    assert (await ada.take(name, GIFT, dry_run=False))["quizzes"][0]["revision"] == 1
    assert (await ada.draft(name))["quiz"]["questionCount"] == 2
    assert (await ada.take(name, GIFT, dry_run=True))["quizzes"][0]["faults"][0]["place"] == "id"
    assert (await ada.take(name, GIFT, dry_run=True, replace=True))["quizzes"][0]["replaces"]
    assert (await ada.take(name, "\x00\x01", dry_run=True))["faults"]

    file = await ada.run("query ($id: ID!) { exportQuiz(id: $id, format: GIFT) { name base64 lost version } }", id=name)
    assert (file["name"], file["version"]) == (f"{name}.gift", 0)
    again = await ada.take(unique("again-"), base64.b64decode(file["base64"]).decode(), dry_run=True)
    assert [item["outcome"] for item in again["quizzes"][0]["items"]] == ["TAKEN", "TAKEN"]


async def test_a_quiz_is_scheduled_closed_archived_copied_and_judged_again(
    stack: RunningStack, client: GraphqlClient, player: Player
) -> None:
    ada, quiz_id = await author(stack, client), unique("authored-")
    await ada.save(quiz_id, document(quiz_id), 0)
    await ada.publish(quiz_id, 1, 0)
    await player.submit(quiz_id, [("q1", "b")])
    corrected = document(quiz_id)
    corrected["questions"][0]["correct"] = "b"
    await ada.save(quiz_id, corrected, 1)
    await ada.publish(quiz_id, 2, 1)
    rejudge = (
        "mutation ($id: ID!, $dry: Boolean!) { rejudgeQuiz(quizId: $id, dryRun: $dry, reason: $reason) {"
        " version actions changed playerCount points"
        " players { userId before after placeBefore placeAfter user { username } } } }"
    ).replace("$dry: Boolean!", "$dry: Boolean!, $reason: String!")
    for dry in (True, False):
        result = await ada.run(rejudge, id=quiz_id, dry=dry, reason="The key was wrong.")
        assert (result["version"], result["changed"], result["points"]) == (2, 1, 10)
        (changed,) = result["players"]
        assert changed["user"]["username"] == player.username
        assert (changed["placeBefore"], changed["placeAfter"]) == ((1, 1) if dry else (None, None))
    assert (await ada.run(rejudge, id=quiz_id, dry=True, reason="Again."))["changed"] == 0

    schedule = f"mutation ($input: ScheduleQuizInput!) {{ scheduleQuiz(input: $input) {QUIZ} }}"
    times = {"opensAt": "2099-01-01T00:00:00.000Z", "closesAt": "2099-02-01T00:00:00.000Z"}
    await ada.save(quiz_id, document(quiz_id, title="Unpublished"), 2)
    with refusal("INVALID_ARGUMENT", "closesAt"):
        backwards = {"opensAt": times["closesAt"], "closesAt": times["opensAt"]}
        await ada.run(schedule, input={"quizId": quiz_id, "version": 2} | backwards)
    scheduled = await ada.run(schedule, input={"quizId": quiz_id, "version": 2} | times)
    assert (scheduled["state"], scheduled["version"], scheduled["changed"]) == ("SCHEDULED", 3, True)
    assert json.loads((await ada.draft(quiz_id))["document"]) == document(
        quiz_id, title="Unpublished", opensAt="2099-01-01T00:00:00Z", closesAt="2099-02-01T00:00:00Z"
    )
    with refusal("QUIZ_CLOSED"):
        await player.submit(quiz_id, [("q1", "a")])
    assert (await ada.act("closeQuiz", quiz_id))["state"] == "CLOSED"
    assert (await ada.act("archiveQuiz", quiz_id))["state"] == "ARCHIVED"

    async def is_listed() -> bool:
        page = await client.execute(
            'query { quizzes(first: 50, tag: "authored") { edges { node { id } } } }', {}, player.access_token
        )
        return quiz_id in {edge["node"]["id"] for edge in page["quizzes"]["edges"]}

    assert not await is_listed()
    revision = (await ada.draft(quiz_id))["quiz"]["revision"]
    await ada.save(quiz_id, document(quiz_id, tags=["authored"]), revision)
    assert (await ada.publish(quiz_id, revision + 1, 4))["quiz"]["state"] == "OPEN"
    assert await is_listed()

    copy_id = unique("copy-")
    copy = "mutation ($id: ID!, $copy: ID!) { duplicateQuiz(id: $id, copyId: $copy) { quiz { id state } document } }"
    copied = await ada.run(copy, id=quiz_id, copy=copy_id)
    assert json.loads(copied["document"])["id"] == copy_id
    assert copied["quiz"] == {"id": copy_id, "state": "DRAFT"}


async def test_an_erased_owner_leaves_published_quizzes_to_the_operators(
    stack: RunningStack, client: GraphqlClient
) -> None:
    ada, root = await author(stack, client), await author(stack, client, "admin")
    published, private = unique("published-"), unique("private-")
    for quiz_id in (published, private):
        await ada.save(quiz_id, document(quiz_id), 0)
    await ada.publish(published, 1, 0)
    await ada.run("mutation ($password: String!) { deleteMyAccount(password: $password) }", password=PASSWORD)

    async def is_left() -> bool:
        return (await root.draft(published))["quiz"]["ownerId"] is None

    await eventually(is_left)
    with refusal("QUIZ_NOT_FOUND"):
        await root.draft(private)
