"""What is sent again after a failure: methods that exist, and for which twice is once."""

from __future__ import annotations

from google.protobuf import descriptor_pool

from edge.upstreams import IDEMPOTENT

# Each of these makes something new whenever it is called, so a lost answer must not be asked for again.
NEVER = {"Register", "Login", "RefreshSession", "ImportQuiz", "ReplayDeadLetters"}


def test_every_method_that_is_tried_again_exists_and_may_be() -> None:
    for path in IDEMPOTENT:
        service, _, method = path.strip("/").partition("/")
        found = descriptor_pool.Default().FindServiceByName(service).methods_by_name
        assert method in found, path
        assert method not in NEVER, path
