"""The report of a run: a table for the terminal, an HTML file with plots, and JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from html import escape
from pathlib import Path

from rich.table import Table

from tests.load.charts import chart, clock
from tests.load.profiles import KINDS, Profile
from tests.load.samples import PROCESSES, Sample
from tests.load.streams import Screens
from tests.load.traffic import Point, Traffic, percentile

_STYLE = """
:root { color-scheme: light dark; font: 15px/1.5 system-ui, sans-serif; }
body { max-width: 80rem; margin: 2rem auto; padding: 0 1rem; }
h1 small, figcaption small { font-weight: normal; opacity: .7; }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 30rem), 1fr)); gap: 1.5rem; }
figure { margin: 0; } figcaption { font-weight: 600; } svg { width: 100%; height: auto; }
.tables td:first-child { white-space: nowrap; }
.rules line { stroke: currentColor; opacity: .15; } .rules text { fill: currentColor; font-size: 11px; opacity: .75; }
figure ul { list-style: none; margin: 0; padding: 0; display: flex; flex-wrap: wrap; gap: .2rem 1rem; font-size: 13px; }
figure li span { display: inline-block; width: .8rem; height: .25rem; margin-right: .35rem; vertical-align: middle; }
.tables { overflow-x: auto; } table { border-collapse: collapse; margin: 1rem 0 2rem; }
caption { text-align: left; font-weight: 600; padding-bottom: .3rem; }
th, td { padding: .25rem .8rem; text-align: right; }
tr { border-bottom: 1px solid color-mix(in srgb, currentColor 20%, transparent); }
th:first-child, td:first-child { text-align: left; }
.passed { color: #1d8a4e; } .crossed { color: #d6452b; }
"""
Rows = Sequence[Sequence[str]]


@dataclass(frozen=True)
class Outcome:
    """All measurements of a run. `cpu` in seconds by process, `stored` in bytes of MongoDB, both of the whole run;
    `action_to_screen` is p50, p95, p99 in seconds, as the edge counts it.
    """

    name: str
    profile: Profile
    scale: float
    rate: float
    environment: Mapping[str, str]
    traffic: Traffic
    screens: Screens
    samples: Sequence[Sample]
    cpu: Mapping[str, float]
    stored: float
    action_to_screen: tuple[float | None, ...]
    verified: str

    @property
    def is_good(self) -> bool:
        """Whether nothing was lost and the thresholds that decide held."""
        return (
            not self.verified and not (self.profile.is_judged and self.traffic.crossed) and not self.screens.backwards
        )


def tables(run: Outcome) -> list[tuple[str, Rows]]:
    """Return the tables with their titles; the first row is the header."""
    return [
        ("Requests", _requests(run)),
        ("What players see", _seen(run)),
        ("Processes", _processes(run)),
        ("Stores", _stores(run)),
        ("The run", [("", ""), *run.environment.items()]),
    ]


def shown(title: str, rows: Rows) -> Table:
    """Format a table for the terminal."""
    table = Table(title=title, title_justify="left")
    for number, heading in enumerate(rows[0]):
        table.add_column(heading, justify="right" if number else "left")
    for row in rows[1:]:
        table.add_row(*row)
    return table


def write(run: Outcome, folder: Path) -> Path:
    """Write the HTML and the JSON beside it; returns the path of the HTML."""
    folder.mkdir(parents=True, exist_ok=True)
    page = folder / f"{run.name}.html"
    page.write_text(_page(run), encoding="utf-8")
    document = {
        "profile": run.name,
        "scale": run.scale,
        "rate": run.rate,
        "good": run.is_good,
        "crossed": run.traffic.crossed,
        "cpu_ms": {name: seconds * 1000 / _accepted(run) for name, seconds in run.cpu.items()},
        "stored_bytes": run.stored / _accepted(run),
        "tables": {title: [list(row) for row in rows] for title, rows in tables(run)},
        "points": [asdict(point) for point in run.traffic.points],
        "samples": [asdict(sample) for sample in run.samples],
    }
    page.with_suffix(".json").write_text(json.dumps(document, indent=1), encoding="utf-8")
    return page


def _requests(run: Outcome) -> Rows:
    rows: list[Sequence[str]] = [("kind", "requests", "p50 ms", "p95 ms", "p99 ms", "worst ms", "asked p95, p99")]
    metrics = run.traffic.summary["metrics"]
    for name, kind in KINDS.items():
        metric = "grpc_req_duration" if name.endswith("grpc") else "http_req_duration"
        values = metrics.get(f"{metric}{{scenario:{name}}}", {}).get("values", {})
        count = sum(point.counts.get(name, 0) for point in run.traffic.points)
        figures = (f"{values.get(part, 0):.1f}" for part in ("med", "p(95)", "p(99)", "max"))
        rows.append((name.replace("_", ", "), f"{count:,}", *figures, f"{kind.p95}, {kind.p99}"))
    return rows


def _seen(run: Outcome) -> Rows:
    traffic, screens = run.traffic, run.screens
    errors = traffic.summary["metrics"].get("errors", {}).get("values", {})
    p50, p95, p99 = (percentile(screens.late, percent) for percent in (50, 95, 99))
    to_screen = ", ".join(
        "over 10 s" if bound in (None, float("inf")) else f"≤ {bound:g} s" for bound in run.action_to_screen
    )
    return [
        ("", ""),
        ("actions accepted", f"{traffic.counted('accepted'):,}"),
        ("most requests a second within the thresholds", f"{_limit(run):,.0f}"),
        ("held against the ledger", run.verified or "each counted once"),
        ("requests that failed or were refused", f"{errors.get('passes', 0):,} ({errors.get('rate', 0):.2%})"),
        *((f"… {reason}", f"{count:,}") for reason, count in traffic.refused.most_common(8)),
        ("not begun, because all players waited", f"{traffic.counted('dropped_iterations'):,}"),
        ("accepted → screen, p50, p95, p99", to_screen),
        ("screens open, opened, refused", f"{screens.count:,}, {screens.opened:,}, {screens.failed:,}"),
        ("frames read", f"{screens.frames:,}"),
        ("frames that went backwards", f"{screens.backwards:,}"),
        ("frame made → read, p50, p95, p99 ms", f"{p50:.0f}, {p95:.0f}, {p99:.0f}"),
        ("thresholds that did not hold", "; ".join(traffic.crossed) or "none"),
    ]


def _limit(run: Outcome) -> float:
    """Return the highest rate of any interval that met both percentiles of both kinds; 0 if none did."""
    asked = {kind: (KINDS[f"{kind}_graphql"].p95, KINDS[f"{kind}_graphql"].p99) for kind in ("submit", "read")}

    def holds(point: Point) -> bool:
        told = ((point.submit, asked["submit"]), (point.read, asked["read"]))
        return not point.failed and all(seen[1] <= p95 and seen[2] <= p99 for seen, (p95, p99) in told)

    return max((point.rate for point in run.traffic.points if holds(point)), default=0.0)


def _accepted(run: Outcome) -> int:
    return max(1, run.traffic.counted("accepted"))


def _processes(run: Outcome) -> Rows:
    rows: list[Sequence[str]] = [
        ("process", "cores, mean", "cores, most", "MiB, mean", "MiB, most", "CPU ms an action")
    ]
    for name in PROCESSES:
        cores, memory = [s.cpu[name] for s in run.samples], [s.memory[name] / 2**20 for s in run.samples]
        rows.append(
            (
                name,
                f"{sum(cores) / len(cores):.2f}",
                f"{max(cores):.2f}",
                f"{sum(memory) / len(memory):.0f}",
                f"{max(memory):.0f}",
                f"{run.cpu[name] * 1000 / _accepted(run):.2f}",
            )
        )
    return rows


def _stores(run: Outcome) -> Rows:
    rows: list[Sequence[str]] = [("store", "mean", "most")]
    figures: dict[str, list[float]] = {}
    for look in run.samples:
        for store, told in (("MongoDB", look.mongo), ("Redis", look.redis)):
            for name, value in told.items():
                scaled = value / 2**20 if name in ("cache", "memory") else value
                figures.setdefault(f"{store} {name}{' MiB' if name in ('cache', 'memory') else ''}", []).append(scaled)
        figures.setdefault("NATS events that wait", []).append(look.pending)
        figures.setdefault("outbox lag s", []).append(look.outbox_lag)
    figures["MongoDB bytes an action, indexes included"] = [run.stored / _accepted(run)]
    for name, values in figures.items():
        rows.append((name, f"{sum(values) / len(values):,.1f}", f"{max(values):,.1f}"))
    return rows


def _page(run: Outcome) -> str:
    points, samples = run.traffic.points, run.samples
    percentiles = ("p50", "p95", "p99")
    plots = [
        chart(
            "Requests",
            "a second",
            {
                "answered": [(p.at, p.rate) for p in points],
                "failed or refused": [(p.at, p.failed) for p in points],
                "not begun": [(p.at, p.dropped) for p in points],
            },
        ),
        chart("Submissions", "ms", {n: [(p.at, p.submit[i]) for p in points] for i, n in enumerate(percentiles)}),
        chart("Reads", "ms", {n: [(p.at, p.read[i]) for p in points] for i, n in enumerate(percentiles)}),
        chart("Processor", "cores", {name: [(s.at, s.cpu[name]) for s in samples] for name in PROCESSES}),
        chart("Memory", "MiB", {name: [(s.at, s.memory[name] / 2**20) for s in samples] for name in PROCESSES}),
        chart("Waiting in the stream", "events", {"pending": [(s.at, s.pending) for s in samples]}),
        chart("Frames", "a second", {"read by all screens": [(s.at, s.frames) for s in samples]}),
        chart("Frame made → read", "ms", {"p99": [(s.at, s.frame_p99) for s in samples]}),
        chart(
            "MongoDB",
            "operations a second",
            {n: [(s.at, s.mongo[n]) for s in samples] for n in ("inserts/s", "updates/s", "reads/s")},
        ),
        chart(
            "MongoDB", "ms an operation", {n: [(s.at, s.mongo[n]) for s in samples] for n in ("reads ms", "writes ms")}
        ),
        chart("Redis", "operations a second", {"all": [(s.at, s.redis["ops/s"]) for s in samples]}),
        chart("Screens", "open", {"streams": [(s.at, s.screens) for s in samples]}),
    ]
    word, verdict = ("passed", "Passed") if run.is_good else ("crossed", "Not passed")
    if not run.profile.is_judged:
        verdict += " (beyond capacity: the thresholds only tell)"
    about = f"{run.profile.title}, {clock(run.profile.minutes * 60 * run.scale)}, {run.rate:g} actions/s"
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{escape(run.name)}: load on Topten</title><style>{_STYLE}</style></head><body>"
        f"<h1>{escape(run.name.capitalize())} <small>{escape(about)}</small></h1>"
        f'<p class="{word}">{verdict}</p><section class="plots">{"".join(plots)}</section>'
        f'<section class="tables">{"".join(_table(title, rows) for title, rows in tables(run))}</section></body></html>'
    )


def _table(title: str, rows: Rows) -> str:
    head = "".join(f"<th>{escape(cell)}</th>" for cell in rows[0])
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows[1:])
    return f"<table><caption>{escape(title)}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
