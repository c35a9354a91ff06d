"""The server side: one package a service, and `runtime`, what every process needs.

Services never import one another; each may import `services.runtime` and the generated stubs.
"""

import os
import signal

if os.getpid() == 1:
    # The kernel drops signals that the first process of a container does not handle. Imports take seconds on a busy node, and
    # a pod that is removed meanwhile would wait for its whole grace period. `lifecycle.execute` takes over from this.
    signal.signal(signal.SIGTERM, lambda number, _frame: os._exit(128 + number))
