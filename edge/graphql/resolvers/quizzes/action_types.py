"""Action types: the actions other than answers to quizzes, and the points that they earn."""

from __future__ import annotations

from datetime import timedelta
from enum import Enum
from typing import Final, Self

import strawberry
from google.protobuf.duration_pb2 import Duration
from topten.action.v1 import action_pb2
from topten.action.v1 import action_service_pb2 as messages

from edge.graphql.execution.context import Info
from edge.graphql.fields import field, rpc
from edge.graphql.resolvers.paging import ENTRIES, After, PageInfo, UpTo100, page_info
from services.runtime.errors import invalid

ActionTypeMessage = action_pb2.ActionType
TYPICAL_OUTCOMES: Final = 5
# Longer than any duration that the contract allows, and within what a duration can be.
_MAX_SECONDS: Final = 1e9


@strawberry.enum(
    description="Who submits actions of a type: SERVICES for any player, PLAYERS each for themselves, or BOTH."
)
class Submitters(Enum):
    SERVICES = ActionTypeMessage.SERVICES
    PLAYERS = ActionTypeMessage.PLAYERS
    BOTH = ActionTypeMessage.BOTH


@strawberry.enum(
    description="Whether actions of a type are accepted. What was accepted before it was archived still counts."
)
class ActionTypeState(Enum):
    OPEN = ActionTypeMessage.OPEN
    ARCHIVED = ActionTypeMessage.ARCHIVED


@strawberry.type(description="Every action earns the same.")
class FixedRule:
    points: int


@strawberry.type(description="Each unit of an action's `quantity` earns the same.")
class PerUnitRule:
    points_per_unit: int
    max_units: int = strawberry.field(description="The most units of one action.")


@strawberry.type(description="What an outcome earns.")
class OutcomePoints:
    outcome: str
    points: int


@strawberry.type(description="An action's `outcome` decides.")
class TableRule:
    points: list[OutcomePoints] = field(size=TYPICAL_OUTCOMES, description="The outcomes, ordered by name.")


@strawberry.type(description="A service reports the points, within these bounds.")
class ReportedRule:
    minimum: int
    maximum: int


@strawberry.type(description="How what happened becomes points: one of these, the others are null.")
class ActionRule:
    fixed: FixedRule | None = None
    per_unit: PerUnitRule | None = None
    table: TableRule | None = None
    reported: ReportedRule | None = None

    @classmethod
    def from_proto(cls, rule: action_pb2.Rule) -> Self:
        match rule.WhichOneof("rule"):
            case "fixed":
                return cls(fixed=FixedRule(points=rule.fixed.points))
            case "per_unit":
                per_unit = rule.per_unit
                return cls(per_unit=PerUnitRule(points_per_unit=per_unit.points_per_unit, max_units=per_unit.max_units))
            case "table":
                points = sorted(rule.table.points.items())
                return cls(table=TableRule(points=[OutcomePoints(outcome=key, points=value) for key, value in points]))
            case "reported":
                return cls(reported=ReportedRule(minimum=rule.reported.minimum, maximum=rule.reported.maximum))
            case _:  # a rule of a later version
                return cls()


@strawberry.type(description="How much of an action type counts for each player. An action beyond it is refused.")
class ActionLimits:
    max_actions: int | None = strawberry.field(description="The most actions; null for no limit.")
    max_points: int | None = strawberry.field(description="The most points; null for no limit.")
    per: float | None = strawberry.field(
        description="The window to which both apply, in seconds: no stretch of time of this length has more. Null for "
        "all time."
    )
    cooldown: float | None = strawberry.field(
        description="The least time between two actions, in seconds; null for none."
    )

    @classmethod
    def from_proto(cls, limits: action_pb2.Limits) -> Self:
        return cls(
            max_actions=limits.max_actions or None,
            max_points=limits.max_points or None,
            per=_seconds(limits.per) or None,
            cooldown=_seconds(limits.cooldown) or None,
        )


@strawberry.type(description="How far `occurredAt` may be from the server's time, in seconds.")
class TimestampWindow:
    back: float
    ahead: float


@strawberry.type(description="A kind of action: who may submit it, what it earns, and how much of it counts.")
class ActionType:
    action_type_id: strawberry.ID
    title: str
    submitters: Submitters
    rule: ActionRule
    limits: ActionLimits | None = strawberry.field(description="Null for no limit.")
    timestamp_window: TimestampWindow | None = strawberry.field(description="Null for that of quizzes.")
    state: ActionTypeState
    tags: list[str] = strawberry.field(description="The tags under which its actions count on boards, `tag:<tag>`.")
    shows_metadata: bool = strawberry.field(
        description="Whether boards show the metadata of its actions to everyone who reads them."
    )

    @classmethod
    def from_proto(cls, stored: action_pb2.ActionType) -> Self:
        window = stored.timestamp_window
        return cls(
            action_type_id=strawberry.ID(stored.action_type_id),
            title=stored.title,
            submitters=Submitters(stored.submitters),
            rule=ActionRule.from_proto(stored.rule),
            limits=ActionLimits.from_proto(stored.limits) if stored.HasField("limits") else None,
            timestamp_window=TimestampWindow(back=_seconds(window.back), ahead=_seconds(window.ahead))
            if stored.HasField("timestamp_window")
            else None,
            state=ActionTypeState(stored.state),
            tags=list(stored.tags),
            shows_metadata=stored.shows_metadata,
        )


@strawberry.type(description="An action type of a page.")
class ActionTypeEdge:
    cursor: str = strawberry.field(description="Pass it as `after` to continue behind this action type.")
    node: ActionType


@strawberry.type(description="A page of action types.")
class ActionTypeConnection:
    edges: list[ActionTypeEdge] = field(size=1)  # as many as the page has
    page_info: PageInfo


@strawberry.type(description="The effect of a change of an action type.")
class ActionTypeChange:
    version: int = strawberry.field(description="The version after the call; starts at 1.")
    changed: bool = strawberry.field(description="False if it was the same before.")


@strawberry.input(description="Every action earns the same.")
class FixedRuleInput:
    points: int = strawberry.field(description="0 to 1 000 000 000.")


@strawberry.input(description="Each unit of an action's `quantity` earns the same.")
class PerUnitRuleInput:
    points_per_unit: int = strawberry.field(description="0 to 1 000 000 000; with `maxUnits` units no more either.")
    max_units: int = strawberry.field(description="The most units of one action, 1 to 1 000 000 000.")


@strawberry.input(description="What an outcome earns.")
class OutcomePointsInput:
    outcome: str = strawberry.field(description="1 to 64 characters.")
    points: int = strawberry.field(description="0 to 1 000 000 000.")


@strawberry.input(description="An action's `outcome` decides.")
class TableRuleInput:
    points: list[OutcomePointsInput] = strawberry.field(description="1 to 100 different outcomes.")


@strawberry.input(description="A service reports the points, within these bounds. Only for submitters SERVICES.")
class ReportedRuleInput:
    minimum: int = strawberry.field(description="0 to 1 000 000 000.")
    maximum: int = strawberry.field(description="`minimum` to 1 000 000 000.")


@strawberry.input(description="How what happened becomes points: exactly one of these.")
class ActionRuleInput:
    fixed: FixedRuleInput | None = None
    per_unit: PerUnitRuleInput | None = None
    table: TableRuleInput | None = None
    reported: ReportedRuleInput | None = None

    def to_proto(self) -> action_pb2.Rule:
        """Return the rule. Raises INVALID_ARGUMENT unless there is exactly one, whose table has no outcome twice."""
        if sum(rule is not None for rule in (self.fixed, self.per_unit, self.table, self.reported)) != 1:
            raise invalid("input.rule", "must be exactly one of fixed, perUnit, table and reported")
        if self.fixed:
            return action_pb2.Rule(fixed=action_pb2.FixedRule(points=self.fixed.points))
        if self.per_unit:
            per_unit = self.per_unit
            rule = action_pb2.PerUnitRule(points_per_unit=per_unit.points_per_unit, max_units=per_unit.max_units)
            return action_pb2.Rule(per_unit=rule)
        if self.table:
            return action_pb2.Rule(table=action_pb2.TableRule(points=_points_by_outcome(self.table.points)))
        assert self.reported
        reported = action_pb2.ReportedRule(minimum=self.reported.minimum, maximum=self.reported.maximum)
        return action_pb2.Rule(reported=reported)


@strawberry.input(description="How much of an action type counts for each player, by the server's time of receipt.")
class ActionLimitsInput:
    max_actions: int | None = strawberry.field(default=None, description="Up to 1 000 000; no limit by default.")
    max_points: int | None = strawberry.field(default=None, description="Up to 2 000 000 000; no limit by default.")
    per: float | None = strawberry.field(
        default=None, description="The window to which both apply, in seconds, 1 to 31 622 400; all time by default."
    )
    cooldown: float | None = strawberry.field(
        default=None, description="The least time between two actions, in seconds, up to 31 622 400; none by default."
    )

    def to_proto(self) -> action_pb2.Limits:
        """Return the limits."""
        return action_pb2.Limits(
            max_actions=self.max_actions or 0,
            max_points=self.max_points or 0,
            per=None if self.per is None else _duration(self.per),
            cooldown=None if self.cooldown is None else _duration(self.cooldown),
        )


@strawberry.input(description="How far `occurredAt` may be from the server's time, in seconds.")
class TimestampWindowInput:
    back: float = strawberry.field(description="Into the past, up to 31 622 400.")
    ahead: float = strawberry.field(description="Into the future, up to 86 400.")


@strawberry.input(description="The definition of an action type.")
class ActionTypeInput:
    action_type_id: strawberry.ID = strawberry.field(description="1 to 64 lower-case letters, digits and hyphens.")
    title: str = strawberry.field(description="For people, 1 to 100 characters.")
    submitters: Submitters
    rule: ActionRuleInput
    limits: ActionLimitsInput | None = strawberry.field(default=None, description="No limit by default.")
    timestamp_window: TimestampWindowInput | None = strawberry.field(
        default=None, description="That of quizzes by default."
    )
    tags: list[str] = strawberry.field(
        default_factory=list,
        description="Up to 10 tags under which its actions count on boards: up to 32 lower-case letters, digits and hyphens.",
    )
    shows_metadata: bool = strawberry.field(
        default=False, description="Whether boards show the metadata of its actions to everyone who reads them."
    )
    state: ActionTypeState | None = strawberry.field(default=None, description="OPEN by default.")

    def to_proto(self) -> action_pb2.ActionType:
        """Return the definition. Raises INVALID_ARGUMENT for an ambiguous rule."""
        window = self.timestamp_window
        return action_pb2.ActionType(
            action_type_id=self.action_type_id,
            title=self.title,
            submitters=self.submitters.value,
            rule=self.rule.to_proto(),
            limits=self.limits.to_proto() if self.limits else None,
            timestamp_window=action_pb2.TimestampWindow(back=_duration(window.back), ahead=_duration(window.ahead))
            if window
            else None,
            tags=self.tags,
            shows_metadata=self.shows_metadata,
            state=(self.state or ActionTypeState.OPEN).value,
        )


@strawberry.type
class ActionTypeQuery:
    @field(
        access=rpc("action.ListActionTypes"),
        cost=30,
        size=ENTRIES,
        description="All action types, ordered by ID, one page at a time, archived ones included.",
    )
    async def action_types(self, info: Info, first: UpTo100 = 20, after: After = None) -> ActionTypeConnection | None:
        context = info.context
        request = messages.ListActionTypesRequest(page_size=first, page_token=after or "")
        response = await context.call(context.upstreams.action.ListActionTypes, request)
        return ActionTypeConnection(
            edges=[
                ActionTypeEdge(cursor=cursor, node=ActionType.from_proto(each))
                for cursor, each in zip(response.cursors, response.action_types, strict=True)
            ],
            page_info=page_info(response.cursors, response.next_page_token, after),
        )


@strawberry.type
class ActionTypeMutation:
    @field(
        access=rpc("action.PutActionType"),
        cost=200,
        rate="write",
        description="Stores an action type and replaces the one with the same ID. Actions that were accepted before "
        "keep their points. For admins.",
    )
    async def put_action_type(self, info: Info, input: ActionTypeInput) -> ActionTypeChange | None:
        context = info.context
        request = messages.PutActionTypeRequest(action_type=input.to_proto())
        response = await context.call(context.upstreams.action.PutActionType, request)
        return ActionTypeChange(version=response.version, changed=response.changed)

    @field(
        access=rpc("action.ArchiveActionType"),
        cost=200,
        rate="write",
        description="Closes an action type: its actions are refused from then on. `putActionType` opens it again. For "
        "admins.",
    )
    async def archive_action_type(self, info: Info, action_type_id: strawberry.ID) -> ActionTypeChange | None:
        context = info.context
        request = messages.ArchiveActionTypeRequest(action_type_id=action_type_id)
        response = await context.call(context.upstreams.action.ArchiveActionType, request)
        return ActionTypeChange(version=response.version, changed=response.changed)


def _points_by_outcome(stated: list[OutcomePointsInput]) -> dict[str, int]:
    points: dict[str, int] = {}
    for number, each in enumerate(stated):
        if each.outcome in points:
            raise invalid(f"input.rule.table.points[{number}].outcome", "is in the table already")
        points[each.outcome] = each.points
    return points


def _duration(seconds: float) -> Duration:
    duration = Duration()
    duration.FromTimedelta(timedelta(seconds=max(-_MAX_SECONDS, min(seconds, _MAX_SECONDS))))
    return duration


def _seconds(duration: Duration) -> float:
    return duration.ToTimedelta().total_seconds()
