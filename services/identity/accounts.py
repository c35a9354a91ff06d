"""What an account is: pure rules, no store and no network.

Must never import a driver or read a clock; the caller passes the time.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

# ISO 3166-1 alpha-2, the officially assigned codes.
COUNTRIES: Final = frozenset(
    (
        "AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT BV BW BY BZ "
        "CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI FJ FK FM FO "
        "FR GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE "
        "JM JO JP KE KG KH KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO "
        "MP MQ MR MS MT MU MV MW MX MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW "
        "PY QA RE RO RS RU RW SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF TG TH TJ TK TL TM "
        "TN TO TR TT TV TW TZ UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS YE YT ZA ZM ZW"
    ).split()
)


class InvalidAccountError(ValueError):
    """A name or country that no account may have; ``field`` says which of the two."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


@dataclass(frozen=True, slots=True)
class Block:
    """Why, since when and until when a player may not play; no ``expires_at`` is for ever."""

    reason: str
    blocked_at: datetime
    expires_at: datetime | None

    def is_over(self, now: datetime) -> bool:
        """True once its time has come."""
        return self.expires_at is not None and self.expires_at <= now


@dataclass(frozen=True, slots=True)
class Account:
    """One account; ``password_hash`` is an encoded Argon2id digest, ``version`` counts what boards must know of."""

    user_id: str
    username: str
    password_hash: str
    roles: frozenset[str]
    country: str
    created_at: datetime
    version: int = 0
    block: Block | None = None

    def with_role(self, role: str) -> Account:
        """The same account with ``role`` added."""
        return replace(self, roles=self.roles | {role})

    def block_at(self, now: datetime) -> Block | None:
        """What keeps the player from playing; a block whose time is over does not."""
        return None if self.block is None or self.block.is_over(now) else self.block


def check_country(country: str) -> str:
    """``country`` if it is empty or an assigned ISO 3166-1 alpha-2 code in capitals, else InvalidAccountError."""
    if country and country not in COUNTRIES:
        raise InvalidAccountError("country", "A country is an ISO 3166-1 alpha-2 code, such as VN.")
    return country
