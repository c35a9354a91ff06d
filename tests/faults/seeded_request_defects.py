"""Plausible defects in what is done with the names, numbers and moments that clients choose."""

from __future__ import annotations

from tests.faults.seeded_defects import Defect

EDGE_ADMISSION = "tests/unit/edge/stream/test_stream_admission.py"
REQUEST_DEFECTS = (
    Defect(
        "a stream opens for a board that does not exist",
        "services/boards/existence.py",
        "    if country and country not in COUNTRIES:\n        return Existence.NO\n",
        "",
        (EDGE_ADMISSION, "-k", "no_board"),
    ),
    Defect(
        "the quiz of a board is not checked",
        "services/boards/existence.py",
        'Existence.IF_QUIZ if board.kind == "quiz" else Existence.YES',
        "Existence.YES",
        (EDGE_ADMISSION, "-k", "no_board"),
    ),
    Defect(
        "a stream opens for a room that does not exist",
        "edge/rooms.py",
        "            if error.reason in _REFUSALS:\n                raise\n",
        "",
        (EDGE_ADMISSION, "-k", "no_room"),
    ),
    Defect(
        "one client takes all boards of a process",
        "edge/stream/quota.py",
        "if board not in boards and len(boards) >= self._boards_per_network:",
        "if False:",
        (EDGE_ADMISSION, "-k", "one_address"),
    ),
    Defect(
        "a resume id silences the stream",
        "edge/stream/board_feed.py",
        "            asyncio.get_running_loop().call_later(catch_up.total_seconds(), self._write_withheld, subscriber)\n",
        "",
        ("tests/unit/edge/stream/test_stream.py", "-k", "resume_id"),
    ),
    Defect(
        "a board whose store went back stays as it was",
        "edge/stream/board_feed.py",
        "                self._note_older(update)\n",
        "                pass\n",
        ("tests/unit/edge/stream/test_stream.py", "-k", "went_back"),
    ),
    Defect(
        "HEAD opens a stream",
        "edge/stream/sse.py",
        '        if request.method == "HEAD":\n            return web.Response(headers=HEADERS)\n'
        "        with ExitStack() as stack:\n"
        "            stack.enter_context(self._quota.stream(claims.user_id, network_of(address), board.name))\n",
        "        with ExitStack() as stack:\n"
        "            stack.enter_context(self._quota.stream(claims.user_id, network_of(address), board.name))\n",
        (EDGE_ADMISSION, "-k", "head_is_answered"),
    ),
    Defect(
        "a login that a new password overtakes keeps its session",
        "services/identity/store.py",
        "            if account.session_epoch == session.epoch:\n",
        "            if True:\n",
        ("tests/unit/identity/test_sessions.py", "-k", "new_password_ends"),
    ),
    Defect(
        "an address is compared as text",
        "edge/http/callers/peer.py",
        'return str(IPv6Network((address, NETWORK_BITS), strict=False)) if ":" in address else address',
        "return address",
        ("tests/unit/edge/http/test_peer.py",),
    ),
    Defect(
        "a late refusal removes a newer session",
        "edge/graphql/resolvers/mutations.py",
        "        if not request.refresh_token:\n            raise",
        "        if context.cookies is not None:\n            context.cookies.close()\n"
        "        if not request.refresh_token:\n            raise",
        ("tests/system/http/test_graphql_sessions.py", "-k", "late_refusal"),
    ),
    Defect(
        "a refused media type is sent",
        "edge/http/accept.py",
        "return best if _quality(best, ranges) > 0 else None",
        "return best",
        ("tests/unit/edge/http/test_accept.py",),
    ),
    Defect(
        "a service's name of a field reaches the client",
        "edge/graphql/fields.py",
        "        named = with_field_names(error, definition)\n",
        "        named = error\n",
        ("tests/system/access/test_field_names.py",),
    ),
    Defect(
        "the last sanction replaces the others",
        "services/identity/moderation/changes.py",
        "    return _with_sanctions(account, [*in_force, sanction])\n",
        "    return _with_sanctions(account, [sanction])\n",
        ("tests/unit/identity/test_sanctions.py",),
    ),
    Defect(
        "a moderator lifts what an admin imposed",
        "services/identity/accounts.py",
        "        return ranks.index(self) >= ranks.index(other)\n",
        "        return True\n",
        ("tests/unit/identity/test_sanctions.py", "-k", "authority or admins"),
    ),
    Defect(
        "gRPC parses a request before its token is checked",
        "services/runtime/grpc/chain.py",
        "        codec = (None, handler.response_serializer)\n",
        "        codec = (self._parse, handler.response_serializer)\n",
        ("tests/unit/runtime/grpc/test_grpc.py", "-k", "parse"),
    ),
    Defect(
        "a time that does not exist is admitted",
        "services/runtime/grpc/requests.py",
        '            yield path, "must be a time in the years 1 to 9999"\n',
        "            return\n",
        ("tests/unit/runtime/grpc/test_requests.py", "-k", "time"),
    ),
    Defect(
        "a percentile near 0 is behind the last rank",
        "services/leaderboard/ranking.py",
        "total - max(1, math.ceil(total * percentile / 100 - 1e-9))",
        "total - math.ceil(total * percentile / 100 - 1e-9)",
        ("tests/unit/leaderboard/test_ranking.py", "-k", "quantile"),
    ),
    Defect(
        "texts of requests are not checked",
        "services/runtime/grpc/requests.py",
        "        return ((_where(path, place, index), fault),) if fault else ()\n",
        "        return ()\n",
        ("tests/unit/runtime/test_texts.py",),
    ),
    Defect(
        "ids in capitals are other ids",
        "services/runtime/texts.py",
        "    return text if text.islower() or not _UUID.fullmatch(text) else text.lower()\n",
        "    return text\n",
        ("tests/unit/runtime/grpc/test_requests.py", "-k", "capitals"),
    ),
    Defect(
        "passwords are compared as they are sent",
        "services/identity/passwords.py",
        '    return unicodedata.normalize("NFC", spaced)\n',
        "    return spaced\n",
        ("tests/unit/identity/test_passwords.py",),
    ),
    Defect(
        "a stranger spends the attempts of an account's owner",
        "edge/rates/attempts.py",
        "        if not await self._limiter.is_noted(at_address):\n",
        "        if True:\n",
        ("tests/system/access/test_rates.py", "-k", "owners_attempts"),
    ),
)
