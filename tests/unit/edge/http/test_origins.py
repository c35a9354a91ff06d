"""Origins: which pages may call, and what is logged of the others."""

from __future__ import annotations

import pytest
from aiohttp.test_utils import make_mocked_request
from structlog.testing import capture_logs

from edge.config import EdgeConfig
from edge.http.origins import MAX_LOGGED, MAX_ORIGIN, Origins
from services.runtime.config.loading import load
from services.runtime.errors import Reason, ServiceError


@pytest.mark.parametrize(
    "origin",
    ["http://localhost:5173", "https://localhost", "http://127.0.0.1:80", "http://[::1]:3000", "http://app.localhost"],
)
def test_development_allows_every_origin_of_this_machine(origin: str) -> None:
    assert Origins((), local=True).are_allowed(origin)
    assert not Origins((), local=False).are_allowed(origin)


@pytest.mark.parametrize(
    "origin",
    [
        "null", "", "localhost", "http://", "http://localhost.evil.example", "http://evil.example", "file://localhost",
        "http://localhost@evil.example", "http://evil.example#localhost", "http://notlocalhost", "http://localhost/x",
        "http://[::1", "http://127.0.0.1.evil.example", "http://user@localhost",
    ],
)  # fmt: skip
def test_nothing_that_only_looks_local_is_allowed(origin: str) -> None:
    assert not Origins((), local=True).are_allowed(origin)


async def test_a_refused_origin_is_named_to_the_client_and_once_in_the_log() -> None:
    origins = Origins(("https://friend.example",), local=False)
    with capture_logs() as lines:
        for number in (1, 1, *range(2, 2 * MAX_LOGGED)):
            request = make_mocked_request(
                "GET", "/graphql", headers={"Origin": f"https://foe-{number}.example{'x' * 999}"}
            )
            origins.headers_for(request)
            with pytest.raises(ServiceError, match=f"https://foe-{number}.example") as refused:
                await origins.preflight(request)
            assert refused.value.reason is Reason.PERMISSION_DENIED
    names = [line["origin"] for line in lines]
    assert len(names) == len(set(names)) == MAX_LOGGED, "anybody can invent origins"
    assert all(len(name) <= MAX_ORIGIN for name in names)


async def test_a_page_of_this_origin_is_no_refusal() -> None:
    origins = Origins((), local=False)
    request = make_mocked_request(
        "POST", "/graphql", headers={"Origin": "https://play.example", "Host": "play.example"}
    )
    with capture_logs() as lines:
        origins.headers_for(request)
    assert lines == []
    assert (await origins.preflight(request)).status == 204


def test_the_explorer_is_off_in_production_unless_it_is_asked_for() -> None:
    production = {"TOPTEN_ENVIRONMENT": "production"}
    assert load(EdgeConfig, {}).introspection
    assert not load(EdgeConfig, {"TOPTEN_EDGE_EXPLORER": "false"}).introspection
    for environ, expected in ((production, False), (production | {"TOPTEN_EDGE_EXPLORER": "true"}, True)):
        assert load(EdgeConfig, environ).introspection is expected
