"""Where the running system is: by the data folder, or by the file that TOPTEN_LOCAL_ENDPOINTS names.

Standard library only, so that a command without a system says so at once, before it imports a driver.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Final

from services.embedded import lock

ENDPOINTS_VARIABLE: Final = "TOPTEN_LOCAL_ENDPOINTS"
DEFAULT_FOLDER: Final = Path(".topten")
_REQUIRED: Final = ("graphql", "stream", "grpc", "identity_http", "operator")


class NotRunningError(RuntimeError):
    """There is no system to talk to; the message says what to do."""


def not_running(data: Path) -> str:
    """The message of every command that finds no system in the folder `data`."""
    start = "make up" if data == DEFAULT_FOLDER else f"make up DATA={data}"
    return f"Topten is not running. Start it with `{start}`. The data folder is {data}; --data names another."


def read_endpoints(data: Path) -> dict[str, Any]:
    """The content of `endpoints.json`: the addresses of the system. Raises NotRunningError, at once."""
    named = os.environ.get(ENDPOINTS_VARIABLE)
    path = Path(named or data / "endpoints.json")
    try:
        if not named and (data / lock.NAME).exists() and lock.holder(data) is None:
            raise NotRunningError(not_running(data))
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if named:
            message = f"{path} does not exist; {ENDPOINTS_VARIABLE} names it."
        elif lock.holder(data) is None:
            message = not_running(data)
        else:
            message = "Topten is still starting. `topten status` shows how far it is."
        raise NotRunningError(message) from None
    except ValueError:
        raise NotRunningError(f"{path} is not valid JSON. Restart the system with `make up`.") from None
    except OSError as error:
        raise NotRunningError(f"{error.filename or path} cannot be read: {error.strerror}.") from None
    if missing := [key for key in _REQUIRED if not isinstance(document, dict) or not document.get(key)]:
        raise NotRunningError(f"{path} lacks {', '.join(missing)}. Restart the system with `make up`.")
    return dict(document)
