"""An operator's week on the node: an install is tested, upgraded, restarted, broken and rolled back while players play."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from tests.cluster.charts import known_values
from tests.cluster.control_plane import ControlPlane
from tests.cluster.life import PROCESSES, Charts
from tests.cluster.node.cluster import Install
from tests.cluster.node.machine import ADDRESS, Machine
from tests.cluster.node.traffic import Phase, Traffic
from tests.cluster.tools import Tools
from tests.deadline import poll
from tests.helm.rendering import values

GAP_SECONDS: Final = 2.0
# The production checklist asks for two pods of each component; a kill of the only one is an outage.
_TWO: Final[dict[str, Any]] = {"defaults": {"replicas": 2}}
_SETTINGS: Final = {
    "TOPTEN_ENVIRONMENT": "production",
    "TOPTEN_QUIZ_PARTITIONS": "4",
    # The proxy of the node shows the edge this address for every player.
    "TOPTEN_EDGE_TRUSTED_PROXIES": ADDRESS,
}


@dataclass
class Week:
    """What happened: steps with their seconds, phases under load, what is left, or the failure."""

    values: str
    pods: int = 0
    steps: list[tuple[str, float]] = field(default_factory=list)
    phases: list[Phase] = field(default_factory=list)
    left: set[str] = field(default_factory=set)
    failure: str = ""

    @classmethod
    def read(cls, document: dict[str, Any]) -> Week:
        """What `dataclasses.asdict` has made of one."""
        phases = [Phase(**each) for each in document["phases"]]
        steps = [(name, seconds) for name, seconds in document["steps"]]
        return cls(**document | {"phases": phases, "steps": steps, "left": set(document["left"])})

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Time what happens within the block."""
        started = time.monotonic()
        print(f"{self.values}: {name}", flush=True)
        yield
        self.steps.append((name, time.monotonic() - started))


class Operator:
    """Takes releases through their weeks."""

    def __init__(self, plane: ControlPlane, machine: Machine, tools: Tools, charts: Charts) -> None:
        self._plane = plane
        self._machine = machine
        self._tools = tools
        self._charts = charts

    def trial(self) -> Week:
        """The defaults of the chart with two pods of each component, under load. A failure is in the outcome."""
        return self._live(Week("trial"), _TWO | {"settings": _SETTINGS}, busy=True)

    def minimal(self) -> Week:
        """The smallest set of values, from the previous chart on, without players: it starts within its limits."""
        return self._live(Week("minimal"), values("minimal"), busy=False)

    def _live(self, week: Week, changed: dict[str, Any], *, busy: bool) -> Week:
        install = Install(self._plane, self._tools.programs["kubectl"], week.values)
        given = install.values(changed)
        try:
            if busy:
                with week.step("install"):
                    install.helm.install(self._charts.this, given)
                    install.wait()
            else:
                self._replace_previous(install, week, given)
            week.pods = len(install.pods())
            with week.step("helm test"):
                install.helm.test()
            if busy:
                self._play(install, week, given)
            with week.step("topten verify"):
                install.command("topten", "verify")
            with week.step("uninstall"):
                week.left = install.uninstall()
            assert not any(one.failed for one in week.phases), "submissions failed"
            assert not any(one.backwards for one in week.phases), "a stream went back"
        except Exception as error:  # noqa: BLE001  # one release must not end the others
            week.failure = f"{type(error).__name__}: {error}\n{install.state()}"
        return week

    def _play(self, install: Install, week: Week, given: dict[str, Any]) -> None:
        traffic = Traffic(install.address())
        week.phases = traffic.phases
        with traffic.running():
            self._disturb(install, traffic, given)
        assert not traffic.lost, f"points told and score: {traffic.lost}"

    def _replace_previous(self, install: Install, week: Week, given: dict[str, Any]) -> None:
        """Install the previous chart, import quizzes as its notes say, and upgrade: stores and quizzes must stay."""
        with week.step("install the previous chart"):
            install.helm.install(self._charts.previous, known_values(self._charts.previous, given))
            install.wait("operator", "quiz")
            install.command("topten", "quiz", "import", "--samples")
            install.wait()
        with week.step("upgrade to this chart"):
            install.helm.upgrade(self._charts.this, given)
            install.wait()

    def _disturb(self, install: Install, traffic: Traffic, given: dict[str, Any]) -> None:
        this = self._charts.this
        with traffic.phase("nothing"):
            time.sleep(10)
        before = install.pods().keys()
        with traffic.phase("upgrade: chart version"):
            install.helm.upgrade(self._charts.next, given)
            install.wait()
        with traffic.phase("upgrade: label"):
            install.helm.upgrade(this, given | {"labels": {"cost-center": "changed"}})
            install.wait()
        assert install.pods().keys() == before, "a version or a label replaced pods"
        changed = given["settings"] | {"TOPTEN_LOG_LEVEL": "debug"}
        with traffic.phase("upgrade: setting"):
            install.helm.upgrade(this, given | {"settings": changed})
            install.wait()
        for name in sorted(PROCESSES):
            with traffic.phase(f"restart {name}"):
                install.restart(name)
        for name in sorted(PROCESSES):
            with traffic.phase(f"kill -9 each {name}"):
                self._kill(install, name)
        with traffic.phase("roll back"):
            install.helm.roll_back(1)
            install.wait()

    def _kill(self, install: Install, component: str) -> None:
        """Kill the containers of a component, one after another has been replaced: every watcher loses its stream once."""
        victims = install.containers(component)
        for victim in victims:
            self._machine.signal(victim, "SIGKILL")
            poll(partial(self._is_replaced, install, component, victim, len(victims)), f"another {component} runs")

    def _is_replaced(self, install: Install, component: str, victim: str, count: int) -> bool:
        found = install.containers(component)
        return victim not in found and len(found) == count
