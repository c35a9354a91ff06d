"""What the contracts declare about methods: who may call each is in tests/system/access/permissions.py, the rest here."""

from __future__ import annotations

import importlib

from services.runtime.grpc.methods import Method, methods

# A response that was lost must not be requested again: each call makes something new or uses up its input.
NOT_REPEATABLE = {
    "identity": {
        *("Register", "Login", "CreateGuest", "RefreshSession", "Logout", "ChangePassword"),
        *("AddServiceClient", "RotateServiceClient", "RemoveServiceClient", "IssueBoardToken"),
    },
    "action": {"PutActionType"},
    "quiz": {"ImportQuiz"},
    "authoring": set(),
    "score": {"ReplayDeadLetters", "RebuildBoards"},
    "leaderboard": set(),
    "status": set(),
}


def declared(noun: str) -> dict[str, Method]:
    importlib.import_module(f"topten.{noun}.v1.{noun}_service_pb2")
    return methods(f"topten.{noun}.v1.{noun.capitalize()}Service")


def test_every_method_is_declared_repeatable_but_for_those_listed_here() -> None:
    found = {
        noun: {name for name, method in declared(noun).items() if not method.is_idempotent} for noun in NOT_REPEATABLE
    }
    assert found == NOT_REPEATABLE


def test_submitting_an_action_may_be_repeated() -> None:
    """A player's action counts once, however often it is sent: the promise on which every client's retry rests."""
    assert declared("quiz")["SubmitAction"].is_idempotent
    assert declared("action")["SubmitActions"].is_idempotent
