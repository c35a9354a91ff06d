"""What is written and read again is equal: every quiz in our own format, in others every quiz that they can express."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from topten.quiz.v1 import quiz_pb2

from services.quiz.formats.contract import faults_of
from services.quiz.formats.registry import WRITERS, differences, read, write
from services.quiz.formats.report import TAKEN
from services.quiz.questions.kinds import text_kind
from services.quiz.questions.rules import PRESETS
from services.runtime.texts import fault_of, same_text_key
from tests.factories import every_kind
from tests.properties import examples

IDS = st.from_regex(r"[A-Za-z0-9_-]{1,12}", fullmatch=True)
MARKS = r"""
\\ ~ = # { } : :: // [html] [plain] %50% -> {T} ANSWER: A.
, ; \" ' <b> &amp; ]]> $CATEGORY: question correct \n A) true TRUE 1 1,2
""".split()
# Not even XML has these.
_NOT_XML = {"\ufffe", "\uffff"}


def texts(most: int, *, lines: bool = True, trimmed: bool = False) -> st.SearchStrategy[str]:
    """Texts that a quiz may have."""
    spaces = [" ", "\n", "\t"] if lines else [" "]
    parts = st.lists(st.sampled_from([*MARKS, *spaces]) | st.text(max_size=4), min_size=1, max_size=6)
    composed = parts.map(lambda each: unicodedata.normalize("NFC", "".join(each)))
    if trimmed:
        composed = composed.map(str.strip)
    return composed.filter(
        lambda text: 0 < len(text) <= most and not _NOT_XML & {*text} and not fault_of(text, lines=lines)
    )


@st.composite
def options(draw: st.DrawFn, *, plain: bool, ids: Sequence[str] = "abcdefghij") -> list[quiz_pb2.Option]:
    """Options of a question. `plain` ones have the ids that other formats get."""
    words = draw(st.lists(texts(200, trimmed=plain), min_size=2, max_size=10, unique_by=same_text_key))
    names = ids if plain else draw(st.lists(IDS, min_size=10, max_size=10, unique=True))
    return [quiz_pb2.Option(id=name, text=word) for name, word in zip(names, words, strict=False)]


def statements(draw: st.DrawFn, entry: quiz_pb2.QuestionDefinition, *, plain: bool) -> None:
    words = [draw(texts(200)), draw(texts(200))]
    if plain or same_text_key(words[0]) == same_text_key(words[1]):
        words = ["True", "False"]
    listed = [quiz_pb2.Option(id=name, text=word) for name, word in zip(("true", "false"), words, strict=True)]
    entry.question.options.extend(listed if plain else draw(st.permutations(listed)))
    entry.correct_option = draw(st.sampled_from(["true", "false"]))


def choices(draw: st.DrawFn, entry: quiz_pb2.QuestionDefinition, *, plain: bool) -> None:
    entry.question.options.extend(draw(options(plain=plain)))
    entry.correct_option = draw(st.sampled_from(entry.question.options)).id


def several(draw: st.DrawFn, entry: quiz_pb2.QuestionDefinition, *, plain: bool) -> None:
    entry.question.options.extend(draw(options(plain=plain)))
    ids = [option.id for option in entry.question.options]
    right = draw(st.lists(st.sampled_from(ids), min_size=1, unique=True))
    entry.correct_options.extend(sorted(right) if plain else right)
    if plain or draw(st.booleans()):
        first, *others = right
        percents = {option: 1 if option in others else draw(st.integers(-100, 0)) for option in ids}
        percents[first] = 100 - len(others)
        for option in ids if plain else draw(st.permutations(ids)):
            entry.weights.add(option=option, percent=percents[option])


def numbers(draw: st.DrawFn, entry: quiz_pb2.QuestionDefinition, *, plain: bool) -> None:
    whole = "(0|[1-9][0-9]{0,14})" if plain else "[0-9]{1,15}"
    entry.numeric.value = draw(st.from_regex(rf"-?{whole}(\.[0-9]{{1,9}})?", fullmatch=True))
    if draw(st.booleans()):
        entry.numeric.tolerance = draw(st.from_regex(rf"{whole}(\.[0-9]{{1,9}})?", fullmatch=True))


def words(draw: st.DrawFn, entry: quiz_pb2.QuestionDefinition, *, plain: bool) -> None:
    if not plain:
        entry.text.case_sensitive, entry.text.accent_sensitive = draw(st.booleans()), draw(st.booleans())
        entry.text.space_sensitive = draw(st.booleans())
    accepted = texts(200, lines=False, trimmed=plain).filter(_normalized)
    if plain:
        accepted = accepted.filter(lambda text: "|" not in text and "->" not in text)
    entry.text.accepted.extend(draw(st.lists(accepted, min_size=1, max_size=20, unique_by=_normalized)))


def _normalized(text: str) -> str:
    return text_kind(quiz_pb2.TextKey()).normalized(text)


def orders(draw: st.DrawFn, entry: quiz_pb2.QuestionDefinition, *, plain: bool) -> None:
    entry.question.options.extend(draw(options(plain=plain)))
    entry.correct_options.extend(draw(st.permutations([option.id for option in entry.question.options])))
    entry.partial = draw(st.booleans())


def matches(draw: st.DrawFn, entry: quiz_pb2.QuestionDefinition, *, plain: bool) -> None:
    arrowless = options(plain=plain).filter(lambda each: not plain or all("->" not in option.text for option in each))
    entry.question.options.extend(draw(arrowless))
    targets = draw(options(plain=plain))
    if plain:
        targets.sort(key=lambda target: (target.text.casefold(), target.text))
    for number, target in enumerate(targets, 1):
        entry.question.targets.add(id=f"t{number}" if plain else target.id, text=target.text)
    listed = [*entry.question.options]
    for option in listed if plain else draw(st.permutations(listed)):
        entry.correct_matches.add(option=option.id, target=draw(st.sampled_from(entry.question.targets)).id)
    entry.partial = plain or draw(st.booleans())


KEYS: dict[quiz_pb2.QuestionKind.ValueType, Callable[..., None]] = {
    quiz_pb2.QUESTION_KIND_SINGLE_CHOICE: choices,
    quiz_pb2.QUESTION_KIND_TRUE_FALSE: statements,
    quiz_pb2.QUESTION_KIND_MULTIPLE_CHOICE: several,
    quiz_pb2.QUESTION_KIND_NUMERIC: numbers,
    quiz_pb2.QUESTION_KIND_SHORT_TEXT: words,
    quiz_pb2.QUESTION_KIND_ORDERING: orders,
    quiz_pb2.QUESTION_KIND_MATCHING: matches,
}
# Orders have no form in GIFT, and their own order of options is in tables alone.
PLAIN_KINDS = [kind for kind in KEYS if kind != quiz_pb2.QUESTION_KIND_ORDERING]


@st.composite
def questions(draw: st.DrawFn, question_id: str, *, plain: bool) -> quiz_pb2.QuestionDefinition:
    """A question. A `plain` one has nothing that only our format expresses."""
    kind = draw(st.sampled_from(PLAIN_KINDS if plain else [*KEYS]))
    points = draw(st.integers(1, 1000)) if not plain else 10
    question = quiz_pb2.Question(id=question_id, text=draw(texts(500, trimmed=plain)), kind=kind, points=points)
    entry = quiz_pb2.QuestionDefinition(question=question)
    KEYS[kind](draw, entry, plain=plain)
    entry.explanation = draw(st.just("") | texts(1000, trimmed=plain))
    if not plain and draw(st.booleans()):
        entry.question.media.url = "https://example.com/" + draw(st.from_regex(r"[a-z0-9/]{1,30}", fullmatch=True))
        entry.question.media.alt = draw(texts(500, lines=False))
    return entry


SCORING = st.sampled_from([quiz_pb2.Scoring(preset=preset) for preset in PRESETS]) | st.builds(
    quiz_pb2.Scoring,
    penalty_percent=st.integers(0, 100),
    streak_percent=st.integers(0, 50),
    time_bonus_percent=st.integers(1, 100),
    time_limit_seconds=st.integers(1, 86400),
)


@st.composite
def quizzes(draw: st.DrawFn, *, plain: bool = False) -> quiz_pb2.QuizDefinition:
    """A valid quiz."""
    ids = ["q1", "q2", "q3"] if plain else draw(st.lists(IDS, min_size=1, max_size=3, unique=True))
    quiz = quiz_pb2.QuizDefinition(
        quiz_id=draw(st.from_regex(r"[a-z0-9]{1,12}", fullmatch=True)),
        title=draw(texts(120, lines=False, trimmed=True).map(lambda text: " ".join(text.split()))),
        questions=[draw(questions(each, plain=plain)) for each in ids],
        attempts=quiz_pb2.AttemptPolicy(counting=quiz_pb2.COUNTING_BEST),
    )
    if not plain:
        quiz.description = draw(st.just("") | texts(1000))
        quiz.tags.extend(draw(st.lists(texts(40, lines=False), max_size=3, unique=True)))
        quiz.attempts.max_attempts = draw(st.integers(0, 1_000_000))
        quiz.attempts.cooldown_seconds = draw(st.integers(0, 2_592_000))
        if draw(st.booleans()):
            quiz.timing.limit_seconds, quiz.timing.grace_seconds = (
                draw(st.integers(5, 86_400)),
                draw(st.integers(0, 300)),
            )
        quiz.attempts.counting = draw(st.sampled_from([*quiz_pb2.Counting.values()][1:]))
        times = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30))  # noqa: DTZ001  # the strategy takes naive bounds
        opens, closes = sorted([draw(times), draw(times)])
        if draw(st.booleans()):
            quiz.opens_at.FromDatetime(opens.replace(tzinfo=UTC))
        if draw(st.booleans()) and opens != closes:
            quiz.closes_at.FromDatetime(closes.replace(tzinfo=UTC))
        if draw(st.booleans()):
            quiz.scoring.CopyFrom(draw(st.just(quiz_pb2.Scoring()) | SCORING))
        quiz.rooms_count_on_boards = draw(st.booleans())
        quiz.feedback = draw(st.sampled_from(quiz_pb2.Feedback.values()))
        if faults_of(quiz):  # feedback that waits for an end of attempts or of the quiz, without one
            quiz.feedback = quiz_pb2.FEEDBACK_ANSWERS
    assert faults_of(quiz) == []
    return quiz


@examples(20)
@given(quizzes())
def test_our_own_format_keeps_every_quiz(quiz: quiz_pb2.QuizDefinition) -> None:
    content, lost = write(quiz, "json")
    assert lost == []
    [report] = read(content, "")
    assert report.definition == quiz
    assert not report.changes
    assert {item.outcome for item in report.items} == {"taken"}


@examples(20)
@given(st.sampled_from(sorted(WRITERS)), quizzes())
def test_what_a_format_does_not_keep_is_named(written: str, quiz: quiz_pb2.QuizDefinition) -> None:
    content, lost = write(quiz, written)
    if not lost:
        assert read(content, quiz.quiz_id)[0].definition == quiz


@pytest.mark.parametrize("written", ["gift", "csv", "xlsx", "moodle", "qti"])
@examples(20)
@given(quiz=quizzes(plain=True))
def test_a_quiz_that_a_format_can_express_is_equal_again(written: str, quiz: quiz_pb2.QuizDefinition) -> None:
    quiz.title = quiz.title.lstrip("/ ") or "title"  # a category that begins with a slash is ambiguous
    if written in {"csv", "xlsx"}:  # a table has no title
        quiz.title = quiz.quiz_id
    content, lost = write(quiz, written)
    assert lost == []
    [report] = read(content, quiz.quiz_id)
    assert {(item.outcome, *item.notes) for item in report.items} == {(TAKEN,)}, "nothing is said to be changed"


LOST = {
    "aiken": {"title", "feedback", *(f"questions[{index}]" for index in range(7))},
    "csv": {"title", "feedback", "questions[6]"},  # the ids of targets
    "gift": {"feedback", "questions[1]", "questions[5]", "questions[6]"},
    "json": set(),
    "moodle": {"feedback", "questions[1]", "questions[6]"},  # all or nothing; the ids of targets
    "qti": {"feedback", "questions[5]", "questions[6]"},  # partial credit of an order; the ids of targets
    "xlsx": {"title", "feedback", "questions[6]"},
}


@pytest.mark.parametrize("written", sorted(WRITERS))
def test_what_is_lost_of_every_kind(written: str) -> None:
    content, lost = write(every_kind(points=10), written)
    assert content
    assert {*lost} == LOST[written]
    [report] = read(content, "kinds")
    assert not report.has_refusals


def test_differences_are_named_by_their_place() -> None:
    first, second = (quiz_pb2.QuestionDefinition(question=quiz_pb2.Question(id=each)) for each in ("q1", "q2"))
    one = quiz_pb2.QuizDefinition(quiz_id="a", title="b", tags=["x"], questions=[first, second])
    other = quiz_pb2.QuizDefinition(quiz_id="c", title="b", questions=[second])
    assert differences(one, other) == ["id", "tags", "questions[0]"]
