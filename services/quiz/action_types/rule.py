"""From what happened to points, by the rule of an action type. Pure: the same input always gives the same points."""

from __future__ import annotations

from typing import Final

from topten.action.v1 import action_pb2

MAX_POINTS: Final = 1_000_000_000
Happened = tuple[str, int | str] | None
"""What an action says of what happened: `quantity`, `outcome` or `value`, and its value. None if it says nothing."""
_ASKS_FOR: Final = {"fixed": None, "per_unit": "quantity", "table": "outcome", "reported": "value"}


class RuleError(ValueError):
    """What an action says does not match the rule; `field` is where."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


def points_of(rule: action_pb2.Rule, happened: Happened) -> int:
    """Return the points of an action, 0 to 1 000 000 000, by a valid rule.

    Raises RuleError if the action does not say what the rule asks for, says something else, or is out of bounds.
    """
    kind = rule.WhichOneof("rule") or ""
    expected, given = _ASKS_FOR[kind], happened[0] if happened else None
    if given != expected:
        if expected is None:
            raise RuleError(str(given), "must be absent: actions of this type always earn the same points")
        instead = "" if given is None else f" instead of {given}"
        raise RuleError(expected, f"is required by the rule of this action type{instead}")
    said = happened[1] if happened else 0
    match kind:
        case "fixed":
            return rule.fixed.points
        case "per_unit":
            units = int(said)
            if not 1 <= units <= rule.per_unit.max_units:
                raise RuleError("quantity", f"must be 1 to {rule.per_unit.max_units}")
            return units * rule.per_unit.points_per_unit
        case "table":
            if said not in rule.table.points:
                raise RuleError("outcome", "is not an outcome of this action type")
            return rule.table.points[str(said)]
        case _:
            value, reported = int(said), rule.reported
            if not reported.minimum <= value <= reported.maximum:
                raise RuleError("value", f"must be {reported.minimum} to {reported.maximum}")
            return value


def rule_problems(rule: action_pb2.Rule) -> list[tuple[str, str]]:
    """Return the faults that the contract's bounds cannot express, as field and description; empty if it is valid."""
    match rule.WhichOneof("rule"):
        case "per_unit" if rule.per_unit.points_per_unit * rule.per_unit.max_units > MAX_POINTS:
            return [("per_unit.max_units", f"makes an action of more than {MAX_POINTS} points possible")]
        case "reported" if rule.reported.minimum > rule.reported.maximum:
            return [("reported.maximum", "must be at least the minimum")]
        case _:
            return []
