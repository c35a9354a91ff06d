"""Questions of every kind: a right answer earns all points, none earns more, and what is wrong is refused with its field."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from topten.quiz.v1 import quiz_pb2

from services.quiz.questions.answers import Answer, AnswerError, answer_in, answer_list, answer_message, answers_of
from services.quiz.questions.kinds import ShortText, parse_number
from services.quiz.questions.rules import PRESETS, Rules, rules_of
from services.quiz.quizzes.quiz import from_definition, media_faults, problems
from services.quiz.quizzes.scoring import judge, mark
from tests.factories import WEIGHTS, every_kind

QUIZ = from_definition(every_kind(), 1)
RIGHT = answers_of(question.right_answer(question_id) for question_id, question in QUIZ.questions.items())
OPTIONS = st.sampled_from("abcd")


def one(question_id: str, *values: str) -> Answer:
    return Answer(question_id, QUIZ.questions[question_id].kind.form, values)


def share(question_id: str, *values: str) -> Fraction:
    return QUIZ.questions[question_id].kind.share(values)


ANSWERS: st.SearchStrategy[Answer] = st.one_of(
    OPTIONS.map(lambda option: one("single", option)),
    st.lists(OPTIONS, unique=True, min_size=1).map(lambda options: one("multiple", *options)),
    st.lists(OPTIONS, unique=True, min_size=1).map(lambda options: one("weighted", *options)),
    st.decimals(-10, 10, places=4).map(lambda number: one("numeric", f"{number:f}")),
    st.text(min_size=1, max_size=20).map(lambda text: one("text", text)),
    st.permutations("abcd").map(lambda options: one("ordering", *options)),
    st.dictionaries(OPTIONS, st.sampled_from("wxyz"), min_size=1).map(
        lambda matches: one("matching", *(text for match in matches.items() for text in match))
    ),
)
RULES = st.builds(Rules, st.integers(0, 100), st.integers(0, 50), st.integers(0, 100), st.integers(1000, 600_000))


def test_right_answer_of_each_kind_earns_all_its_points() -> None:
    marks = mark(QUIZ, RIGHT)
    assert (marks.points, marks.correct, marks.questions) == (84, 7, 7)


@given(st.lists(ANSWERS, unique_by=lambda answer: answer.question_id), RULES, st.none() | st.integers(-5, 10**7))
def test_points_are_within_their_bounds_and_add_up(answers: list[Answer], rules: Rules, elapsed: int | None) -> None:
    quiz = replace(QUIZ, rules=rules)
    outcomes = judge(quiz, answers)
    assert [outcome.question_id for outcome in outcomes] == list(quiz.questions)
    for outcome in outcomes:
        points = quiz.questions[outcome.question_id].points
        bounds = {
            quiz_pb2.VERDICT_RIGHT: (points, points),
            quiz_pb2.VERDICT_PARTLY_RIGHT: (0, points - 1),
            quiz_pb2.VERDICT_WRONG: (-points, 0),
            quiz_pb2.VERDICT_UNANSWERED: (0, 0),
        }[outcome.verdict]
        assert bounds[0] <= outcome.points <= bounds[1]
    answered = {answer.question_id for answer in answers}
    is_answered = [outcome.verdict != quiz_pb2.VERDICT_UNANSWERED for outcome in outcomes]
    assert is_answered == [question_id in answered for question_id in quiz.questions]
    earned = sum(outcome.points for outcome in outcomes)
    marks = mark(quiz, answers, elapsed)
    assert max(0, earned) <= marks.points <= 4 * 84
    if rules == Rules(penalty_percent=rules.penalty_percent):
        assert marks.points == max(0, earned)


@given(ANSWERS)
def test_answer_is_the_same_after_the_wire_and_the_store(answer: Answer) -> None:
    assert answers_of([answer_message(answer)]) == (answer,)
    assert answer_in(answer_list(answer)) == answer


@given(st.sets(OPTIONS, min_size=1))
def test_weights_of_selected_options_add_up_between_nothing_and_all(options: set[str]) -> None:
    assert share("weighted", *options) == Fraction(min(max(sum(map(WEIGHTS.__getitem__, options)), 0), 100), 100)
    assert share("multiple", *options) == (options == {"a", "c"})


@given(st.permutations("abcd"))
def test_each_option_in_its_place_earns_its_share(order: list[str]) -> None:
    assert share("ordering", *order) == Fraction(sum(map(str.__eq__, order, "badc")), 4)


@pytest.mark.parametrize("text", ["3.14", " 3,14 ", "+3.140", "3.145", "3.135", "\u0663.14"])
def test_numbers_are_read_as_people_write_them(text: str) -> None:
    assert share("numeric", text) == 1


@given(st.decimals(-1000, 1000, places=6))
def test_number_is_right_within_the_tolerance_exactly(number: Decimal) -> None:
    assert share("numeric", f"{number:f}") == (abs(number - Decimal("3.14")) <= Decimal("0.005"))
    assert parse_number(f"{number:f}".replace("-", "\u2212")) == number


@pytest.mark.parametrize("text", ["", "pi", "1e3", "3.14.1", "1,000.5", "NaN", "Infinity", "0x10", "1" * 19])
def test_what_is_not_a_number_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a number"):
        parse_number(text)


def test_texts_differ_only_in_what_the_author_says() -> None:
    for text in ("saigon", " SAIGON ", "ho chi minh", "HỒ  CHÍ\tMINH", "H\u00f4\u0300 Chi\u0301 Minh"):
        assert share("text", text) == 1, text
    for text in ("sai gon", "Hanoi", "Saigon."):
        assert share("text", text) == 0, text
    exact = ShortText(("Ngày  Tết",), case_sensitive=True, accent_sensitive=True, space_sensitive=True)
    assert exact.share(["Ngày  Tết"]) == 1
    for text in ("ngày  tết", "Ngay  Tet", "Ngày Tết"):
        assert exact.share([text]) == 0, text
    strasse = ShortText(("Straße",), case_sensitive=False, accent_sensitive=True, space_sensitive=False)
    assert strasse.share(["STRASSE"]) == 1


@pytest.mark.parametrize(
    ("answer", "form", "fault"),
    [
        (one("single", "z"), "selected_option", "selects an option that the question does not have"),
        (one("multiple", "a", "a"), "selected_options", "selects an option twice"),
        (one("ordering", "a", "b"), "selected_options", "does not put all options in order"),
        (one("ordering", "a", "a", "b", "c"), "selected_options", "has an option twice"),
        (one("matching", "a", "q"), "matches", "has a target that the question does not have"),
        (one("matching", "a", "w", "a", "x"), "matches", "matches an option twice"),
        (one("numeric", "many"), "text", "is not a number"),
        (Answer("numeric", "selected_option", ("a",)), "selected_option", "has the form of another kind of question"),
        (Answer("none", "text", ("a",)), "", "names a question that the quiz does not have"),
    ],
)
def test_answer_that_does_not_fit_its_question_is_refused_with_its_field(answer: Answer, form: str, fault: str) -> None:
    with pytest.raises(AnswerError) as caught:
        judge(QUIZ, [RIGHT[0], answer] if answer.question_id != "single" else [answer])
    assert (str(caught.value), caught.value.form) == (fault, form)


def test_answer_has_exactly_one_form() -> None:
    with pytest.raises(AnswerError, match="is empty"):
        answers_of([quiz_pb2.Answer(question_id="q1")])
    with pytest.raises(AnswerError, match="more than one form"):
        answers_of([quiz_pb2.Answer(question_id="q1", selected_option="a", text="b")])


def _set(number: int, change: Callable[[quiz_pb2.QuestionDefinition], Any]) -> quiz_pb2.QuizDefinition:
    definition = every_kind()
    change(definition.questions[number])
    return definition


@pytest.mark.parametrize(
    ("number", "change", "field"),
    [
        (0, lambda entry: entry.correct_options.append("a"), "correct_options"),
        (0, lambda entry: entry.question.targets.add(id="w", text="W"), "question.targets"),
        (0, lambda entry: entry.question.ClearField("options"), "question.options"),
        (1, lambda entry: entry.ClearField("correct_options"), "correct_options"),
        (1, lambda entry: entry.correct_options.append("z"), "correct_options"),
        (2, lambda entry: entry.weights.add(option="z", percent=1), "weights"),
        (2, lambda entry: entry.weights.pop(), ""),
        (2, lambda entry: entry.weights.pop(0), "weights"),
        (2, lambda entry: setattr(entry.weights[1], "percent", 10), "weights"),
        (3, lambda entry: entry.ClearField("numeric"), "numeric"),
        (3, lambda entry: entry.question.options.add(id="a", text="A"), "question.options"),
        (4, lambda entry: entry.ClearField("text"), "text"),
        (4, lambda entry: entry.text.accepted.append("SAIGON"), "text.accepted"),
        (5, lambda entry: entry.correct_options.pop(), "correct_options"),
        (6, lambda entry: entry.correct_matches.pop(), "correct_matches"),
        (6, lambda entry: setattr(entry.correct_matches[0], "target", "q"), "correct_matches"),
    ],
)
def test_each_fault_of_a_key_is_found_at_its_field(number: int, change: Any, field: str) -> None:
    expected = [f"definition.questions[{number}].{field}"] if field else []
    assert (
        sorted(
            {path for path, _ in problems(_set(number, change))} - {f"definition.questions[{number}].correct_option"}
        )
        == expected
    )


def test_faults_of_scoring_and_feedback() -> None:
    definition = every_kind()
    definition.scoring.preset = "unknown"
    definition.feedback = quiz_pb2.FEEDBACK_ANSWERS_AFTER_CLOSE
    assert [path for path, _ in problems(definition)] == ["definition.scoring.preset", "definition.feedback"]
    definition.scoring.preset = "timed"
    definition.scoring.time_bonus_percent = 10
    definition.feedback = quiz_pb2.FEEDBACK_ANSWERS_AFTER_LAST_ATTEMPT
    fields = [path for path, _ in problems(definition)]
    assert fields == ["definition.scoring.preset", "definition.scoring.time_limit_seconds", "definition.feedback"]
    for preset in PRESETS:
        definition = every_kind()
        definition.scoring.preset = preset
        assert problems(definition) == []
        assert from_definition(definition, 1).rules == PRESETS[preset]
        shown = from_definition(definition, 1).view.scoring
        assert shown.preset == preset
        shown.preset = ""
        assert rules_of(shown) == PRESETS[preset]


def test_picture_comes_from_an_allowed_host() -> None:
    definition = every_kind()
    definition.questions[2].question.media.url = "https://img.example.org:443/a.png"
    assert media_faults(definition, ("img.example.org",)) == []
    assert [path for path, _ in media_faults(definition, ())] == ["definition.questions[2].question.media.url"]
    definition.questions[2].question.media.url = "https://img.example.org@evil.example/a.png"
    assert len(media_faults(definition, ("img.example.org",))) == 1


def test_row_of_right_answers_and_time_add_what_the_rules_say() -> None:
    quiz = from_definition(every_kind(points=10), 1)
    streak = replace(quiz, rules=Rules(streak_percent=50))
    assert mark(streak, RIGHT).points == 70 + 5 + 10 * 5, "the bonus stops at 100 percent"
    broken = [answer for answer in RIGHT if answer.question_id != "numeric"]
    assert mark(streak, broken).points == 60 + (5 + 10) + (5 + 10)
    timed = replace(quiz, rules=Rules(time_bonus_percent=50, time_limit_ms=10_000))
    points = [mark(timed, RIGHT, elapsed).points for elapsed in (None, -1, 0, 5_000, 10_000, 10**9)]
    assert points == [70, 105, 105, 87, 70, 70]
