"""Any bytes give a report: a reader raises FormatError alone, and what it takes is what the quiz service takes."""

from __future__ import annotations

import io
import zipfile
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.quiz.formats.contract import faults_of
from services.quiz.formats.draft import Text
from services.quiz.formats.plain_text import MAX_MARKUP, TextFault, plain
from services.quiz.formats.registry import read
from services.quiz.formats.report import REFUSED
from services.quiz.formats.source import FormatError
from services.quiz.formats.tables import xlsx
from services.runtime.texts import fault_of
from tests.factories import every_kind
from tests.quiz_files import SAMPLES, files_of, packed

FILES = [path.read_bytes() for path in SAMPLES if path.is_file()]
PACKAGES = [files_of(path) for path in SAMPLES if path.is_dir()]
SHEET = xlsx.write(every_kind())
with zipfile.ZipFile(io.BytesIO(SHEET)) as opened:
    SHEET_FILES = {name: opened.read(name) for name in opened.namelist()}
# What the formats are made of, and what breaks texts.
TOKENS = r"""
<quiz> <question type="truefalse"> </question> <text> <assessmentItem> <questestinterop> <?xml <!DOCTYPE <!ENTITY
:: // { } {T} {F} {} = ~ # -> %50% %-1% \ \: \n [html] [plain] $CATEGORY: <b> </p> <img <!-- <![CDATA[ &lt; &#0; &#8238; A.
question correct option1 option2
kind numeric ordering matching short_text multiple_choice weights tolerance partial target1 | 1,2 3.14 1e9 .. %33.3%
<answer> fraction="50" <subquestion> <single> <tolerance>
true false , ; " "" {"results":[ {"id":1 "type":"multiple" ] } [ null 1e999 \ud800 B)
""".split()
SPACES = ["\n", "\n\n", "\r\n", "\t", " ", "\x00", "\x01", "\u202e", "\ufeff", "e\u0301"]
STARTS = ["ANSWER: A\n", "question,correct,option1,option2\n", "q?\nA. x\nB. y\n"]
parts = st.lists(st.sampled_from([*TOKENS, *SPACES, *STARTS]) | st.text(max_size=3), max_size=40)
composed = parts.map(lambda each: "".join(each).encode("utf-8", "surrogatepass"))


@st.composite
def damaged(draw: st.DrawFn, files: list[bytes]) -> bytes:
    """A file with some of its bytes replaced, taken away or repeated."""
    content = bytearray(draw(st.sampled_from(files)))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(content)))
        end = min(len(content), at + draw(st.integers(0, 30)))
        content[at:end] = draw(st.binary(max_size=6) | composed | st.just(bytes(content[at:end]) * 2))
    return bytes(content)


def check(content: bytes, name: str) -> None:
    try:
        reports = read(content, name)
    except FormatError as error:
        assert error.problems
        assert all(error.problems)
        return
    for report in reports:
        for item in report.items:
            assert item.outcome != REFUSED or item.notes, item
            assert not fault_of(str(item).replace("\n", " ")), str(item)
        if not report.faults:
            assert faults_of(report.definition) == []


@settings(deadline=None)
@given(st.binary(max_size=200) | composed, st.text(max_size=8))
def test_any_bytes_give_a_report(content: bytes, name: str) -> None:
    check(content, name)


@settings(deadline=None)
@given(damaged([*FILES, SHEET]))
def test_damaged_files_give_a_report(content: bytes) -> None:
    check(content, "damaged")


@settings(deadline=None)
@given(st.data(), st.sampled_from([*PACKAGES, SHEET_FILES]))
def test_packages_with_a_damaged_file_give_a_report(data: st.DataObject, files: dict[str, bytes]) -> None:
    name = data.draw(st.sampled_from(sorted(files)))
    check(packed(files | {name: data.draw(damaged([files[name]]))}), "damaged")


@pytest.mark.parametrize(
    "token", ["<", "<a ", "<a b='", "<!--", "<![", "<?", "<a/", "<x y=z ", "<pre>", "<script>", "&#", " \n"]
)
def test_a_text_of_one_token_is_read_in_the_time_of_its_length(token: str) -> None:
    """With the square of it, these take a minute."""
    text = (token * MAX_MARKUP)[:MAX_MARKUP]
    with suppress(TextFault):
        plain(Text(f"x{text[1:]}", markup=True))
    check(f"q? {{={text} ~b}}".encode() * 10, "x")
    check(f"question,correct,option1,option2\n{text},1,a,b\n".encode(), "x")
