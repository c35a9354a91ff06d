"""Accounts: which countries they may be of."""

import pytest

from services.identity.accounts import COUNTRIES, InvalidAccountError, check_country


def test_countries_are_assigned_codes() -> None:
    assert len(COUNTRIES) == 249
    assert check_country("VN") == "VN"
    assert check_country("") == ""
    for code in ("vn", "XX", "EU", "VNM"):
        with pytest.raises(InvalidAccountError):
            check_country(code)
