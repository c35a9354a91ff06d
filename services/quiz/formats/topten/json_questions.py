"""Questions of Topten JSON: each kind with its keys, and how they are read and written."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, NamedTuple

from topten.quiz.v1 import quiz_pb2

from services.quiz.formats.contract import KIND_NAMES, KINDS
from services.quiz.formats.topten.json_values import Values
from services.runtime.texts import same_text_key

DEFAULT_POINTS: Final = 10
TRUE_AND_FALSE: Final = (quiz_pb2.Option(id="true", text="True"), quiz_pb2.Option(id="false", text="False"))
_DEFAULT_KIND: Final = "single_choice"
_COMMON_KEYS: Final = frozenset(("id", "text", "kind", "points", "media", "correct", "explanation"))
_SENSITIVITIES: Final = {
    "caseSensitive": "case_sensitive",
    "accentSensitive": "accent_sensitive",
    "spaceSensitive": "space_sensitive",
}
Definition = quiz_pb2.QuestionDefinition
Fields = dict[str, Any]


def read_question(values: Values, value: Any, path: str) -> Definition:
    """Read a question at a place."""
    fields = values.object(value, path, _ALL_KEYS)
    name: str = values.typed(fields.get("kind", _DEFAULT_KIND), str, f"{path}.kind", _DEFAULT_KIND)
    question = quiz_pb2.Question(
        id=values.text(fields, "id", path),
        text=values.text(fields, "text", path, lines=True),
        kind=KINDS.get(name, quiz_pb2.QUESTION_KIND_UNSPECIFIED),
        points=values.integer(fields.get("points", DEFAULT_POINTS), f"{path}.points"),
    )
    explanation = values.text(fields, "explanation", path, required=False, lines=True)
    entry = Definition(question=question, explanation=explanation)
    if "media" in fields:
        media = values.object(fields["media"], f"{path}.media", {"url", "alt"})
        url, alt = (values.text(media, key, f"{path}.media") for key in ("url", "alt"))
        entry.question.media.CopyFrom(quiz_pb2.Media(url=url, alt=alt))
    if name not in KINDS:
        values.problem(f"{path}.kind", f"must be one of {', '.join(KINDS)}")
        for key in _ALL_KEYS - _COMMON_KEYS | {"correct"}:
            values.close(f"{path}.{key}")
        return entry
    kind = _KINDS[KINDS[name]]
    for key in sorted(fields.keys() & _ALL_KEYS - kind.keys - _COMMON_KEYS):
        values.problem(f"{path}.{key}", "belongs to questions of another kind")
    kind.read(values, fields, path, entry)
    return entry


def write_question(entry: Definition) -> Fields:
    """Return the fields of a question; reading them gives the same definition."""
    question = entry.question
    fields: Fields = {
        "id": question.id,
        "text": question.text,
        "kind": KIND_NAMES[question.kind],
        "points": question.points,
    }
    if question.HasField("media"):
        fields["media"] = {"url": question.media.url, "alt": question.media.alt}
    is_default = tuple(question.options) == TRUE_AND_FALSE and question.kind == quiz_pb2.QUESTION_KIND_TRUE_FALSE
    if question.options and not is_default:
        fields["options"] = _written_options(question.options)
    fields |= _KINDS[question.kind].write(entry)
    if entry.explanation:
        fields["explanation"] = entry.explanation
    return fields


def _read_options(values: Values, fields: Fields, path: str, options: Any, *, key: str = "options") -> frozenset[str]:
    """Append the options of a key, and return their ids."""
    for index, option in enumerate(values.entries(fields, key, path, most=10, required=True)):
        place = f"{path}.{key}[{index}]"
        inside = values.object(option, place, {"id", "text"})
        read = quiz_pb2.Option(id=values.text(inside, "id", place), text=values.text(inside, "text", place, lines=True))
        noun = key.removesuffix("s")
        if any(same_text_key(other.text) == same_text_key(read.text) for other in options):
            values.problem(f"{place}.text", f"is the text of another {noun}")
        if any(other.id == read.id for other in options):
            values.problem(f"{place}.id", f"{read.id!r} is used twice")
        options.append(read)
    return frozenset(option.id for option in options)


def _written_options(options: Iterable[quiz_pb2.Option]) -> list[Fields]:
    return [{"id": option.id, "text": option.text} for option in options]


def _read_single_choice(values: Values, fields: Fields, path: str, entry: Definition) -> None:
    options = _read_options(values, fields, path, entry.question.options)
    entry.correct_option = values.text(fields, "correct", path)
    _check_id(values, entry.correct_option, options, f"{path}.correct")


def _written_option(entry: Definition) -> Fields:
    return {"correct": entry.correct_option}


def _read_true_false(values: Values, fields: Fields, path: str, entry: Definition) -> None:
    is_true = values.typed(fields.get("correct"), bool, f"{path}.correct", default=False)
    entry.correct_option = "true" if is_true else "false"
    if "options" in fields:
        _read_options(values, fields, path, entry.question.options)
    else:
        entry.question.options.extend(TRUE_AND_FALSE)


def _written_truth(entry: Definition) -> Fields:
    return {"correct": entry.correct_option == "true"}


def _read_multiple_choice(values: Values, fields: Fields, path: str, entry: Definition) -> None:
    options = _read_right_options(values, fields, path, entry)
    for option, percent in values.object(fields.get("weights", {}), f"{path}.weights", options).items():
        if option in options:
            entry.weights.add(option=option, percent=values.integer(percent, f"{path}.weights.{option}"))


def _written_multiple_choice(entry: Definition) -> Fields:
    weights = {weight.option: weight.percent for weight in entry.weights}
    return {"correct": [*entry.correct_options]} | ({"weights": weights} if weights else {})


def _read_numeric(values: Values, fields: Fields, path: str, entry: Definition) -> None:
    entry.numeric.value = values.decimal(fields.get("correct"), f"{path}.correct")
    if "tolerance" in fields:
        entry.numeric.tolerance = values.decimal(fields["tolerance"], f"{path}.tolerance")
        if entry.numeric.tolerance.startswith("-"):
            values.problem(f"{path}.tolerance", "must be 0 or more")


def _written_numeric(entry: Definition) -> Fields:
    tolerance = entry.numeric.tolerance
    return {"correct": entry.numeric.value} | ({"tolerance": tolerance} if tolerance else {})


def _read_short_text(values: Values, fields: Fields, path: str, entry: Definition) -> None:
    for index, text in enumerate(values.entries(fields, "correct", path, most=20, required=True)):
        entry.text.accepted.append(values.checked(text, f"{path}.correct[{index}]"))
    for key, field in _SENSITIVITIES.items():
        setattr(entry.text, field, values.flag(fields, key, path))


def _written_short_text(entry: Definition) -> Fields:
    flags = {key: True for key, field in _SENSITIVITIES.items() if getattr(entry.text, field)}
    return {"correct": [*entry.text.accepted], **flags}


def _read_ordering(values: Values, fields: Fields, path: str, entry: Definition) -> None:
    _read_right_options(values, fields, path, entry)
    entry.partial = values.flag(fields, "partial", path)


def _written_ordering(entry: Definition) -> Fields:
    return {"correct": [*entry.correct_options]} | _written_partial(entry)


def _read_matching(values: Values, fields: Fields, path: str, entry: Definition) -> None:
    options = _read_options(values, fields, path, entry.question.options)
    targets = _read_options(values, fields, path, entry.question.targets, key="targets")
    matches = values.object(fields.get("correct"), f"{path}.correct", options)
    for option in (option for option in matches if option in options):
        place = f"{path}.correct.{option}"
        target = values.checked(matches[option], place)
        _check_id(values, target, targets, place, noun="target")
        entry.correct_matches.add(option=option, target=target)
    entry.partial = values.flag(fields, "partial", path)


def _written_matching(entry: Definition) -> Fields:
    matches = {match.option: match.target for match in entry.correct_matches}
    return {"targets": _written_options(entry.question.targets), "correct": matches} | _written_partial(entry)


def _read_right_options(values: Values, fields: Fields, path: str, entry: Definition) -> frozenset[str]:
    """Read options and the list of right ones."""
    options = _read_options(values, fields, path, entry.question.options)
    for index, value in enumerate(values.entries(fields, "correct", path, most=10, required=True)):
        place = f"{path}.correct[{index}]"
        option = values.checked(value, place)
        _check_id(values, option, options, place)
        if option in entry.correct_options:
            values.problem(place, f"{option!r} is there twice")
        entry.correct_options.append(option)
    return options


def _check_id(values: Values, given: str, known: frozenset[str], place: str, *, noun: str = "option") -> None:
    if given and given not in known:
        values.problem(place, f"no {noun} has the id {given!r}")


def _written_partial(entry: Definition) -> Fields:
    return {"partial": True} if entry.partial else {}


class _Kind(NamedTuple):
    """The keys that a kind has beside the common ones, and how its answer key is read and written."""

    keys: frozenset[str]
    read: Callable[[Values, Fields, str, Definition], None]
    write: Callable[[Definition], Fields]


_KINDS: Final[Mapping[int, _Kind]] = {
    quiz_pb2.QUESTION_KIND_SINGLE_CHOICE: _Kind(frozenset({"options"}), _read_single_choice, _written_option),
    quiz_pb2.QUESTION_KIND_TRUE_FALSE: _Kind(frozenset({"options"}), _read_true_false, _written_truth),
    quiz_pb2.QUESTION_KIND_MULTIPLE_CHOICE: _Kind(
        frozenset({"options", "weights"}), _read_multiple_choice, _written_multiple_choice
    ),
    quiz_pb2.QUESTION_KIND_NUMERIC: _Kind(frozenset({"tolerance"}), _read_numeric, _written_numeric),
    quiz_pb2.QUESTION_KIND_SHORT_TEXT: _Kind(frozenset(_SENSITIVITIES), _read_short_text, _written_short_text),
    quiz_pb2.QUESTION_KIND_ORDERING: _Kind(frozenset({"options", "partial"}), _read_ordering, _written_ordering),
    quiz_pb2.QUESTION_KIND_MATCHING: _Kind(
        frozenset({"options", "targets", "partial"}), _read_matching, _written_matching
    ),
}
_ALL_KEYS: Final = _COMMON_KEYS.union(*(kind.keys for kind in _KINDS.values()))
