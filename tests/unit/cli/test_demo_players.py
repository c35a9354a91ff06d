"""Simulated players answer every kind of question."""

from __future__ import annotations

import random

import pytest
from google.protobuf.json_format import ParseDict
from topten.quiz.v1 import quiz_pb2

from services.cli.demo.demo_players import attempt, read_quiz
from services.cli.quizzes.quiz_import import SAMPLES
from services.quiz.questions.answers import answers_of
from services.quiz.quizzes.quiz import from_definition
from services.quiz.quizzes.scoring import judge
from tests.factories import every_kind


@pytest.mark.parametrize("skill", [0, 0.5, 1])
def test_an_attempt_answers_every_question_as_its_kind_allows(skill: float) -> None:
    dice = random.Random(7)
    for definition in [every_kind(), *map(read_quiz, SAMPLES.glob("*.json"))]:
        action = attempt(definition, skill, dice)
        assert action["quizId"] == definition.quiz_id
        messages = [ParseDict(answer, quiz_pb2.Answer()) for answer in action["answers"]]
        outcomes = judge(from_definition(definition, 1), answers_of(messages))
        verdicts = {outcome.verdict for outcome in outcomes}
        assert quiz_pb2.VERDICT_UNANSWERED not in verdicts
        assert skill < 1 or verdicts == {quiz_pb2.VERDICT_RIGHT}
