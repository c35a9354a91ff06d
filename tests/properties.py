"""How many examples a property is tried on."""

from __future__ import annotations

from typing import Final

from hypothesis import HealthCheck, settings

# Of a property that states no number, under the profile of `make test`.
USUAL: Final = 50


def register_profiles() -> None:
    """Register `repeatable`, the profile of `make test`, and `quick`, which tries a tenth.

    Both try the same examples in every run, so that what turns red is the change under test. `make fuzz` looks for new ones,
    and tries twice as many. How long an example takes tells of the machine, not of the code.
    """
    for name, count in {"repeatable": USUAL, "quick": USUAL // 10}.items():
        settings.register_profile(
            name,
            max_examples=count,
            derandomize=True,
            print_blob=True,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow],
        )


def examples(count: int) -> settings:
    """Try `count` examples in `make test`, and as many fewer or more in other profiles as of any property."""
    return settings(max_examples=max(1, count * settings().max_examples // USUAL), deadline=None)
