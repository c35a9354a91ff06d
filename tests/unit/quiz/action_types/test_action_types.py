"""Actions of action types on real stores: limits under races, replays, and one refusal that harms no other."""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast

import pytest
from google.protobuf.json_format import ParseDict
from topten.action.v1 import action_pb2
from topten.quiz.v1 import quiz_pb2

from services.quiz.action_types.reports import ActionReports
from services.quiz.action_types.service import ActionTypeService
from services.quiz.personal_data_store import PersonalDataStore
from services.quiz.submissions.confirmed_submission import ConfirmedSubmission
from services.runtime.auth.claims import Claims
from services.runtime.auth.external_ids import player_id
from services.runtime.clock import utc_now
from services.runtime.errors import Reason, ServiceError
from tests.servers import free_port, unique
from tests.unit.quiz.conftest import Open, Replica

if TYPE_CHECKING:
    from services.confirmation.confirmations import Confirmations

RUN: dict[str, Any] = {
    "title": "Run",
    "submitters": "SERVICES",
    "rule": {"perUnit": {"pointsPerUnit": 2, "maxUnits": 100}},
}


def claims(user_id: str, *permissions: str) -> Claims:
    scopes = frozenset(permission for permission in permissions if ":" in permission)
    roles = frozenset(permissions) - scopes
    return Claims(user_id, "", roles, "FR", "", "access", float("inf"), scopes)


SHOP = claims("service:shop", "service", "action:submit")
OPERATOR = claims("service:operator", "admin")


def service(replica: Replica) -> ActionTypeService:
    return ActionTypeService(replica.action_types, now=utc_now)


async def define(replica: Replica, **changes: Any) -> str:
    """Store an action type and return its id."""
    action_type_id = unique("run-")
    definition = ParseDict(RUN | changes | {"actionTypeId": action_type_id}, action_pb2.ActionType())
    await service(replica).put(definition, actor="service:operator")
    return action_type_id


def stated(action_type_id: str, user_id: str = "ada", **changes: Any) -> action_pb2.PlayerAction:
    """Return an action; a change to None leaves the field out."""
    fields = {
        "player": {"userId": user_id},
        "actionTypeId": action_type_id,
        "actionId": str(uuid.uuid4()),
        "quantity": 3,
    }
    given = {name: value for name, value in (fields | changes).items() if value is not None}
    return ParseDict(given, action_pb2.PlayerAction())


async def submit(replica: Replica, *actions: action_pb2.PlayerAction, caller: Claims = SHOP) -> list[str]:
    """Return for each its points, marked if it was recorded before, or the reason and the field of its refusal."""
    confirmed = ConfirmedSubmission(replica.service, cast("Confirmations", None))  # nobody waits
    results = await ActionReports(replica.service, confirmed).submit(actions, quiz_pb2.Client(), caller)
    shown = {action_pb2.ActionResult.ACCEPTED: "", action_pb2.ActionResult.DUPLICATE: "again "}
    return [
        f"{each.reason} {each.field}".strip() if each.reason else f"{shown[each.status]}{each.points_awarded}"
        for each in results
    ]


async def test_the_last_allowed_action_is_accepted_once_whatever_happens_at_once(open_replica: Open) -> None:
    replicas = [await open_replica(), await open_replica()]
    limits = {"maxActions": 3, "per": "86400s"}
    run = await define(replicas[0], limits=limits)
    points = await define(replicas[0], limits={"maxPoints": 20})
    assert await submit(replicas[0], stated(run)) == ["6"]
    outcomes = await asyncio.gather(*(submit(replicas[number % 2], stated(run)) for number in range(10)))
    assert Counter(outcome for (outcome,) in outcomes) == {"6": 2, "LIMIT_REACHED": 8}
    outcomes = await asyncio.gather(*(submit(replicas[number % 2], stated(points)) for number in range(10)))
    assert Counter(outcome for (outcome,) in outcomes) == {"6": 3, "LIMIT_REACHED": 7}
    # Another player has limits of their own, and another type as well.
    assert await submit(replicas[1], stated(run, "ben"), stated(await define(replicas[1]))) == ["6", "6"]


async def test_an_action_sent_again_gets_its_first_result_and_another_content_is_a_conflict(
    open_replica: Open,
) -> None:
    first, second = await open_replica(), await open_replica()
    run = await define(first, limits={"maxActions": 1})
    action = stated(run)
    outcomes = await asyncio.gather(*(submit(replica, action) for replica in (first, second) * 5))
    assert Counter(outcome for (outcome,) in outcomes) == {"6": 1, "again 6": 9}
    # Neither time nor metadata is part of the content, and nothing that was decided later changes the result.
    replay = stated(run, actionId=action.action_id, metadata={"order": "7"}, occurredAt="2020-01-01T00:00:00Z")
    first.identity.blocked = {"ada"}
    await service(first).archive(run, actor="service:operator")
    assert await submit(first, replay) == ["again 6"]
    other = stated(run, actionId=action.action_id, quantity=4)
    assert await submit(first, other, stated(run, "ben", actionId=action.action_id)) == [
        "ACTION_ID_CONFLICT",
        "ACTION_TYPE_CLOSED",
    ]
    assert await first.database["submissions"].count_documents({}) == 1


async def test_one_refusal_harms_no_other_and_results_have_the_order_of_the_actions(open_replica: Open) -> None:
    replica = await open_replica()
    replica.identity.blocked, replica.identity.erased, replica.identity.unknown = {"ben"}, {"cem"}, {"dua"}
    run, own = await define(replica), await define(replica, submitters="PLAYERS")
    closed = await define(replica, state="ARCHIVED")
    day_ago = (utc_now() - timedelta(days=1)).isoformat()
    group = {
        "6": stated(run),
        "PLAYER_BLOCKED": stated(run, "ben"),
        "PLAYER_NOT_FOUND": stated(run, "cem"),
        "PLAYER_NOT_FOUND ": stated(run, "dua"),
        "ACTION_TYPE_NOT_FOUND": stated("no-such-type"),
        "ACTION_TYPE_CLOSED": stated(closed),
        "PERMISSION_DENIED": stated(own),
        "TIMESTAMP_OUT_OF_WINDOW": stated(run, occurredAt=day_ago),
        "INVALID_ARGUMENT quantity": stated(run, quantity=101),
        "INVALID_ARGUMENT quantity ": stated(run, quantity=None),
        "INVALID_ARGUMENT action_id": stated(run, actionId="7"),
        "INVALID_ARGUMENT player": stated(run, player=None),
        "INVALID_ARGUMENT player.id": stated(run, player={}),
        "INVALID_ARGUMENT metadata": stated(run, metadata={"note": "x" * 1020}),
        "INVALID_ARGUMENT metadata ": stated(run, metadata={"note": "forged\nline"}),
        "INVALID_ARGUMENT metadata  ": stated(run, metadata={"forged.name" * 100: ""}),
        "4": stated(run, quantity=2),
    }
    assert await submit(replica, *group.values()) == [shown.strip() for shown in group]
    assert await replica.database["submissions"].count_documents({}) == 2


async def test_players_submit_for_themselves_what_is_open_to_players(open_replica: Open) -> None:
    replica = await open_replica()
    for submitters, expected in (("PLAYERS", "6"), ("BOTH", "6"), ("SERVICES", "PERMISSION_DENIED")):
        run = await define(replica, submitters=submitters)
        actions = [stated(run, player=None), stated(run, "ada"), stated(run, "ben")]
        assert await submit(replica, *actions, caller=claims("ada", "player")) == [
            expected,
            expected,
            "PERMISSION_DENIED",
        ]
        foreign = stated(run, player={"externalId": "u-1"})
        assert await submit(replica, foreign, caller=claims("ada", "player")) == ["PERMISSION_DENIED"]
    assert await submit(replica, stated(run), caller=OPERATOR) == ["6"]
    countries = await replica.database["submissions"].distinct("country")
    assert set(countries) == {"FR", "VN"}  # by the token, or else by the account


async def test_an_external_id_is_a_player_of_the_calling_client(open_replica: Open) -> None:
    replica = await open_replica()
    run = await define(replica)
    action = stated(run, player={"externalId": "U-1"})
    assert await submit(replica, action) == await submit(replica, action, caller=OPERATOR) == ["6"]
    records = {each["user_id"]: each["actor"] async for each in replica.database["submissions"].find()}
    assert records == {player_id("service:shop", "U-1"): "service:shop", player_id("admin", "U-1"): "service:operator"}


async def test_five_hundred_actions_are_recorded_in_the_order_of_each_player(open_replica: Open) -> None:
    replica = await open_replica()
    run = await define(replica)
    actions = [stated(run, f"player-{number % 100}", quantity=1 + number // 100) for number in range(500)]
    assert await submit(replica, *actions) == [str(2 + number // 100 * 2) for number in range(500)]
    records = await replica.database["submissions"].find({"user_id": "player-7"}).sort("attempt").to_list()
    assert [each["points"] for each in records] == [2, 4, 6, 8, 10]
    assert replica.commands.counts["insert submissions"] == 5


async def test_without_identity_services_are_asked_to_send_again_and_players_play_on(open_replica: Open) -> None:
    replica = await open_replica()
    run = await define(replica, submitters="BOTH")

    async def away(*_: Any, **__: Any) -> Any:
        raise ServiceError(Reason.UNAVAILABLE, "identity is away")

    replica.identity.get = away  # type: ignore[method-assign]  # identity is away
    assert await submit(replica, stated(run)) == ["UNAVAILABLE"]
    assert await submit(replica, stated(run, player=None), caller=claims("ada", "player")) == ["6"]


async def test_a_store_that_is_away_refuses_every_action(open_replica: Open) -> None:
    replica = await open_replica(f"mongodb://127.0.0.1:{free_port()}/?directConnection=true", milliseconds=300)
    assert await submit(replica, stated("run"), stated("run", "ben")) == ["UNAVAILABLE"] * 2


async def test_a_definition_has_versions_with_who_stored_them(open_replica: Open) -> None:
    replica = await open_replica()
    types, run = service(replica), await define(replica)
    (stored,) = await types.versions(run)
    assert stored.definition.state == action_pb2.ActionType.OPEN
    same = action_pb2.ActionType()
    same.CopyFrom(stored.definition)
    same.ClearField("state")
    same.limits.SetInParent()
    assert await types.put(same, actor="ada") == (1, False)
    same.title = "A run"
    outcomes = await asyncio.gather(*(types.put(same, actor="ada") for _ in range(5)))
    assert sorted(outcomes) == [(2, False)] * 4 + [(2, True)]
    assert await types.archive(run, actor="ben") == (3, True)
    assert await types.archive(run, actor="ben") == (3, False)
    history = [(each.version, each.definition.title, each.actor) for each in await types.versions(run)]
    assert history == [(3, "A run", "ben"), (2, "A run", "ada"), (1, "Run", "service:operator")]
    with pytest.raises(ServiceError) as caught:
        await types.archive("no-such-type", actor="ben")
    assert caught.value.reason is Reason.ACTION_TYPE_NOT_FOUND


async def test_what_was_submitted_is_exported_and_erased(open_replica: Open) -> None:
    replica = await open_replica()
    run = await define(replica)
    await submit(replica, stated(run, metadata={"order": "7"}))
    personal_data = PersonalDataStore(replica.database)
    ((record,), _) = await personal_data.records("ada", "")
    assert (record.kind, record.quiz_id, record.action_type_id) == ("ACTION_COMPLETED", "", run)
    assert (record.happened, record.metadata, record.submitted_by) == (("quantity", 3), '{"order":"7"}', SHOP.user_id)
    await personal_data.erase("ada", "erased-0f", utc_now())
    ((record,), _) = await personal_data.records("erased-0f", "")
    assert (record.points, record.happened, record.metadata, record.submitted_by) == (6, None, "", "")
