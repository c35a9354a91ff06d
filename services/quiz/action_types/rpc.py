"""gRPC of action types and their actions: request → service → response."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
from topten.action.v1 import action_pb2, action_service_pb2_grpc
from topten.action.v1 import action_service_pb2 as messages
from topten.score.v1.confirmation_pb2 import COUNTED

from services.quiz.action_types.reports import RELAYED_REPORTS, ActionReports
from services.quiz.action_types.service import ActionTypeService
from services.quiz.relay import Relay
from services.quiz.submissions.service import SubmissionService
from services.runtime.grpc.call_context import caller

Context = grpc.aio.ServicerContext[Any, Any]


class ActionServicer(action_service_pb2_grpc.ActionServiceServicer):
    """The methods of `topten.action.v1.ActionService`. Writes are shielded from cancellation."""

    def __init__(
        self,
        action_types: ActionTypeService,
        reports: ActionReports,
        submissions: SubmissionService,
        relay: Relay,
    ) -> None:
        self._action_types = action_types
        self._reports = reports
        self._submissions = submissions
        self._relay = relay

    async def PutActionType(
        self, request: messages.PutActionTypeRequest, context: Context
    ) -> messages.PutActionTypeResponse:
        """See action_service.proto."""
        putting = self._action_types.put(request.action_type, actor=caller().user_id)
        version, changed = await asyncio.shield(putting)
        return messages.PutActionTypeResponse(version=version, changed=changed)

    async def GetActionType(
        self, request: messages.GetActionTypeRequest, context: Context
    ) -> messages.GetActionTypeResponse:
        """See action_service.proto."""
        versions = await self._action_types.versions(request.action_type_id)
        response = messages.GetActionTypeResponse(action_type=versions[0].definition, version=versions[0].version)
        for each in versions:
            version = action_pb2.ActionTypeVersion(version=each.version, action_type=each.definition, actor=each.actor)
            version.stored_at.FromDatetime(each.stored_at)
            response.versions.append(version)
        return response

    async def ListActionTypes(
        self, request: messages.ListActionTypesRequest, context: Context
    ) -> messages.ListActionTypesResponse:
        """See action_service.proto."""
        page = await self._action_types.page(request.page_size, request.page_token)
        return messages.ListActionTypesResponse(
            action_types=page.action_types,
            cursors=page.cursors,
            next_page_token=page.cursors[-1] if page.has_more else "",
        )

    async def ArchiveActionType(
        self, request: messages.ArchiveActionTypeRequest, context: Context
    ) -> messages.ArchiveActionTypeResponse:
        """See action_service.proto."""
        archiving = self._action_types.archive(request.action_type_id, actor=caller().user_id)
        version, changed = await asyncio.shield(archiving)
        return messages.ArchiveActionTypeResponse(version=version, changed=changed)

    async def SubmitActions(
        self, request: messages.SubmitActionsRequest, context: Context
    ) -> messages.SubmitActionsResponse:
        """See action_service.proto."""
        boards = request.boards if request.wait == COUNTED else None
        results = await self._reports.submit(request.actions, request.client, caller(), boards=boards)
        return messages.SubmitActionsResponse(results=results)

    async def SubmitActionGroup(
        self, request: messages.SubmitActionGroupRequest, context: Context
    ) -> messages.SubmitActionGroupResponse:
        """See action_service.proto."""
        results = await asyncio.shield(
            self._relay.submit(request.actions, RELAYED_REPORTS, self._submissions.submit_actions)
        )
        return messages.SubmitActionGroupResponse(results=results)
