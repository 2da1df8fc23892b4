"""The public API with its calls counted, and those traced that come with a trace."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping

from google.protobuf.message import Message

from tandem.core import trace
from tandem.core.errors import Rejected
from tandem.core.ports.entropy import Entropy
from tandem.core.trace import TRACEPARENT
from tandem.runtime.auth import Credentials
from tandem.runtime.interceptors import Api, Call, Report
from tandem.runtime.limits import ApiLimits
from tandem.runtime.methods import Method
from tandem.runtime.telemetry import names
from tandem.runtime.telemetry.clock import Nanoseconds
from tandem.runtime.telemetry.shards import Instruments

OK = "OK"


class WatchedApi(Api):
    """An `Api` that tells what it is asked. A client's `traceparent` is taken where traces are
    made, and then its call, and what is decided for it, are spans of the client's trace."""

    def __init__(
        self,
        credentials: Credentials,
        entropy: Entropy,
        report: Report,
        instruments: Instruments,
        limits: ApiLimits | None = None,
    ) -> None:
        super().__init__(credentials, entropy, report, limits)
        self._tokens = entropy.token
        self._instruments = instruments
        self._now = instruments.clock.monotonic_s
        self._unix = Nanoseconds(instruments.clock)

    async def unary(self, method: Method, request: Message, metadata: Mapping[str, str]) -> tuple[Message, Call]:
        """See `Api`."""
        given, metadata, ended = self._begun(method, metadata)
        try:
            answer = await super().unary(method, request, metadata)
        except Rejected as error:
            ended(error.reason.code.name, given)
            raise
        ended(OK, given)
        return answer

    async def stream(
        self, method: Method, request: Message, metadata: Mapping[str, str]
    ) -> tuple[AsyncGenerator[Message, None], Call]:
        """See `Api`. A stream is over for us when it has begun."""
        given, metadata, ended = self._begun(method, metadata)
        try:
            begun = await super().stream(method, request, metadata)
        except Rejected as error:
            ended(error.reason.code.name, given)
            raise
        ended(OK, given)
        return begun

    def _begun(
        self, method: Method, metadata: Mapping[str, str]
    ) -> tuple[str, Mapping[str, str], Callable[[str, str], None]]:
        """(the client's trace, the metadata with the call's own instead, what to call at the end)."""
        begun_s, spans = self._now(), self._instruments.spans
        sent = metadata.get(TRACEPARENT, "")
        given = trace.taken(sent) if sent and spans is not None else ""
        own = trace.child(given, f"api/{self._tokens(10)}") if given else ""
        begun_ns = self._unix.now() if given else 0

        def ended(code: str, parent: str) -> None:
            meters = self._instruments.meters
            meters.count(names.API_REQUESTS, method.full_name, code)
            meters.histogram(names.API_SECONDS, method.full_name).observe(self._now() - begun_s)
            if parent and spans is not None:
                attributes = {"rpc.method": method.full_name, "rpc.grpc.status_code": code}
                failed = code == "INTERNAL"
                now_ns = self._unix.now()
                spans.add(names.API_SPAN, own, parent, begun_ns, now_ns, attributes, failed=failed, server=True)

        return given, {**metadata, TRACEPARENT: own} if sent else metadata, ended
