"""The checks of the operator's screen: a finding links to where operators read runbooks."""

from __future__ import annotations

import pytest

from edge.config import parse_address
from edge.graphql.resolvers.operations import SystemCheck
from edge.system_status import Section
from services.diagnosis.checks import Check, check_players, check_reach, totals_of
from services.diagnosis.process_status import ProcessStatus
from services.diagnosis.rates import Rates

PAGE = "https://docs.example/operations"


def reaches(name: str, **stores: float) -> ProcessStatus:
    samples = {("topten_store_up", frozenset({("store", store)})): up for store, up in stores.items()}
    return ProcessStatus(name, samples, ready=True)


@pytest.mark.parametrize(
    ("runbooks", "expected"),
    [("", "docs/operator/operations.md#toptenoutboxlag"), (PAGE, f"{PAGE}#toptenoutboxlag")],
    ids=["unset", "set"],
)
def test_a_finding_links_its_section_where_operators_read_it(runbooks: str, expected: str) -> None:
    finding = Check("outbox", "lag 2.0 min", "docs/operator/operations.md#toptenoutboxlag")
    shown = SystemCheck.of(Section("PIPELINE", [finding]), finding, runbooks)
    assert (shown.is_wrong, shown.runbook) == (True, expected)
    assert SystemCheck.of(Section("PIPELINE", []), Check("outbox", "lag 0 s"), runbooks).runbook is None


@pytest.mark.parametrize("text", ["docs.example", "javascript:alert(1)", f"{PAGE}#here", "https://a b"])
def test_an_address_of_runbooks_is_a_page(text: str) -> None:
    with pytest.raises(ValueError, match="address of http"):
        parse_address(text)
    assert parse_address(PAGE) == PAGE
    assert parse_address("") == ""


def served(submissions: float, responses: float) -> ProcessStatus:
    route = frozenset({("http_route", "/graphql"), ("http_response_status_code", "200")})
    return ProcessStatus(
        "edge",
        {
            ("topten_submissions_total", frozenset({("outcome", "accepted")})): submissions,
            ("http_server_request_duration_seconds_count", route): responses,
        },
    )


def test_rates_are_those_since_the_last_read_and_none_after_a_pause() -> None:
    rates = Rates()
    assert rates.read(totals_of([served(100, 1_000)]), 50) == {}
    assert rates.read(totals_of([served(150, 1_040)]), 60) == {"submissions": 5, "GraphQL": 4}
    assert rates.read(totals_of([served(170, 1_050)]), 60.5) == {"submissions": 5, "GraphQL": 4}, "a second screen"
    told = check_players([served(350, 1_050)], rates.read(totals_of([served(350, 1_050)]), 70))
    assert [each.text for each in told[:2]] == [
        "0 of 350 failed, 20.0 a second now",
        "0 errors in 1,050 responses, 1.0 a second now",
    ]
    assert rates.read(totals_of([served(900, 2_000)]), 131) == {}
    assert check_players([served(900, 2_000)])[0].text == "0 of 900 failed"


def test_a_store_that_one_process_does_not_reach_is_a_finding() -> None:
    checks = check_reach([reaches("quiz", mongo=1, redis=0), reaches("score", mongo=1, redis=1)])
    assert [(each.subject, each.text) for each in checks] == [
        ("mongo", "reached by quiz, score"),
        ("redis", "not reached by quiz"),
    ]
    assert [bool(each.runbook) for each in checks] == [False, True]
