"""Test data."""

from __future__ import annotations

from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from topten.quiz.v1 import quiz_pb2


def quiz_definition(
    quiz_id: str = "quiz",
    *,
    questions: int = 2,
    points: int = 10,
    max_attempts: int = 0,
    counting: quiz_pb2.Counting.ValueType = quiz_pb2.COUNTING_BEST,
) -> quiz_pb2.QuizDefinition:
    """Return a valid quiz with questions q1, q2, …, and options a (correct) and b."""
    return quiz_pb2.QuizDefinition(
        quiz_id=quiz_id,
        title=f"About {quiz_id}",
        tags=["test"],
        attempts=quiz_pb2.AttemptPolicy(max_attempts=max_attempts, counting=counting),
        questions=[
            quiz_pb2.QuestionDefinition(
                question=quiz_pb2.Question(
                    id=f"q{number}",
                    text=f"Question {number}?",
                    kind=quiz_pb2.QUESTION_KIND_SINGLE_CHOICE,
                    options=[quiz_pb2.Option(id="a", text="This"), quiz_pb2.Option(id="b", text="That")],
                    points=points,
                ),
                correct_option="a",
            )
            for number in range(1, questions + 1)
        ],
    )


def every_kind(quiz_id: str = "kinds", *, points: int = 12) -> quiz_pb2.QuizDefinition:
    """Return a valid quiz with a question of each kind, whose ids are the names of the kinds."""
    options = [quiz_pb2.Option(id=name, text=f"Option {name}") for name in "abcd"]
    targets = [quiz_pb2.Option(id=name, text=f"Target {name}") for name in "wxyz"]
    definition = quiz_pb2.QuizDefinition(
        quiz_id=quiz_id,
        title="Every kind",
        attempts=quiz_pb2.AttemptPolicy(counting=quiz_pb2.COUNTING_BEST),
        feedback=quiz_pb2.FEEDBACK_ANSWERS,
    )

    def add(name: str, kind: quiz_pb2.QuestionKind.ValueType, **key: Any) -> None:
        chosen = [] if name in ("numeric", "text") else options
        question = quiz_pb2.Question(id=name, text=f"A {name} question?", kind=kind, points=points, options=chosen)
        if name == "matching":
            question.targets.extend(targets)
        definition.questions.append(quiz_pb2.QuestionDefinition(question=question, explanation="Because.", **key))

    add("single", quiz_pb2.QUESTION_KIND_SINGLE_CHOICE, correct_option="a")
    add("multiple", quiz_pb2.QUESTION_KIND_MULTIPLE_CHOICE, correct_options=["a", "c"])
    weights = [quiz_pb2.OptionWeight(option=option, percent=percent) for option, percent in WEIGHTS.items()]
    add("weighted", quiz_pb2.QUESTION_KIND_MULTIPLE_CHOICE, correct_options=["a", "c"], weights=weights)
    add("numeric", quiz_pb2.QUESTION_KIND_NUMERIC, numeric=quiz_pb2.NumericKey(value="3.14", tolerance="0.005"))
    add("text", quiz_pb2.QUESTION_KIND_SHORT_TEXT, text=quiz_pb2.TextKey(accepted=["Saigon", "Hồ Chí Minh"]))
    add("ordering", quiz_pb2.QUESTION_KIND_ORDERING, correct_options=["b", "a", "d", "c"], partial=True)
    matches = [quiz_pb2.Match(option=option, target=target) for option, target in zip("abcd", "wxyw", strict=True)]
    add("matching", quiz_pb2.QUESTION_KIND_MATCHING, correct_matches=matches, partial=True)
    return definition


WEIGHTS = {"a": 60, "b": -30, "c": 40, "d": 0}


def signing_key() -> str:
    """A new Ed25519 private key (PKCS#8 PEM)."""
    encoding = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return Ed25519PrivateKey.generate().private_bytes(*encoding).decode()
