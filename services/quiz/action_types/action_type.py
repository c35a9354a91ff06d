"""What an action type is: its rules, and the checks of a definition. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from google.protobuf.duration_pb2 import Duration
from topten.action.v1 import action_pb2
from topten.quiz.v1 import quiz_pb2

from services.quiz.action_types.rule import rule_problems
from services.quiz.config import Window
from services.quiz.quizzes.limits import Limits
from services.quiz.quizzes.terms import Terms, counted_tags

ActionTypeMessage = action_pb2.ActionType


@dataclass(frozen=True, slots=True)
class ActionType:
    """The rules of an action type. `window` None is that of quizzes."""

    terms: Terms
    rule: action_pb2.Rule
    is_open: bool
    window: Window | None
    admits_services: bool
    admits_players: bool


def from_definition(definition: action_pb2.ActionType, version: int) -> ActionType:
    """Return the rules of a valid definition."""
    submitters = definition.submitters
    window = definition.timestamp_window
    return ActionType(
        # Every action counts: their points are added up.
        terms=Terms(
            quiz_pb2.COUNTING_SUM,
            version,
            _limits(definition.limits),
            counted_tags(definition.tags),
            definition.shows_metadata,
        ),
        rule=definition.rule,
        is_open=definition.state != ActionTypeMessage.ARCHIVED,
        window=Window(window.back.ToTimedelta(), window.ahead.ToTimedelta())
        if definition.HasField("timestamp_window")
        else None,
        admits_services=submitters in (ActionTypeMessage.SERVICES, ActionTypeMessage.BOTH),
        admits_players=submitters in (ActionTypeMessage.PLAYERS, ActionTypeMessage.BOTH),
    )


def canonical(definition: action_pb2.ActionType) -> action_pb2.ActionType:
    """Return a definition in the one form that is stored: with a state, tags in order, and no limits that limit nothing."""
    stored = action_pb2.ActionType()
    stored.CopyFrom(definition)
    stored.state = definition.state or ActionTypeMessage.OPEN
    if stored.limits == action_pb2.Limits():
        stored.ClearField("limits")
    stored.tags[:] = sorted(stored.tags)
    return stored


def problems(definition: action_pb2.ActionType) -> list[tuple[str, str]]:
    """Return the faults that the contract's bounds cannot express, as field and description; empty if it is valid."""
    faults = [(f"action_type.rule.{field}", text) for field, text in rule_problems(definition.rule)]
    is_reported = definition.rule.WhichOneof("rule") == "reported"
    if is_reported and definition.submitters != ActionTypeMessage.SERVICES:
        faults.append(("action_type.submitters", "must be SERVICES: only services may report points"))
    limits = definition.limits
    if limits.HasField("per") and not (limits.max_actions or limits.max_points):
        faults.append(("action_type.limits.per", "needs max_actions or max_points"))
    return faults


def _limits(limits: action_pb2.Limits) -> Limits:
    return Limits(limits.max_actions, limits.max_points, _milliseconds(limits.per), _milliseconds(limits.cooldown))


def _milliseconds(duration: Duration) -> int:
    return duration.ToMilliseconds()
