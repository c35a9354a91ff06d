"""Builds what answers calls: a servicer per contract, behind one server."""

from __future__ import annotations

from functools import partial

from topten.action.v1.action_service_pb2_grpc import add_ActionServiceServicer_to_server
from topten.attempt.v1.attempt_service_pb2_grpc import add_AttemptServiceServicer_to_server
from topten.authoring.v1.authoring_service_pb2_grpc import add_AuthoringServiceServicer_to_server
from topten.quiz.v1.quiz_service_pb2_grpc import add_QuizServiceServicer_to_server
from topten.room.v1.room_service_pb2_grpc import add_RoomServiceServicer_to_server

from services.quiz.action_types.reports import ActionReports
from services.quiz.action_types.rpc import ActionServicer
from services.quiz.action_types.service import ActionTypeService
from services.quiz.amendments.moderation import Moderation
from services.quiz.amendments.rejudging import Rejudging
from services.quiz.config import QuizConfig
from services.quiz.personal_data_store import PersonalDataStore
from services.quiz.rpc import QuizServicer
from services.quiz.submissions.record_restoration import RecordRestoration
from services.quiz.wiring.connections import Stores
from services.quiz.wiring.quizzes import Quizzes
from services.quiz.wiring.submissions import Submissions
from services.runtime.auth.verification import TokenVerifier
from services.runtime.grpc.server import GrpcServer


def build_server(
    config: QuizConfig, stores: Stores, submissions: Submissions, quizzes: Quizzes, verifier: TokenVerifier
) -> GrpcServer:
    """Return the server of all contracts of quiz; it listens once it is started."""
    cache, outbox, now = submissions.cache, submissions.outbox, stores.mongo.clock.now
    actions = ActionServicer(
        ActionTypeService(stores.action_types, now=now),
        ActionReports(submissions.service, submissions.confirmed),
        submissions.service,
        submissions.relay,
    )
    servicer = QuizServicer(
        quizzes.service,
        quizzes.authoring.authorship,
        submissions.service,
        submissions.confirmed,
        submissions.reviews,
        submissions.relay,
        Moderation(stores.submissions, cache, outbox, submissions.players, now=now),
        Rejudging(stores.submissions, cache, stores.deliveries, outbox, now=now),
        RecordRestoration(stores.submissions, cache, outbox, now=now),
        PersonalDataStore(stores.mongo.database),
        quizzes.rooms.personal_data,
        quizzes.attempts.service,
        quizzes.authoring.drafts,
        now,
    )
    return GrpcServer(
        config.grpc_address,
        [
            partial(add_QuizServiceServicer_to_server, servicer),
            partial(add_ActionServiceServicer_to_server, actions),
            partial(add_RoomServiceServicer_to_server, quizzes.rooms.servicer),
            partial(add_AttemptServiceServicer_to_server, quizzes.attempts.servicer),
            partial(add_AuthoringServiceServicer_to_server, quizzes.authoring.servicer),
        ],
        verifier=verifier,
        tls=config.tls,
        max_calls=config.process.max_calls,
        max_connection_age=config.grpc.connection_age,
        reflection=not config.process.production,
    )
