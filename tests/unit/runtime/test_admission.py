"""Admission: what is in progress, what waits, and what is refused."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from services.runtime.admission import Admission, OverloadError


def test_a_request_that_waits_gives_its_place_to_another() -> None:
    admission = Admission("test", limit=1, max_waiting=2)
    with ExitStack() as running:
        for _ in range(2):
            place = running.enter_context(admission.admitted())
            assert admission.is_full
            place.wait()
            place.wait()
            assert not admission.is_full
        # Two wait: the next one keeps its place, and the one after it is refused.
        running.enter_context(admission.admitted()).wait()
        with pytest.raises(OverloadError):
            running.enter_context(admission.admitted())
    # Whatever has waited, all places are free in the end.
    with ExitStack() as running:
        for _ in range(2):
            running.enter_context(admission.admitted()).wait()
        running.enter_context(admission.admitted())
        with pytest.raises(OverloadError):
            admission.require()
