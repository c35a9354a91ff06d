"""Every command on every page exists as it is written there, with its options, files, values and objects.

tests/system/commands/test_pages.py runs the blocks that an embedded system can run. Those that need a container engine, a
cluster or much time are held here to what they name: the chart's values and rendered objects, Compose's services, the
targets of the Makefile, the command line.
"""

from __future__ import annotations

import importlib.util
import json
import re
import tomllib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

import click
import pytest
import yaml
from helm_python import HelmError

from tests.contract.page_commands import COMMENTED, PROGRAMS, ROOT, Command, commands, commented, noted, pages
from tests.helm.rendering import (
    CHART,
    NAMESPACE,
    RELEASE,
    VALUES,
    Manifest,
    chart,
    containers,
    notes,
    pods,
    render,
    rendered,
    values,
)

VERSION: Final = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
# Programs of others in blocks that no test runs.
OTHERS: Final = {".", ".venv/bin/python", "age-keygen", "curl", "go", "mvn", "npm", "pip", "python3"}
# Sub-commands of Helm with the options that pages use; those that end with = have a value.
HELM: Final = {
    "install": {"--set=", "--values=", "--namespace="},
    "upgrade": {"--values=", "--reuse-values", "--reset-then-reuse-values"},
    "rollback": set[str](),
    "template": set[str](),
    "test": {"--namespace="},
    "uninstall": set[str](),
}
KUBECTL: Final = {
    "apply": {"-f="},
    "create job": {"--from=", "--dry-run=", "-o="},
    "exec": {"--stdin"},
    "port-forward": set[str](),
    "rollout restart": set[str](),
    "rollout status": {"--timeout="},
}
DOCKER: Final = {
    "build": {"--file=", "--tag="},
    "push": set[str](),
    "run": {"--rm", "--user=", "--volume="},
    "compose": {"--file=", "--env-file=", "--detach", "--rm"},
}
KINDS: Final = {"deploy": "Deployment", "deployment": "Deployment", "service": "Service", "cronjob": "CronJob"}


class CommandError(AssertionError):
    """A command names something that is not there; the message says what."""


def check(condition: object, message: str) -> None:
    if not condition:
        raise CommandError(message)


def parsed(words: Iterable[str], known: dict[str, set[str]]) -> tuple[str, list[str], dict[str, str]]:
    """Return the sub-command, its arguments and its options. Raises CommandError."""
    words = [word for word in words if word != "…"]
    verb = next((verb for verb in known if words[: len(verb.split())] == verb.split()), None)
    if verb is None:
        raise CommandError(f"no sub-command that pages use: {' '.join(words[:2])}")
    arguments, options, rest = [], {}, words[len(verb.split()) :]
    while rest:
        word = rest.pop(0)
        name, has_value, value = word.partition("=")
        if not word.startswith("-"):
            arguments.append(word)
        elif f"{name}=" in known[verb]:
            check(has_value or rest, f"{name} needs a value")
            options[name] = value if has_value else rest.pop(0)
        else:
            check(word in known[verb], f"no option of {verb}: {word}")
            options[name] = ""
    return verb, arguments, options


class Checker:
    """Checks commands in the order of their page: what one makes, the next ones of its block name."""

    def __init__(self, objects: list[Manifest] | None = None) -> None:
        # Everything that some values bring, or what a command of the block installs.
        self._all = objects or [one for name in VALUES for one in rendered(name)]
        self._objects = self._all
        self._images: set[str] = set()
        self._block = 0

    def check(self, command: Command) -> None:
        """Raise CommandError if the command cannot work as it is written."""
        if command.block != self._block:
            self._block, self._images, self._objects = command.block, set(), self._all
        self._versions(command.words)
        program = command.words[0].removeprefix(".venv/bin/")
        checks: dict[str, Callable[[Command], None]] = {
            "docker": self._docker,
            "helm": self._helm,
            "kubectl": self._kubectl,
            "make": self._make,
            "topten": self._topten,
        }
        if program in checks:
            checks[program](command._replace(words=command.words[1:]))
        elif command.block and not command.runs:
            check(command.words[0] in OTHERS, "nobody runs it, and no check knows the program")

    def _versions(self, words: list[str]) -> None:
        for word in words:
            for found in re.findall(r"topten[^\s]*?[-:@]v?(\d+\.\d+\.\d+)", word):
                check(found == VERSION, f"the version is {VERSION}, not {found}")

    def _helm(self, command: Command) -> None:
        verb, arguments, options = parsed(command.words, HELM)
        if not arguments:  # a sentence speaks of the sub-command
            return
        check(arguments[0] == RELEASE, f"the release is {RELEASE} on every page, not {arguments[0]}")
        if verb not in ("install", "upgrade"):
            return
        check(len(arguments) == 2 and (ROOT / arguments[1]).resolve() == CHART, f"no chart: {arguments[1:]}")
        file = options.get("--values", "my-")
        check(file.startswith("my-") or (ROOT / file).exists(), f"no file {file}")
        given = nested(options.get("--set", ""))
        try:
            chart().validate_schema(given)
            self._objects = render(given)
        except HelmError as error:
            raise CommandError(str(error)) from None
        used = {part["image"] for _, pod in pods(self._objects) for part in containers(pod)}
        check(self._images <= used, f"the chart uses none of {sorted(self._images)}")

    def _kubectl(self, command: Command) -> None:
        words = command.words
        if words[0] == "--namespace":
            check(words[1] == NAMESPACE, "another namespace than that of the release")
            words = words[2:]
        inner = words[words.index("--") + 1 :] if "--" in words else []
        verb, arguments, options = parsed(words[: words.index("--")] if inner else words, KUBECTL)
        if not arguments and not options:  # a sentence speaks of the sub-command
            return
        if verb == "apply":
            made = f"topten secrets {options['-f']}"
            check(made in command.page.read_text(encoding="utf-8"), f"the page does not say `{made}` before")
        elif verb == "create job":
            self._object(options["--from"])
        else:
            found = self._object(arguments[0])
            if verb == "port-forward":
                ports = {str(port["port"]) for port in found["spec"]["ports"]}
                check(arguments[1].rpartition(":")[2] in ports, f"{arguments[0]} has the ports {sorted(ports)}")
        if inner and inner[0] != "sh":
            self.check(command._replace(words=inner))

    def _object(self, reference: str) -> Manifest:
        kind, _, name = reference.partition("/")
        check(kind in KINDS, f"no kind that pages use: {kind}")
        found = [one for one in self._objects if one["kind"] == KINDS[kind]]
        found = [one for one in found if not name or one["metadata"]["name"] == name]
        check(found, f"the chart makes no {reference}")
        return found[0]

    def _docker(self, command: Command) -> None:
        verb, arguments, options = parsed(_without_inner(command.words), DOCKER)
        for name in ("--file",):
            check((ROOT / options.get(name, "")).exists(), f"no file {options.get(name)}")
        if verb == "build":
            check((ROOT / arguments[0]).is_dir(), f"no folder {arguments[0]}")
            self._images = {options["--tag"]}
        elif verb == "push":
            check(set(arguments) == self._images, "the block does not build that image")
        elif verb == "compose":
            services = yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text())["services"]
            check(arguments[0] in ("up", "run"), f"no sub-command that pages use: {arguments[0]}")
            check(set(arguments[1:]) <= set(services), f"no service {arguments[1:]}")
        else:
            inner = command.words[command.words.index(arguments[0]) + 1 :]
            module = inner[2] if inner[:2] == ["python", "-m"] else ""
            check(not module or importlib.util.find_spec(module), f"no module {module}")
            if not module:
                self.check(command._replace(words=inner))

    def _make(self, command: Command) -> None:
        text = (ROOT / "Makefile").read_text(encoding="utf-8")
        targets = set(re.findall(r"^([a-z-]+):.*##", text, re.MULTILINE))
        for word in command.words:
            name, is_variable, value = word.partition("=")
            if is_variable:
                check(f"$({name}" in text, f"no variable {name} in the Makefile")
                if name == "ARGS":
                    self._arguments_of_make(command.words[0], value.split())
            else:
                check(name in targets, f"no target {name} in the Makefile")

    def _arguments_of_make(self, target: str, given: list[str]) -> None:
        known: set[str] | None = None
        if target == "bench":
            known = {path.stem for path in (ROOT / "tests" / "bench").iterdir()}
            given = given[:1]  # the others are of the measurement
        elif target == "stubs":
            known = {path.name for path in (ROOT / "codegen").iterdir()}
        elif target == "cluster":
            known = set(VALUES)
        check(known is None or set(given) <= known, f"`make {target}` knows no {given}")

    def _topten(self, command: Command) -> None:
        from typer.main import get_command

        from services.cli.app import app

        found: Any = get_command(app)
        context = click.Context(found, info_name="topten")
        rest = [word.strip("[]") for word in command.words]
        while rest and rest[0] in getattr(found, "commands", {}):
            found = found.commands[rest.pop(0)]
            context = click.Context(found, parent=context)
        # A sentence may speak of a group of commands.
        is_whole = not hasattr(found, "commands") or "--help" in rest or (not command.block and not rest)
        check(is_whole, f"no such command: {' '.join(command.words)}")
        known = {each for one in found.params for each in (*one.opts, *one.secondary_opts)} | {"--help", "--"}
        options = {word.partition("=")[0].rstrip(".,;:)…") for word in rest if word.startswith("--")}
        check(options <= known, f"no such option: {sorted(options - known)}")
        if command.block and not command.runs:
            try:
                given, _, _ = found.make_parser(context).parse_args(rest)
                missing = [
                    one.name for one in found.params if one.required and not isinstance(given.get(one.name), str | list)
                ]
                check(not missing, f"missing: {missing}")
            except click.UsageError as error:
                raise CommandError(error.format_message()) from None


def nested(given: str) -> dict[str, Any]:
    """Values as `--set` takes them: `a.b=text`."""
    found: dict[str, Any] = {}
    for path, _, value in (one.partition("=") for one in given.split(",") if one):
        *parents, last = path.split(".")
        place = found
        for parent in parents:
            place = place.setdefault(parent, {})
        place[last] = yaml.safe_load(value)
    return found


def _without_inner(words: list[str]) -> list[str]:
    """Words of `docker run` up to the image."""
    image = next((index for index, word in enumerate(words) if re.match(r"\S+:\d+\.\d", word)), len(words))
    return words[: image + 1] if words[0] == "run" else words


def wrong(found: Iterable[Command], checker: Checker) -> list[str]:
    messages = []
    for command in found:
        try:
            checker.check(command)
        except CommandError as error:
            messages.append(f"{command.place}: {error}")
    return messages


def test_every_command_on_a_page_names_what_exists() -> None:
    messages = [message for page in pages() for message in wrong(commands(page), Checker())]
    assert not messages, "\n".join(messages)


@pytest.mark.parametrize("file", COMMENTED, ids=lambda file: file.name)
def test_every_command_in_a_comment_of_deploy_names_what_exists(file: Path) -> None:
    found = list(commented(file))
    assert found
    assert not wrong(found, Checker())


@pytest.mark.parametrize("name", VALUES)
def test_every_command_of_the_notes_names_what_is_installed(name: str) -> None:
    given = {**values(name), "operator": {"enabled": True}}
    found = list(noted(CHART / "templates" / "NOTES.txt", notes(given)))
    sampled = given.get("setup", {}).get("sampleQuizzes", True)
    assert len(found) == (4 if sampled else 5), "one more without sample quizzes"
    assert all("--namespace" in command.words for command in found)
    assert not wrong(found, Checker(render(given)))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("helm install topten deploy/helm/topten --set image.registri=x", "registri"),
        ("helm install other deploy/helm/topten", "the release is topten"),
        ("helm upgrade topten deploy/helm/other", "no chart"),
        ("kubectl rollout status deployment/topten-edges", "makes no deployment/topten-edges"),
        ("kubectl port-forward service/topten-edge 8080:9", "has the ports"),
        ("kubectl exec deploy/topten-operator -- topten doctors", "no such command: doctors"),
        ("kubectl create job now --from=cronjob/topten-backups", "makes no cronjob/topten-backups"),
        ("kubectl apply -f keys.json", "does not say `topten secrets keys.json`"),
        ("docker build --file deploy/Dockerfiles --tag x .", "no file deploy/Dockerfiles"),
        ("docker compose up checks", "no service"),
        ("docker run topten:9.9.9 topten --help", f"the version is {VERSION}"),
        ("make upp", "no target upp"),
        ("make up PORTS=1", "no variable PORTS"),
        ("make bench ARGS=nothing", "knows no"),
        ("topten dlq shows ID", "no such command"),
        ("topten client add shop --scopes x", "no such option"),
        ("topten dlq show", "missing"),
        ("unheard-of --x", "nobody runs it"),
    ],
)
def test_a_command_that_names_what_is_not_there_is_told_with_its_place(text: str, message: str) -> None:
    command = Command(ROOT / "docs" / "security.md", 7, text.split(), block=7)
    (told,) = wrong([command], Checker())
    assert told.startswith(f"docs/security.md:7: {text}: ")
    assert message in told


def test_every_value_in_a_sentence_is_one_of_the_chart() -> None:
    """In backticks, as `a.b.c`, with or without a value; `{a,b}` and `*` stand for several."""
    schema = json.loads((CHART / "values.schema.json").read_text())
    unknown = []
    for page in [*(ROOT / "docs" / "operator").glob("*.md"), CHART / "README.md"]:
        for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
            named = re.findall(r"`([a-z]\w*(?:\.(?:\w+|\*|\{[\w,]+\}))+)(?:[=:][^`]*)?`", line)
            paths = [path for path in named if path.split(".")[0] in schema["properties"]]
            here = f"{page.relative_to(ROOT)}:{number}"
            unknown += [f"{here}: {path}" for path in paths if not is_value(schema, path.split("."))]
    assert not unknown


def is_value(schema: Any, path: list[str]) -> bool:
    """Whether the schema of values has what a path names."""
    if not path or not isinstance(schema, dict):
        return not path or schema is True
    named, others = schema.get("properties", {}), schema.get("additionalProperties")
    names = list(named) if path[0] == "*" else path[0].strip("{}").split(",")
    return all(is_value(named.get(name, others), path[1:]) for name in names)


def test_pages_name_every_program() -> None:
    """Otherwise the reader of pages has lost some."""
    found = {command.words[0].removeprefix(".venv/bin/") for page in pages() for command in commands(page)}
    assert set(PROGRAMS) <= found
