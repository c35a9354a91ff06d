"""Extra time in the schema, for rooms and for attempts."""

from __future__ import annotations

from enum import Enum

import strawberry
from topten.attempt.v1 import attempt_pb2


@strawberry.enum(
    description="How much more time than the others a player has: for each question of a room, or for attempts at timed "
    "quizzes. UNLIMITED: until they answer or the host locks the question, or until the quiz closes."
)
class ExtraTime(Enum):
    # The numbers are those of topten.room.v1 as well.
    NONE = attempt_pb2.EXTRA_TIME_NONE
    ONE_AND_A_HALF = attempt_pb2.EXTRA_TIME_ONE_AND_A_HALF
    DOUBLE = attempt_pb2.EXTRA_TIME_DOUBLE
    UNLIMITED = attempt_pb2.EXTRA_TIME_UNLIMITED
