"""Accounts: valid countries."""

import pytest

from services.countries import COUNTRIES
from services.identity.accounts import InvalidAccountError, check_country


def test_country_is_an_assigned_code_or_empty() -> None:
    assert len(COUNTRIES) == 249
    assert check_country("VN") == "VN"
    assert check_country("") == ""
    for code in ("vn", "XX", "EU", "VNM"):
        with pytest.raises(InvalidAccountError):
            check_country(code)
