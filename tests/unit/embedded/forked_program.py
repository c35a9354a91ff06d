"""What `test_fork_server` forks: it prints its argument and a variable of its environment, then ends as it is told."""

from __future__ import annotations

import os
import signal
import sys
import time

if __name__ == "__main__":
    print(sys.argv[1], os.environ["TOPTEN_SHOWN"], os.getppid(), __spec__.name, flush=True)
    match sys.argv[1]:
        case "sleep":
            time.sleep(600)
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "raise":
            raise ValueError("on purpose")
        case code:
            sys.exit(int(code))
