"""Numbered counters: counted event by event in any order, they have what a plain computation over all events says."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest
from bson import decode, encode
from hypothesis import given
from hypothesis import strategies as st
from topten.quiz.v1.quiz_events_pb2 import QuizCompletedEvent

from services.boards.definition import CounterSpec
from services.boards.periods.calendar import Calendar
from services.runtime.clock import milliseconds_of
from services.score.ingest.row_events import event_of_row
from services.score.ledger.counters.added import counters_added, lacks_counters
from services.score.ledger.counters.numbered import NO_COUNTERS, Counters, NumberedCounter
from services.score.ledger.counters.totals import totals_of
from services.score.ledger.documents import MS_DATES, Document, fold_document, fold_of, row_document, row_of
from services.score.ledger.events import Change, Event
from services.score.ledger.folds.fold import Fold, apply, empty_fold, next_row
from services.score.ledger.history import UNKNOWN, History, HistoryRequiredError
from services.score.ledger.rows import Row, row_hash
from services.score.ledger.totals import Total
from services.streams import ACTION_COMPLETED, ACTION_VOIDED, SCORE_ADJUSTED
from tests.properties import examples
from tests.unit.score.test_history import _records

START = milliseconds_of(datetime(2026, 11, 28, tzinfo=UTC))
HOUR = int(timedelta(hours=1).total_seconds() * 1000)
PERIODS = ("all", "daily", "weekly", "monthly", "yearly", "every:2:2026-11-27", "range:2026-11-28/2026-11-30")
SOURCES = ("all", "quiz:q", "action:run", "action:jump", "tag:red", "tag:blue")
TAGS = ((), ("red",), ("blue", "red"), ("green",))


def counter(
    number: int, *sources: str, aggregate: str = "sum", lowest: bool = False, period: str = "all"
) -> NumberedCounter:
    spec = CounterSpec(frozenset(sources), aggregate, lowest, Calendar(period))  # type: ignore[arg-type]  # drawn as a text
    return NumberedCounter(number, spec)


def counted(
    events: Sequence[Event], counters: Counters, fold: Fold | None = None, rows: Sequence[Row] = ()
) -> tuple[Fold, list[Row]]:
    """Count events, reading as few rows as decide."""
    fold, rows = fold or empty_fold("ada"), list(rows)
    for event in events:
        for limit in count():
            latest = rows[len(rows) - limit :]
            history = History(latest, is_all=limit >= len(rows)) if limit else UNKNOWN
            try:
                row = next_row(fold, event, event.at, history=history, counters=counters)
                break
            except HistoryRequiredError:
                assert not history.is_all, "all rows decide"
        assert row == next_row(fold, event, event.at, history=History(rows, is_all=True), counters=counters)
        assert row.hash == row_hash(row)
        rows.append(row)
        fold = apply(fold, row)
    return fold, rows


def plain(each: NumberedCounter, events: Sequence[Event]) -> dict[str, tuple[int, int]]:
    """Return points and the time that they were reached, by period, as the words of a definition say."""
    voided = {event.change.voids for event in events if event.kind == ACTION_VOIDED and event.change is not None}
    totals: dict[str, tuple[int, int]] = {}
    of_it = [event for event in events if is_from(each.spec.sources, event)]
    assert of_it == [event for event in events if each.includes(event)]
    periods = {each.period_at(event.at) for event in of_it} - {None}
    for period in periods:
        inside = [event for event in of_it if each.period_at(event.at) == period]
        actions = [e for e in inside if e.kind not in (ACTION_VOIDED, SCORE_ADJUSTED) and e.event_id not in voided]
        if each.is_sum:
            moves: dict[int, int] = {}
            for event in inside:
                moves[event.at] = moves.get(event.at, 0) + each.move(event)
            points, reached, running = sum(moves.values()), 0, 0
            for at in sorted(moves):
                before, running = running, running + moves[at]
                reached = at if before < points <= running else reached
            totals[str(period)] = (points, reached if points > 0 else 0)
        elif each.spec.aggregate == "best":
            if points_of_actions := [action.delta for action in actions if action.delta > 0]:
                best = (min if each.spec.lowest else max)(points_of_actions)
                totals[str(period)] = (best, min(action.at for action in actions if action.delta == best))
        elif actions:
            latest = max(action.at for action in actions)
            totals[str(period)] = ([action.delta for action in actions if action.at == latest][-1], latest)
    return {period: total for period, total in totals.items() if total != (0, 0)}


def is_from(sources: frozenset[str], event: Event) -> bool:
    """Whether an event is from one of the sources, by plain words. An adjustment is from `all` alone."""
    action_type = event.change.action_type_id if event.change is not None else ""
    return any(
        source == "all"
        or (kind == "tag" and name in event.tags)
        or (kind == "quiz" and name == event.quiz_id)
        or (kind == "action" and name == action_type)
        for source in sources
        for kind, _, name in [source.partition(":")]
    )


@st.composite
def _events(draw: st.DrawFn) -> list[Event]:
    events: list[Event] = []
    open_actions: list[Event] = []
    at = START
    for number in range(draw(st.integers(1, 14))):
        at += draw(st.integers(0, 9)) * HOUR
        what = draw(st.sampled_from(["action", "action", "action", "void", "adjust"]))
        if what == "adjust":
            delta = draw(st.sampled_from([-30, -5, 5, 30]))
            change = Change("m", "why")
            events.append(
                Event(f"e{number}", "ada", "", delta, at, f"a{number}", 0, 0, kind=SCORE_ADJUSTED, change=change)
            )
        elif what == "action":
            change = Change("s", "", action_type_id=draw(st.sampled_from(["run", "jump"])))
            points = draw(st.integers(0, 4)) * 10
            action = Event(
                f"e{number}", "ada", "", points, at, f"a{number}", 1, 0, kind=ACTION_COMPLETED, change=change,
                tags=draw(st.sampled_from(TAGS)),
            )  # fmt: skip
            events.append(action)
            open_actions.append(action)
        elif open_actions:
            action = open_actions.pop(draw(st.integers(0, len(open_actions) - 1)))
            assert action.change is not None
            change = action.change._replace(voids=action.event_id)
            events.append(
                action._replace(event_id=f"v{number}", delta=-action.delta, kind=ACTION_VOIDED, change=change)
            )
    return events


_counters = st.lists(
    st.builds(
        lambda sources, aggregate, lowest, period: (sources, aggregate, lowest and aggregate == "best", period),
        st.sets(st.sampled_from(SOURCES), min_size=1),
        st.sampled_from(["sum", "count", "best", "latest"]),
        st.booleans(),
        st.sampled_from(PERIODS),
    ),
    min_size=1,
    max_size=4,
).map(
    lambda specs: [
        counter(number, *sources, aggregate=aggregate, lowest=lowest, period=period)
        for number, (sources, aggregate, lowest, period) in enumerate(specs, 1)
    ]
)


def shown(fold: Fold, each: NumberedCounter) -> dict[str, tuple[int, int]]:
    totals = {period: (total.points, total.reached_at) for period, total in fold.counters.get(each.key, {}).items()}
    return {period: total for period, total in totals.items() if total != (0, 0)}


@examples(400)
@given(_events(), _counters, st.randoms(use_true_random=False))
def test_counters_have_what_a_plain_computation_says_in_any_order(
    events: list[Event], numbered: list[NumberedCounter], random: object
) -> None:
    counters = Counters(numbered, len(numbered))
    shuffled = list(events)
    random.shuffle(shuffled)  # type: ignore[attr-defined]  # hypothesis types it as an object
    for order in (events, shuffled):
        fold, rows = counted(order, counters)
        for each in numbered:
            assert shown(fold, each) == plain(each, order), each
        assert fold.complete_through == (counters.known if rows else 0)


@examples(300)
@given(_events(), _events(), _counters)
def test_counter_defined_later_equals_one_that_was_there_from_the_start(
    before: list[Event], after: list[Event], numbered: list[NumberedCounter]
) -> None:
    after = [event._replace(event_id=f"x{event.event_id}", at=event.at + 20 * HOUR) for event in after]
    after = [
        event
        if event.change is None or not event.change.voids
        else event._replace(change=event.change._replace(voids=f"x{event.change.voids}"))
        for event in after
    ]
    counters = Counters(numbered, len(numbered))
    fold, rows = counted(before, NO_COUNTERS)
    if lacks_counters(fold, counters):
        row = counters_added(fold, rows, counters, START)
        assert row.hash == row_hash(row)
        fold, rows = apply(fold, row), [*rows, row]
    later, _ = counted(after, counters, fold, rows)
    always, _ = counted([*before, *after], counters)
    assert later.counters == always.counters
    assert later.complete_through == always.complete_through


def test_row_of_a_process_that_knows_fewer_counters_makes_the_others_unknown() -> None:
    one, two = counter(1, "all"), counter(2, "action:run")
    run = Event(
        "e1", "ada", "", 10, START, "a1", 1, 0, kind=ACTION_COMPLETED, change=Change("s", "", action_type_id="run")
    )
    fold, rows = counted([run], Counters([one, two], 2))
    assert set(fold.counters) == {"1", "2"}
    fold, rows = counted([run._replace(event_id="e2", at=START + HOUR)], Counters([one], 1), fold, rows)
    assert fold.complete_through == 1
    assert fold.counters == {"1": {"all": Total((20, START + HOUR))}}
    both = Counters([one, two], 2)
    fold, rows = counted([run._replace(event_id="e3", at=START + 2 * HOUR)], both, fold, rows)
    assert fold.counters == {"1": {"all": Total((30, START + 2 * HOUR))}}, "nobody knows what it would be added to"
    assert lacks_counters(fold, both)
    fold = apply(fold, counters_added(fold, rows, both, START))
    assert fold.counters["2"] == {"all": Total((30, START + 2 * HOUR))}


def test_event_of_a_closed_period_does_not_count_in_it_then_or_later() -> None:
    daily = counter(1, "all", period="daily")
    counters = Counters([daily], 1)
    run = Event(
        "e1", "ada", "", 10, START, "a1", 1, 0, kind=ACTION_COMPLETED, change=Change("s", "", action_type_id="run")
    )
    row = next_row(empty_fold("ada"), run, START, closed_through=START + 24 * HOUR, counters=counters)
    fold = apply(empty_fold("ada"), row)
    assert fold.counters == {}
    assert counters_added(fold, [row], counters, START).counters == {}


def as_read(document: Document) -> Document:
    """Return a document as the store reads it."""
    return decode(encode(document), MS_DATES)


def test_rows_and_folds_survive_the_store_and_old_ones_are_hashed_as_ever() -> None:
    run = Event(
        "e1", "ada", "", 10, START, "a1", 1, 0, kind=ACTION_COMPLETED, change=Change("s", "", action_type_id="run")
    )
    old, _ = counted([run], NO_COUNTERS)
    assert "counters_known" not in row_document(counted([run], NO_COUNTERS)[1][0])
    assert "complete_through" not in fold_document(old)
    fold, rows = counted([run], Counters([counter(1, "all", period="daily")], 1))
    assert row_of(as_read(row_document(rows[0]))) == rows[0]
    assert fold_of(as_read(fold_document(fold))) == fold
    changed = rows[0]._replace(counters={"1": {"2026-11-28": Total((11, START))}})
    assert row_hash(changed) != rows[0].hash


OF_QUIZ = Event("e1", "ada", "q", 10, 1764288000000, "a1", 1, 10, "VN")


@pytest.mark.parametrize(
    ("counters", "hash_"),
    [
        (NO_COUNTERS, "dd9ab1a82cdff603388049a4cdec95f6b5a00fc3fcb4a1b5586a87b33c61ceca"),
        (Counters([counter(1, "quiz:q")], 1), "b11c0c77f9e3ceb7db19f14917828955f131744c196d7efba9c124a17b313009"),
    ],
)
def test_tags_are_hashed_where_they_exist_and_rows_without_keep_the_hash_that_they_always_had(
    counters: Counters, hash_: str
) -> None:
    untagged = next_row(empty_fold("ada"), OF_QUIZ, OF_QUIZ.at, counters=counters)
    assert untagged.hash.hex() == hash_
    assert "tags" not in row_document(untagged)
    tagged = next_row(empty_fold("ada"), OF_QUIZ._replace(tags=("blue", "red")), OF_QUIZ.at, counters=counters)
    assert row_of(as_read(row_document(tagged))) == tagged
    assert tagged.hash == row_hash(tagged)
    hashes = {row_hash(tagged._replace(tags=tags)) for tags in ((), ("blue",), ("red",), ("blue", "red"))}
    assert len(hashes) == 4
    assert untagged.hash in hashes
    tags = QuizCompletedEvent.FromString(event_of_row(tagged)).payload.tags
    assert tuple(tags) == tagged.tags, "a record that is restored from its row has them"


@pytest.mark.parametrize(("aggregate", "points"), [("best", 30), ("latest", 10), ("sum", 60), ("count", 3)])
def test_each_aggregate(aggregate: str, points: int) -> None:
    events = [
        Event(
            f"e{n}",
            "ada",
            "",
            p,
            START + n,
            f"a{n}",
            1,
            0,
            kind=ACTION_COMPLETED,
            change=Change("", "", action_type_id="run"),
        )
        for n, p in enumerate((20, 30, 10))
    ]
    fold, _ = counted(events, Counters([counter(1, "action:run", aggregate=aggregate)], 1))
    assert fold.counters["1"]["all"].points == points


_of_quizzes = st.lists(
    st.builds(
        lambda sources, aggregate, lowest, period: (sources, aggregate, lowest and aggregate == "best", period),
        st.sets(st.sampled_from(["all", "quiz:q", "quiz:r", "tag:red", "tag:blue"]), min_size=1),
        st.sampled_from(["sum", "count"]),
        st.booleans(),
        st.sampled_from(PERIODS),
    ),
    min_size=1,
    max_size=3,
).map(
    lambda specs: [
        counter(number, *sources, aggregate=aggregate, lowest=lowest, period=period)
        for number, (sources, aggregate, lowest, period) in enumerate(specs, 1)
    ]
)


@examples(300)
@given(_records(), _of_quizzes, st.randoms(use_true_random=False))
def test_counters_of_quizzes_are_what_all_rows_say_in_any_order(
    events: list[Event], numbered: list[NumberedCounter], random: object
) -> None:
    """A verification compares the two. Each attempt has the tags that its quiz had then."""
    counters = Counters(numbered, len(numbered))
    events = [each._replace(tags=TAGS[(each.at // HOUR + len(each.quiz_id)) % len(TAGS)]) for each in events]
    shuffled = list(events)
    random.shuffle(shuffled)  # type: ignore[attr-defined]  # hypothesis types it as an object
    for order in (events, shuffled):
        fold, rows = counted(order, counters)
        for each in numbered:
            assert shown(fold, each) == {
                period: total[:2] for period, total in totals_of(each, rows).items() if total[:2] != (0, 0)
            }, each
