"""Points follow from the rule of an action type and what an action says, within bounds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from topten.action.v1 import action_pb2

from services.quiz.action_types.action_type import problems
from services.quiz.action_types.rule import MAX_POINTS, Happened, RuleError, points_of

POINTS = st.integers(0, MAX_POINTS)
RULES = st.one_of(
    st.builds(lambda points: action_pb2.Rule(fixed=action_pb2.FixedRule(points=points)), POINTS),
    st.builds(
        lambda points, units: action_pb2.Rule(
            per_unit=action_pb2.PerUnitRule(points_per_unit=points // units, max_units=units)
        ),
        POINTS,
        st.integers(1, MAX_POINTS),
    ),
    st.builds(
        lambda table: action_pb2.Rule(table=action_pb2.TableRule(points=table)),
        st.dictionaries(st.sampled_from(["win", "draw", "loss"]), POINTS, min_size=1),
    ),
    st.builds(
        lambda bounds: action_pb2.Rule(reported=action_pb2.ReportedRule(minimum=min(bounds), maximum=max(bounds))),
        st.tuples(POINTS, POINTS),
    ),
)
NUMBERS = st.integers(-(2**31), 2**31 - 1)
HAPPENED: st.SearchStrategy[Happened] = st.one_of(
    st.none(),
    st.tuples(st.just("quantity"), NUMBERS),
    st.tuples(st.just("outcome"), st.sampled_from(["win", "draw", "loss", ""])),
    st.tuples(st.just("value"), NUMBERS),
)


def definition(rule: action_pb2.Rule, submitters: str = "SERVICES") -> action_pb2.ActionType:
    return action_pb2.ActionType(
        action_type_id="run",
        title="Run",
        submitters=action_pb2.ActionType.Submitters.Value(submitters),
        rule=rule,
    )


@given(RULES, HAPPENED)
def test_a_valid_rule_gives_points_within_bounds_or_names_the_field(rule: action_pb2.Rule, happened: Happened) -> None:
    assert problems(definition(rule)) == []
    try:
        points = points_of(rule, happened)
    except RuleError as error:
        assert error.field in ("quantity", "outcome", "value")
    else:
        assert 0 <= points <= MAX_POINTS
        assert points == points_of(rule, happened)


def test_each_rule_asks_for_what_it_needs_and_nothing_else() -> None:
    fixed = action_pb2.Rule(fixed=action_pb2.FixedRule(points=5))
    per_unit = action_pb2.Rule(per_unit=action_pb2.PerUnitRule(points_per_unit=3, max_units=10))
    table = action_pb2.Rule(table=action_pb2.TableRule(points={"win": 3, "draw": 1, "loss": 0}))
    reported = action_pb2.Rule(reported=action_pb2.ReportedRule(minimum=1, maximum=50))
    assert points_of(fixed, None) == 5
    assert [points_of(per_unit, ("quantity", units)) for units in (1, 10)] == [3, 30]
    assert [points_of(table, ("outcome", outcome)) for outcome in ("win", "draw", "loss")] == [3, 1, 0]
    assert [points_of(reported, ("value", value)) for value in (1, 50)] == [1, 50]
    refused: list[tuple[action_pb2.Rule, Happened, str]] = [
        (fixed, ("quantity", 1), "quantity"),
        (per_unit, None, "quantity"),
        (per_unit, ("quantity", 0), "quantity"),
        (per_unit, ("quantity", 11), "quantity"),
        (per_unit, ("value", 1), "quantity"),
        (table, ("outcome", "forfeit"), "outcome"),
        (reported, ("value", 0), "value"),
        (reported, ("value", 51), "value"),
    ]
    for rule, happened, field in refused:
        with pytest.raises(RuleError) as caught:
            points_of(rule, happened)
        assert caught.value.field == field


def test_a_definition_that_contradicts_itself_is_refused_by_field() -> None:
    reported = action_pb2.Rule(reported=action_pb2.ReportedRule(minimum=2, maximum=1))
    too_much = action_pb2.Rule(per_unit=action_pb2.PerUnitRule(points_per_unit=2, max_units=MAX_POINTS))
    assert [field for field, _ in problems(definition(reported, "BOTH"))] == [
        "action_type.rule.reported.maximum",
        "action_type.submitters",
    ]
    assert [field for field, _ in problems(definition(too_much))] == ["action_type.rule.per_unit.max_units"]
    endless = definition(action_pb2.Rule(fixed=action_pb2.FixedRule(points=1)))
    endless.limits.per.seconds = 60
    assert [field for field, _ in problems(endless)] == ["action_type.limits.per"]
