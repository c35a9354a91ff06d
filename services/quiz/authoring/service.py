"""The use cases of authors: list, read and save drafts, publish, restore versions, schedule, close, archive, share."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Final, NamedTuple

import structlog
from google.protobuf.timestamp_pb2 import Timestamp
from topten.quiz.v1 import quiz_pb2

from services.quiz.authoring.authorship import require_editor, require_owner
from services.quiz.authoring.draft import (
    Checked,
    Draft,
    Fault,
    State,
    check,
    copied,
    document_of,
    draft_refused,
    is_operator,
    owner_of,
    state_of,
    with_times,
)
from services.quiz.formats.source import FormatError
from services.quiz.quizzes.quiz import from_definition, problems
from services.quiz.quizzes.quiz_cache import quiz_not_found
from services.runtime.errors import Reason, ServiceError, invalid
from services.runtime.page_tokens import list_of, page_token, read_page_token

if TYPE_CHECKING:
    from services.quiz.authoring.authorship import Authorship
    from services.quiz.authoring.draft_store import DraftStore
    from services.quiz.quizzes.quiz_store import QuizStore, StoredQuiz
    from services.quiz.service import QuizService
    from services.runtime.auth.claims import Claims

DEFAULT_PAGE: Final = 20
# A document has up to 1 MiB, and a message of gRPC up to 4.
EXPORT_PAGE: Final = 3
MAX_VERSIONS: Final = 20
MAX_OWNED: Final = 1000
LISTING: Final = "authored quizzes"
EXPORT: Final = "own quizzes"
# How many times a change is tried while other calls change the same quiz.
_ATTEMPTS: Final = 5
_log = structlog.get_logger("authoring")


@dataclass(frozen=True, slots=True)
class AuthoredQuiz:
    """A quiz as its authors see it: the draft beside it, and the published version."""

    draft: Draft
    published: StoredQuiz | None
    state: State

    @property
    def document(self) -> str:
        """The draft; the published version if nothing is unpublished."""
        if self.draft.document is not None:
            return self.draft.document
        return document_of(self.published.definition) if self.published else "{}\n"

    @property
    def version(self) -> int:
        """The published version; 0 if there is none."""
        return self.published.version if self.published else 0


class Opened(NamedTuple):
    """A quiz, and the faults that prevent the publishing of its draft."""

    quiz: AuthoredQuiz
    faults: Sequence[Fault]


class Version(NamedTuple):
    """A version of a quiz. When it was published is None for a first one that was stored before this time was."""

    quiz: StoredQuiz
    published_at: datetime | None
    is_current: bool


class Page(NamedTuple):
    """A page of quizzes by id, the page token that follows each, and whether there are more."""

    quizzes: Sequence[AuthoredQuiz]
    cursors: Sequence[str]
    has_more: bool


class AuthoringService:
    """The use cases of authors. Every read of a draft and every change is logged with its actor."""

    def __init__(
        self,
        drafts: DraftStore,
        quizzes: QuizStore,
        publishing: QuizService,
        authorship: Authorship,
        *,
        media_hosts: Collection[str],
        now: Callable[[], datetime],
    ) -> None:
        self._drafts = drafts
        self._quizzes = quizzes
        self._publishing = publishing
        self._authorship = authorship
        self._media_hosts = media_hosts
        self._now = now
        # Checking takes up to a second for a document of the greatest size: one at a time, beside the event loop.
        self._checking = asyncio.Semaphore()

    async def quizzes(self, claims: Claims, limit: int, token: str, *, every: bool) -> Page:
        """Return a page of the caller's quizzes by id, or of all; `limit` is 1 to 50, 0 is 20.

        Raises PERMISSION_DENIED, INVALID_ARGUMENT and CURSOR_EXPIRED for a wrong token.
        """
        if every and not is_operator(claims):
            raise ServiceError(Reason.PERMISSION_DENIED, "Only admins see the quizzes of all authors.")
        (after,) = read_page_token(token, LISTING, str) or ("",)
        limit = limit or DEFAULT_PAGE
        drafts = await self._drafts.page(None if every else claims.user_id, after, limit + 1)
        by_id = {draft.quiz_id: draft for draft in drafts}
        if every:
            by_id |= {quiz_id: Draft(quiz_id) for quiz_id in await self._quizzes.ids(after, limit + 1)} | by_id
        page = sorted(by_id)[:limit]
        published = await self._quizzes.current(page)
        found = [self._quiz(by_id[quiz_id], published.get(quiz_id)) for quiz_id in page]
        return Page(found, [page_token(LISTING, quiz_id) for quiz_id in page], len(by_id) > limit)

    async def own(self, user_id: str, token: str) -> tuple[list[AuthoredQuiz], str]:
        """Return a page of the quizzes that an account owns, and the token of the next page, empty after the last.

        Raises INVALID_ARGUMENT, CURSOR_EXPIRED for a wrong token.
        """
        listing = list_of(EXPORT, user_id)
        (after,) = read_page_token(token, listing, str) or ("",)
        drafts = await self._drafts.page(user_id, after, EXPORT_PAGE + 1, edited=False)
        page = drafts[:EXPORT_PAGE]
        published = await self._quizzes.current([draft.quiz_id for draft in page])
        found = [self._quiz(draft, published.get(draft.quiz_id)) for draft in page]
        return found, page_token(listing, page[-1].quiz_id) if len(drafts) > EXPORT_PAGE else ""

    async def open(self, claims: Claims, quiz_id: str) -> Opened:
        """Return a quiz with its draft. Raises QUIZ_NOT_FOUND, PERMISSION_DENIED."""
        quiz = await self.find(claims, quiz_id)
        _log.info("draft read", quiz_id=quiz_id, actor=claims.user_id)
        return Opened(quiz, (await self.check(quiz.document, quiz_id)).faults)

    async def save(self, claims: Claims, quiz_id: str, document: str, revision: int) -> Opened:
        """Replace a draft that is at a revision; 0 creates a quiz, which the caller owns.

        Raises VERSION_CONFLICT, LIMIT_REACHED, PERMISSION_DENIED, INVALID_ARGUMENT.
        """
        quiz = await self._known(quiz_id)
        checked = await self.check(document, quiz_id)
        if quiz is None:
            await self._require_below_limit(claims)
        else:
            require_editor(claims, quiz.draft)
            if quiz.document == document:
                return Opened(quiz, checked.faults)
        stored = await self._drafts.put(
            Draft(
                quiz_id=quiz_id,
                owner=owner_of(claims) if quiz is None else "",
                document=document,
                title=checked.definition.title,
                questions=len(checked.definition.questions),
                changed_at=self._now(),
            ),
            expected=revision,
        )
        if stored is None:
            raise _conflict()
        _log.info("draft saved", quiz_id=quiz_id, revision=stored.revision, actor=claims.user_id)
        return Opened(self._quiz(stored, quiz.published if quiz else None), checked.faults)

    async def publish(self, claims: Claims, quiz_id: str, revision: int, version: int) -> tuple[AuthoredQuiz, bool]:
        """Make a draft the next version, if both are those that the caller saw; return whether that changed anything.

        Raises QUIZ_NOT_FOUND, VERSION_CONFLICT, PERMISSION_DENIED, INVALID_ARGUMENT with every fault.
        """
        quiz = await self.find(claims, quiz_id)
        if quiz.draft.revision != revision:
            raise _conflict()
        checked = await self.check(quiz.document, quiz_id)
        if checked.faults:
            raise draft_refused(checked.faults)
        number, changed = await self._publishing.import_quiz(checked.definition, actor=claims.user_id, expected=version)
        if changed or quiz.draft.document is not None:
            await self._drafts.clear(replace(quiz.draft, changed_at=self._now()))
        _log.info("quiz published", quiz_id=quiz_id, version=number, actor=claims.user_id)
        return await self.find(claims, quiz_id), changed

    async def versions(self, claims: Claims, quiz_id: str, before: int) -> list[Version]:
        """Return up to 20 versions of a quiz below `before`, 0 for the newest, in descending order.

        Raises QUIZ_NOT_FOUND, PERMISSION_DENIED.
        """
        quiz = await self.find(claims, quiz_id)
        if quiz.published is None:
            return []
        newest = min(quiz.version, before - 1) if before else quiz.version
        oldest = max(newest - MAX_VERSIONS, 0) + 1
        # With the one before them: older data has only when a version was replaced, which is when the next was published.
        stored = await self._quizzes.versions(quiz_id, range(oldest - 1, newest + 1))
        found = stored | {quiz.version: quiz.published}
        return [
            Version(
                found[number],
                found[number].published_at or (stored[number - 1].replaced_at if number - 1 in stored else None),
                number == quiz.version,
            )
            for number in range(newest, oldest - 1, -1)
            if number in found
        ]

    async def restore(self, claims: Claims, quiz_id: str, version: int, revision: int) -> Opened:
        """Replace a draft that is at a revision with a version of its quiz, but for the times, which stay those published.

        Raises QUIZ_NOT_FOUND, VERSION_CONFLICT, PERMISSION_DENIED, INVALID_ARGUMENT.
        """
        quiz = await self.find(claims, quiz_id)
        current = _published(quiz)
        restored = current if version == quiz.version else await self._quizzes.version(quiz_id, version)
        if restored is None:
            raise invalid("version", "is not kept", "The quiz has no such version.")
        times = [
            getattr(current.definition, f) if current.definition.HasField(f) else None
            for f in ("opens_at", "closes_at")
        ]
        opened = await self.save(claims, quiz_id, document_of(_timed(restored.definition, *times)), revision)
        _log.info("quiz version restored", quiz_id=quiz_id, version=version, actor=claims.user_id)
        return opened

    async def schedule(
        self, claims: Claims, quiz_id: str, opens_at: Timestamp | None, closes_at: Timestamp | None, version: int
    ) -> AuthoredQuiz:
        """Set when a published quiz opens and closes; None means at once, and never.

        Raises QUIZ_NOT_FOUND, VERSION_CONFLICT, PERMISSION_DENIED, INVALID_ARGUMENT.
        """
        quiz = await self.find(claims, quiz_id)
        definition = _timed(_published(quiz).definition, opens_at, closes_at)
        if faults := [(field.removeprefix("definition."), text) for field, text in problems(definition)]:
            message = "; ".join(f"{field} {text}" for field, text in faults)
            raise ServiceError(Reason.INVALID_ARGUMENT, f"{message}.", violations=faults)
        await self._publishing.import_quiz(definition, actor=claims.user_id, expected=version)
        _log.info("quiz scheduled", quiz_id=quiz_id, actor=claims.user_id)
        times = [at.ToJsonString() if at is not None else "" for at in (opens_at, closes_at)]
        return await self._with_times(claims, quiz_id, *times)

    async def close(self, claims: Claims, quiz_id: str) -> AuthoredQuiz:
        """Close a published quiz now. Raises QUIZ_NOT_FOUND, PERMISSION_DENIED, INVALID_ARGUMENT."""
        for _ in range(_ATTEMPTS):
            quiz = await self.find(claims, quiz_id)
            rules, now = from_definition(_published(quiz).definition, quiz.version), Timestamp()
            if rules.closes_at is not None and rules.closes_at <= self._now():
                return quiz
            now.FromDatetime(self._now())
            opens_at = rules.view.opens_at if quiz.state is State.OPEN and rules.opens_at else None
            try:
                return await self.schedule(claims, quiz_id, opens_at, now, quiz.version)
            except ServiceError as error:
                if error.reason != Reason.VERSION_CONFLICT:
                    raise
        raise _conflict()

    async def archive(self, claims: Claims, quiz_id: str) -> AuthoredQuiz:
        """Close a quiz and remove it from the lists. Raises QUIZ_NOT_FOUND, PERMISSION_DENIED."""
        quiz = await self.find(claims, quiz_id)
        require_owner(claims, quiz.draft)
        if quiz.published is None:
            await self._drafts.archive(quiz_id)
        else:
            await self.close(claims, quiz_id)
            await self._quizzes.archive(quiz_id)
        _log.info("quiz archived", quiz_id=quiz_id, actor=claims.user_id)
        return await self.find(claims, quiz_id)

    async def duplicate(self, claims: Claims, quiz_id: str, copy_id: str) -> Opened:
        """Make a draft of another id, which the caller owns. Raises QUIZ_NOT_FOUND, VERSION_CONFLICT, LIMIT_REACHED."""
        document = copied((await self.find(claims, quiz_id)).document, copy_id)
        taken = await self._known(copy_id)
        if taken is not None and taken.document != document:
            raise ServiceError(Reason.VERSION_CONFLICT, "Another quiz has this ID.")
        return await self.save(claims, copy_id, document, 0)

    async def share(self, claims: Claims, quiz_id: str, owner: str, editors: Sequence[str]) -> AuthoredQuiz:
        """Set the authors of a quiz. Raises QUIZ_NOT_FOUND, PLAYER_NOT_FOUND, PERMISSION_DENIED."""
        quiz = await self.find(claims, quiz_id)
        others = [editor for editor in editors if editor != owner]
        await self._authorship.share(claims, quiz.draft, owner, others)
        return self._quiz(replace(quiz.draft, owner=owner, editors=tuple(others)), quiz.published)

    async def find(self, claims: Claims, quiz_id: str) -> AuthoredQuiz:
        """Return a quiz that the caller may edit. Raises QUIZ_NOT_FOUND, PERMISSION_DENIED."""
        quiz = await self._known(quiz_id)
        if quiz is None:
            raise quiz_not_found(quiz_id)
        require_editor(claims, quiz.draft)
        return quiz

    async def check(self, document: str, quiz_id: str) -> Checked:
        """Check a document. Raises INVALID_ARGUMENT if it is no JSON object."""
        try:
            async with self._checking:
                return await asyncio.to_thread(check, document, quiz_id, self._media_hosts)
        except FormatError as error:
            raise invalid("document", error.problems[0], f"document: {error}.") from None

    async def _require_below_limit(self, claims: Claims) -> None:
        owner = owner_of(claims)
        if owner and await self._drafts.owned(owner, MAX_OWNED) >= MAX_OWNED:
            raise ServiceError(Reason.LIMIT_REACHED, f"An author owns at most {MAX_OWNED} quizzes.")

    async def _with_times(self, claims: Claims, quiz_id: str, opens_at: str, closes_at: str) -> AuthoredQuiz:
        """Give unpublished changes the times of the published version."""
        for _ in range(_ATTEMPTS):
            quiz = await self.find(claims, quiz_id)
            draft = quiz.draft
            if draft.document is None:
                return quiz
            document = with_times(draft.document, opens_at, closes_at)
            if document == draft.document:
                return quiz
            await self._drafts.put(replace(draft, document=document, changed_at=self._now()), expected=draft.revision)
        raise _conflict()

    async def _known(self, quiz_id: str) -> AuthoredQuiz | None:
        draft, published = await asyncio.gather(self._drafts.get(quiz_id), self._quizzes.quiz(quiz_id))
        if draft is None and published is None:
            return None
        return self._quiz(draft or Draft(quiz_id), published)

    def _quiz(self, draft: Draft, published: StoredQuiz | None) -> AuthoredQuiz:
        definition = published.definition if published else None
        is_archived = published is not None and published.is_archived
        return AuthoredQuiz(draft, published, state_of(draft, definition, self._now(), archived=is_archived))


def _published(quiz: AuthoredQuiz) -> StoredQuiz:
    if quiz.published is None:
        raise invalid("quiz_id", "is that of a draft that was never published", "Publish the quiz first.")
    return quiz.published


def _timed(
    definition: quiz_pb2.QuizDefinition, opens_at: Timestamp | None, closes_at: Timestamp | None
) -> quiz_pb2.QuizDefinition:
    timed = quiz_pb2.QuizDefinition()
    timed.CopyFrom(definition)
    timed.ClearField("opens_at")
    timed.ClearField("closes_at")
    timed.MergeFrom(quiz_pb2.QuizDefinition(opens_at=opens_at, closes_at=closes_at))
    return timed


def _conflict() -> ServiceError:
    return ServiceError(Reason.VERSION_CONFLICT, "Somebody else changed the quiz in the meantime. Read it again.")
