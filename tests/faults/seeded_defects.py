"""Plausible defects, each as one change of one file, and the tests that must detect it."""

from __future__ import annotations

from typing import NamedTuple


class Defect(NamedTuple):
    """One change of one file, and the tests that catch it."""

    name: str
    path: str
    old: str
    new: str
    tests: tuple[str, ...]


SERVICE = "tests/system/counting/test_score_service.py"
RECOVERY = "tests/system/recovery/test_score_recovery.py"
WORKER = "tests/system/counting/test_score_worker.py"
REPLACED = "tests/system/recovery/test_replaced_data.py"
CRASHES = "tests/faults/test_crash_points.py"
FROZEN = "tests/system/views/test_frozen_boards.py"
ACTIONS = "tests/system/actions/test_actions.py"
CLOSING = "tests/system/periods/test_closed_periods.py"
LOST_RECORDS = "tests/system/recovery/test_lost_records.py"
RESTORATION = "tests/unit/quiz/test_record_restoration.py"
DEFECTS = (
    Defect(
        "an event is acknowledged before it is in the ledger",
        "services/score/ingest/pull_loop.py",
        "                    acks = list(zip(batch, await self._handle(batch), strict=True))\n",
        "                    await self._send([(delivery, ACK) for delivery in batch])\n"
        "                    acks = list(zip(batch, await self._handle(batch), strict=True))\n",
        (SERVICE, "-k", "killed_at_any_moment"),
    ),
    Defect(
        "two rows may have one revision",
        "services/score/ledger/store.py",
        '[("chain", ASCENDING), ("revision", ASCENDING)], unique=True',
        '[("chain", ASCENDING), ("revision", ASCENDING)]',
        (WORKER, "-k", "outdated_fold"),
    ),
    Defect(
        "two submissions may have one action id",
        "services/quiz/submissions/store.py",
        '[("user_id", ASCENDING), ("action_id", ASCENDING)], unique=True',
        '[("user_id", ASCENDING), ("action_id", ASCENDING)]',
        (ACTIONS,),
    ),
    Defect(
        "two attempts may have one number",
        "services/quiz/submissions/store.py",
        "create_index(_BY_PLAYER, unique=True)",
        "create_index(_BY_PLAYER)",
        ("tests/unit/quiz/action_types/test_action_groups.py", "-k", "cold_tallies"),
    ),
    Defect(
        "a cached player is not read again after a conflict",
        "services/score/ingest/worker.py",
        "                folds |= await self._folds.refresh(conflicts)\n",
        "",
        (WORKER, "-k", "outdated_fold"),
    ),
    Defect(
        "a fold that was stored while its player got a counter stays without it",
        "services/score/ledger/folds/cache.py",
        "        return stored | await self.catch_up(lost) if lost else stored\n",
        "        return stored\n",
        ("tests/system/boards/test_backfill.py", "-k", "between_the_reads"),
    ),
    Defect(
        "what was taken back still decides a tie",
        "services/score/ledger/history.py",
        "        elif points <= 0 or at > reached_at or (at == reached_at and delta < 0):\n",
        "        elif False:\n",
        ("tests/unit/score/test_history.py",),
    ),
    Defect(
        "sums are clamped to 32 bits",
        "services/score/ledger/history.py",
        "        after = points + delta\n",
        "        after = max(-(2**31), min(2**31 - 1, points + delta))\n",
        ("tests/unit/score/test_history.py", "-k", "beyond_32_bits"),
    ),
    Defect(
        "a sealed gap leaves the lost points in the totals",
        "services/score/ledger/seals.py",
        "    for before, seal in uncorrected.values():\n",
        "    for before, seal in ():\n",
        ("tests/unit/score/test_seals.py",),
    ),
    Defect(
        "boards add up instead of being set",
        "services/score/projection/board_write.lua",
        "if #plain > 0 then changed = redis.call('ZADD', board, 'GT', 'CH', unpack(plain)) end",
        "for i = 1, #plain, 2 do redis.call('ZINCRBY', board, plain[i], plain[i + 1]); changed = changed + 1 end",
        (WORKER, "-k", "outdated_fold"),
    ),
    Defect(
        "a lowered player is not fenced",
        "services/score/projection/board_write.lua",
        "if #raised > 0 and redis.call('EXISTS', fence) == 1 then",
        "if false then",
        ("tests/system/counting/test_score_boards.py",),
    ),
    Defect(
        "a fold may be written over a newer one",
        "services/score/ledger/documents.py",
        'has_revision = {"$eq": ["$revision", revision]}',
        "has_revision = True",
        (WORKER,),
    ),
    Defect(
        "an event that was already counted does not update boards",
        "services/score/ingest/worker.py",
        "            await self._project(events, folds, counted, batch)\n",
        "            await self._project(uncounted, folds, counted, batch)\n",
        (WORKER, "-k", "counted_before"),
    ),
    Defect(
        "an unknown outcome is taken for success",
        "services/score/ingest/worker.py",
        '                _log.warning("store unavailable, retrying"',
        '                return None\n                _log.warning("store unavailable, retrying"',
        (RECOVERY, "-k", "unknown_outcome"),
    ),
    Defect(
        "the outbox is not swept",
        "services/runtime/outbox/publishing.py",
        "        self.publish(*await self._store.lease_unpublished(now, now + self.lease, self.recorded_on))\n",
        "",
        (CRASHES, "-k", "outbox-write"),
    ),
    Defect(
        "a rebuild forgets concurrent events",
        "services/score/projection/rebuild.py",
        "            since = await self._folds.oldest_unflushed()\n",
        "            since = await self._folds.oldest_unflushed() + 10**9\n",
        (RECOVERY, "-k", "redis"),
    ),
    Defect(
        "an event of former data counts without a record",
        "services/score/ingest/record_check.py",
        'if event.recorded_on not in ("", current)}',
        "if event.recorded_on == UNKNOWN_DATA}",
        (LOST_RECORDS,),
    ),
    Defect(
        "an event counts beside the same action sent again",
        "services/quiz/submissions/record_restoration.py",
        "        if await self._store.submission(payload.user_id, payload.action_id) is not None:\n",
        "        if False:\n",
        (RESTORATION,),
    ),
    Defect(
        "what was counted twice is not taken back",
        "services/quiz/submissions/record_restoration.py",
        "                await self._correct(event, -delta_of(event.payload))\n",
        "                pass\n",
        (RESTORATION,),
    ),
    Defect(
        "a restored attempt keeps the points that were counted for it",
        "services/quiz/submissions/record_restoration.py",
        "        if due != counted and await self._correct(event, due - counted, after.counted):\n",
        "        if False:\n",
        (RESTORATION,),
    ),
    Defect(
        "a player may have any number of streams of ranks",
        "services/leaderboard/watching/player_ranks.py",
        "        if self._held[caller] >= MAX_PER_PLAYER:\n",
        "        if False:\n",
        ("tests/system/streams/test_player_ranks.py", "-k", "share"),
    ),
    Defect(
        "health keeps a stream for every invented name",
        "services/runtime/grpc/health.py",
        "        if request.service not in self._names:\n",
        "        if False:\n",
        ("tests/unit/runtime/grpc/test_grpc_server.py", "-k", "invented"),
    ),
    Defect(
        "every size of a board is kept as a last response",
        "edge/graphql/execution/last_responses.py",
        "MAX_SIZES: Final = 4\n",
        "MAX_SIZES: Final = 4000\n",
        ("tests/unit/edge/graphql/test_last_responses.py",),
    ),
    Defect(
        "a blocked player stays on boards",
        "services/score/projection/standings.py",
        "            points = 0 if hidden else int32(total.points)\n",
        "            points = int32(total.points)\n",
        ("tests/unit/score/test_standings.py",),
    ),
    Defect(
        "a row is inserted on a row that is gone",
        "services/score/ingest/worker.py",
        "require_last_rows((folds[user_id] for user_id in players), basis)",
        "require_last_rows((), basis)",
        (REPLACED, "-k", "rows_that_are_gone"),
    ),
    Defect(
        "a write does not name the collection that was read",
        "services/runtime/stores/same_data.py",
        '{"collectionUUID": identity.collections[name]} if name in identity.collections else {}',
        "{}",
        (REPLACED, "-k", "swapped"),
    ),
    Defect(
        "rows that an older server took stay",
        "services/score/ledger/folds/cache.py",
        "        if self._store.identity.primary == basis.identity.primary:\n",
        "        if True:\n",
        (REPLACED, "-k", "row_that_an_older_server"),
    ),
    Defect(
        "an attempt that an older server took stays",
        "services/quiz/submissions/store.py",
        "            if self._same_data.identity.primary != now.primary:\n",
        "            if False:\n",
        (REPLACED, "-k", "attempt_that_is_sent_again"),
    ),
    Defect(
        "an incarnation that comes back is no change",
        "services/runtime/stores/incarnation.py",
        "        if now.mark < known.mark:",
        "        if now.id == known.id and now.mark < known.mark:",
        ("tests/unit/runtime/stores/test_incarnation.py",),
    ),
    Defect(
        "the stream is created only at the start of quiz",
        "services/quiz/__main__.py",
        '            Periodic("stream", publisher.keep, every=KEEP_STREAM, at_rest=5, retry_on=(NatsError, TimeoutError)),\n',
        "",
        ("tests/system/recovery/test_replaced_stores.py", "-k", "lost_stream_held"),
    ),
    Defect(
        "a worker closes periods by its own clock",
        "services/score/coordination_store.py",
        '        time: datetime = (await self._meta.database.command("hello"))["localTime"]\n'
        "        return time.replace(tzinfo=UTC)\n",
        "        return datetime.fromtimestamp(__import__('time').time(), UTC)\n",
        (CLOSING, "-k", "day_ahead"),
    ),
    Defect(
        "a process ends attempts, rooms, guests and sanctions by its own clock",
        "services/runtime/stores/mongo_clock.py",
        "        seconds = self._wall() if self._ahead is None else self._monotonic() + self._ahead\n",
        "        seconds = self._wall()\n",
        ("tests/system/recovery/test_wrong_clocks.py",),
    ),
    Defect(
        "texts stay as the device composed them",
        "services/runtime/grpc/requests.py",
        'canonical_id if name == "ids" or name.endswith(("_id", "_ids")) else composed',
        "canonical_id",
        ("tests/unit/runtime/grpc/test_requests.py", "-k", "composed"),
    ),
    Defect(
        "a late refusal ends a newer session of the client",
        "edge/web/client/session.js",
        "    if (before === this.#changes) this.#set(user);\n",
        "    this.#set(user);\n",
        ("tests/browser/test_client_package.py", "-k", "comes_late"),
    ),
    Defect(
        "a period closes although the stream that had its events was lost",
        "services/score/periods/closing.py",
        "        if reconciled.stream and (reconciled.incarnation, reconciled.stream) != data:\n            return False\n",
        "",
        (CLOSING, "-k", "no_former_one"),
    ),
    Defect(
        "the sequence of a lost stream holds back the closing",
        "services/score/periods/closing.py",
        "(self._published.ended, self._published.data) != (ended, data)",
        "self._published.ended != ended",
        (CLOSING, "-k", "no_former_one"),
    ),
    Defect(
        "a player who was blocked when a period closed stays off it",
        "services/score/periods/resealing.py",
        "is_shown = member in former.values if fold.erased else not fold.hidden",
        "is_shown = member in former.values",
        (CLOSING, "-k", "became_known"),
    ),
    Defect(
        "a response promises what a closed period does not get",
        "services/score/service.py",
        "        return milliseconds_of(period.ends_at) > self._placement.agreement.closed_through\n",
        "        return True\n",
        ("tests/system/counting/test_score_rpc.py", "-k", "effect_of_an_event"),
    ),
    Defect(
        "events that wait uncounted are no finding",
        "services/diagnosis/checks.py",
        "wrong=uncounted > MAX_LAG_SECONDS",
        "wrong=False",
        ("tests/unit/cli/test_causes_of_waiting.py", "-k", "more_than_a_minute"),
    ),
    Defect(
        "a resealed board counts what came after its archiving",
        "services/score/periods/resealing.py",
        "            period = definition.counted_until_archived(period)\n",
        "            period = Period(definition.archived_at - timedelta(days=400), self._now() + timedelta(days=1))\n",
        ("tests/system/boards/test_archived_boards.py", "-k", "known_later"),
    ),
    Defect(
        "a frozen board is read as it is",
        "services/leaderboard/reading/boards.py",
        "await self._read_live(source, ",
        "await self._read_live(board, ",
        (FROZEN, "-k", "never_go_backwards"),
    ),
    Defect(
        "what happens after a freeze is in the standings of the freeze",
        "services/boards/periods/calendar.py",
        "return period is not None and at < milliseconds_of(stops_at(period, self.stops_before))",
        "return period is not None",
        (FROZEN, "-k", "from_the_ledger"),
    ),
    Defect(
        "a board that is being filled passes for whole",
        "services/leaderboard/reading/boards.py",
        'is_partial = counted is not None and counted.state == "building"',
        "is_partial = False",
        ("tests/system/boards/test_boards_being_filled.py", "-k", "on_every_path"),
    ),
    Defect(
        "the stream of a period ends with a board that lacks players",
        "services/leaderboard/watching/watch.py",
        "self.is_closed = self._reads_last_frame and not reading.frame.stale",
        "self.is_closed = self._reads_last_frame",
        ("tests/unit/leaderboard/test_watch.py", "-k", "not_over"),
    ),
    Defect(
        "tags are not in the hash of a row",
        "services/score/ledger/rows.py",
        "    if not fields[_TAGS]:\n        del fields[_TAGS]\n",
        "    del fields[_TAGS]\n",
        ("tests/unit/score/test_counters.py", "-k", "tags"),
    ),
    Defect(
        "a void acts under no tag",
        "services/quiz/amendments/moderation.py",
        "                tags=submission.tags,\n",
        "",
        ("tests/system/boards/test_boards_as_data.py", "-k", "of_a_tag"),
    ),
    Defect(
        "a page begins where that of another player ended",
        "services/runtime/page_tokens.py",
        '    return f"{listing} {hashlib',
        '    return listing or f"{listing} {hashlib',
        ("tests/unit/quiz/rooms/test_room_results.py", "-k", "each_question"),
    ),
    Defect(
        "a process stays with a driver that failed by itself",
        "services/runtime/stores/watch.py",
        "    except RuntimeError:\n        raise\n",
        "",
        ("tests/unit/runtime/stores/test_store_watch.py", "-k", "ends_the_process"),
    ),
    Defect(
        "a dead letter is dropped",
        "services/score/ingest/consumers.py",
        "                await self._store_dead_letter(delivery, part, number, str(error)[:500])\n",
        "                pass\n",
        (SERVICE, "-k", "poison"),
    ),
)
