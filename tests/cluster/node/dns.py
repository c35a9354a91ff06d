"""The names of Services as a cluster's DNS has them: A records, for headless ones of their ready pods."""

from __future__ import annotations

import socketserver
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, Final

import dns.exception
import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset

from tests.cluster.api import Api, ApiError

DOMAIN: Final = "cluster.local"
TTL_SECONDS: Final = 5  # that of CoreDNS for Services
POLL_SECONDS: Final = 0.5
Names = dict[str, list[str]]


class Zone:
    """The names and addresses, as last read from the API server."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._names: Names = {}

    def read(self) -> None:
        """Read them again. Raises ApiError and OSError."""
        ready: defaultdict[str, list[str]] = defaultdict(list)
        for each in self._api.items("/apis/discovery.k8s.io/v1/endpointslices"):
            service = each["metadata"].get("labels", {}).get("kubernetes.io/service-name", "")
            for one in each.get("endpoints") or []:
                if one.get("conditions", {}).get("ready", True):
                    ready[_name(service, each)] += one["addresses"]
        self._names = {
            name: ready[name] if one["spec"].get("clusterIP") == "None" else one["spec"].get("clusterIPs", [])
            for one in self._api.items("/api/v1/services")
            for name in [_name(one["metadata"]["name"], one)]
        }

    def reply(self, wire: bytes) -> bytes:
        """The reply to a query. Raises DNSException for what is none."""
        query = dns.message.from_wire(wire)
        response = dns.message.make_response(query)
        response.flags |= dns.flags.AA | dns.flags.RA
        question = query.question[0]
        addresses = self._names.get(question.name.to_text().lower())
        if addresses is None:
            response.set_rcode(dns.rcode.NXDOMAIN)
        elif addresses and question.rdtype == dns.rdatatype.A:
            response.answer.append(dns.rrset.from_text_list(question.name, TTL_SECONDS, "IN", "A", addresses))
        return response.to_wire()


@contextmanager
def serving(api: Api, address: str) -> Iterator[None]:
    """Serve on port 53 of an address, by UDP and TCP."""
    zone, ended = Zone(api), threading.Event()

    def read() -> None:
        while not ended.wait(POLL_SECONDS):
            with suppress(ApiError, OSError):
                zone.read()

    class Datagram(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            wire, reply_to = self.request
            with suppress(dns.exception.DNSException):
                reply_to.sendto(zone.reply(wire), self.client_address)

    class Stream(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            while length := int.from_bytes(self.rfile.read(2), "big"):
                reply = zone.reply(self.rfile.read(length))
                self.wfile.write(len(reply).to_bytes(2, "big") + reply)

    servers: list[Any] = [
        socketserver.ThreadingUDPServer((address, 53), Datagram),
        socketserver.ThreadingTCPServer((address, 53), Stream),
    ]
    with ExitStack() as stack:
        for server in servers:
            stack.enter_context(server)
            server.daemon_threads = True
            stack.enter_context(_thread(server.serve_forever, server.shutdown))
        stack.enter_context(_thread(read, ended.set))
        yield


@contextmanager
def _thread(target: Any, end: Any) -> Iterator[None]:
    thread = threading.Thread(target=target, daemon=True)
    thread.start()
    try:
        yield
    finally:
        end()
        thread.join()


def _name(service: str, one: dict[str, Any]) -> str:
    return f"{service}.{one['metadata']['namespace']}.svc.{DOMAIN}."
