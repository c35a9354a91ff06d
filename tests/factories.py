"""Things tests need, made with as few words as possible."""

from __future__ import annotations

from topten.quiz.v1 import quiz_pb2


def quiz_definition(
    quiz_id: str = "quiz",
    *,
    questions: int = 2,
    points: int = 10,
    max_attempts: int = 0,
    counting: quiz_pb2.Counting.ValueType = quiz_pb2.COUNTING_BEST,
) -> quiz_pb2.QuizDefinition:
    """A sound quiz with questions q1, q2, …, options a and b, of which a is right."""
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
