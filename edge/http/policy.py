"""The Content-Security-Policy of responses: scripts, styles and requests of this origin alone, framed by nobody. Pure."""

from __future__ import annotations

from collections.abc import Sequence


def policy_of(ancestors: Sequence[str] = (), image_hosts: Sequence[str] = ()) -> str:
    """Return the policy of a response.

    Pages of `ancestors`, which are origins, may show it in a frame; none by default. It may show pictures of `image_hosts`
    beside those of this origin, from any port, by https alone.
    """
    framed_by = " ".join(ancestors) or "'none'"
    images = "".join(f" https://{host}:*" for host in image_hosts)
    return (
        f"default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors {framed_by}; "
        f"img-src 'self'{images}; object-src 'none'"
    )
