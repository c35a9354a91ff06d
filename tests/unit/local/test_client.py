"""What the command needs to know of a running system, and what it says when it does not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from services.local.client import Endpoints, NotRunningError


@pytest.mark.parametrize(
    ("content", "says"),
    [("{", "can't be read"), ("[]", "lacks graphql"), (json.dumps({"graphql": "http://h/graphql"}), "lacks stream")],
)
def test_a_file_that_can_not_be_used_is_one_clear_line(tmp_path: Path, content: str, says: str) -> None:
    (tmp_path / "endpoints.json").write_text(content)
    with pytest.raises(NotRunningError, match=says):
        Endpoints.load(tmp_path)


def test_another_file_may_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    named = tmp_path / "elsewhere.json"
    monkeypatch.setenv("TOPTEN_LOCAL_ENDPOINTS", str(named))
    with pytest.raises(NotRunningError, match=r"elsewhere\.json"):
        Endpoints.load(tmp_path)
