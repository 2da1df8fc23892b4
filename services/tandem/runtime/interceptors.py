"""The one way into every servicer, for gRPC and HTTP alike: who, may they, whose, how big.

    credential -> rate -> turn -> role -> tenant of the names -> servicer -> answer, or a reason

A name that is unknown, malformed or another tenant's is answered with the same words, so
that nobody learns what others have (pitfalls Y2). An exception that nobody foresaw is
answered with an id under which it was reported, never with its text.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message import Message

from tandem.core.access import CELL_TENANT, Principal, Role
from tandem.core.errors import BAD_FIELD, BODY_TOO_LARGE, INTERNAL, ROLE_REQUIRED, UNKNOWN_NAME, Code, Rejected
from tandem.core.ports.entropy import Entropy
from tandem.core.seal import fingerprint
from tandem.core.trace import TRACEPARENT, taken
from tandem.runtime.auth import Credentials
from tandem.runtime.host import Answer
from tandem.runtime.limits import ApiLimits, Headroom
from tandem.runtime.methods import BadMethod, Method, methods_of, value_at
from tandem.runtime.turnstile import Turnstile

MAX_BODY_BYTES = 1024 * 1024
"""Largest request; a flow of 200 steps has a tenth of it."""
MAX_REQUEST_ID = 128
AUTHORIZATION = "authorization"
POSITION = "tandem-position"
MIN_POSITION = "tandem-min-position"

HOLD_BACK_S = 0.25
"""How late a request above its rate is refused."""
MAX_HELD_BACK = 1000
"""Refusals held back; above it they are answered at once. A few MB."""
STRANGERS = ""
"""Whose turn it is among tenants when a request has no valid credential."""

PRIVATE_FIELDS = ("tandem.api.tenant.v1.Agent.sip_password", "tandem.api.tenant.v1.Agent.display_name")
"""Fields of requests whose values are sealed in the log."""

Report = Callable[[str, BaseException], None]
T = TypeVar("T")


@dataclass(slots=True)
class Call:
    """What a servicer knows of a call beside its request. `tenant` is the credential's, or
    for the platform role the one that the request names."""

    method: Method
    principal: Principal
    tenant: str
    request_id: str = ""
    digest: str = ""
    min_position: str = ""
    position: str = ""
    trace: str = ""

    @property
    def once(self) -> dict[str, Any]:
        """What makes a command exact: `await host.ask(tenant, stream, command, **call.once)`."""
        return {
            "request_id": self.request_id,
            "method": self.method.full_name,
            "principal": self.principal,
            "digest": self.digest,
            "trace": self.trace,
        }

    def answered(self, answer: Answer[Any]) -> Any:
        """The value of an answer; its position goes out with the reply."""
        self.position = answer.position
        return answer.value


class Api:
    """All public methods with their servicers.

    A servicer has one coroutine per method, `async def get_queue(request, call) -> Queue`.
    One that streams checks first and then returns its async iterator, so that what is
    wrong is an answer and no broken stream.
    """

    def __init__(
        self, credentials: Credentials, entropy: Entropy, report: Report, limits: ApiLimits | None = None
    ) -> None:
        self.credentials = credentials
        self._entropy = entropy
        self._report = report
        self._limits = limits
        self._turnstile = Turnstile()
        self._held_back = 0
        self.methods: dict[str, Method] = {}
        self._servicers: dict[str, Any] = {}

    def add(self, service: ServiceDescriptor, servicer: object) -> None:
        """Serve a service. Raises `BadMethod` if the servicer lacks a method."""
        for method in methods_of(service):
            handler = getattr(servicer, method.attribute, None)
            if handler is None:
                raise BadMethod(f"{type(servicer).__name__} has no {method.attribute}")
            self.methods[method.full_name] = method
            self._servicers[method.full_name] = handler

    async def enter(self, authorization: str | None, source: str) -> Headroom | None:
        """Let a request in, before anything is read for it: it is its turn, it has a credential,
        it is within its rates. `source` is the address that it comes from. Every front calls this
        first. What is left of the rate, None without limits. Raises `Rejected`."""
        try:
            principal = self.credentials.principal(authorization)
        except Rejected as error:
            await self._turnstile.pass_through(STRANGERS)  # an answer that refuses costs time, too
            if self._limits is not None and error.reason.code is Code.UNAUTHENTICATED:
                await self._within(lambda limits: limits.stranger(source))
            raise
        await self._turnstile.pass_through(principal.tenant)
        return await self._within(lambda limits: limits.admit(principal))

    async def _within(self, count: Callable[[ApiLimits], T]) -> T | None:
        """What `count` gives, None without limits. What it refuses is answered late: who asks again
        at once, over each of its connections, would else keep the loop busy with refusals."""
        if self._limits is None:
            return None
        try:
            return count(self._limits)
        except Rejected:
            if self._held_back < MAX_HELD_BACK:
                self._held_back += 1
                try:
                    await asyncio.sleep(HOLD_BACK_S * (1 + self._held_back % 8 / 8))  # not all come back together
                finally:
                    self._held_back -= 1
            raise

    async def breathe(self, call: Call) -> None:
        """For a front that has more to do for an answer than to send it: until the loop has
        looked for other work, and it is the tenant's turn again."""
        await self._turnstile.go_on(call.principal.tenant)

    async def unary(self, method: Method, request: Message, metadata: Mapping[str, str]) -> tuple[Message, Call]:
        """Answer a call. Raises `Rejected` and nothing else."""
        call = self._admit(method, request, metadata)
        try:
            return await self._servicers[method.full_name](request, call), call
        except Rejected as error:
            raise _uniform(error) from None
        except Exception as error:
            raise self._internal(method, error) from error

    async def stream(
        self, method: Method, request: Message, metadata: Mapping[str, str]
    ) -> tuple[AsyncGenerator[Message, None], Call]:
        """Begin a stream. Raises `Rejected` and nothing else, and so does the iterator."""
        call = self._admit(method, request, metadata)
        if self._limits is not None:
            self._limits.check_stream(call.principal.tenant)
        try:
            items = await self._servicers[method.full_name](request, call)
        except Rejected as error:
            raise _uniform(error) from None
        except Exception as error:
            raise self._internal(method, error) from error
        return self._guarded(method, items, call.principal.tenant), call

    async def _guarded(
        self, method: Method, items: AsyncIterator[Message], tenant: str
    ) -> AsyncGenerator[Message, None]:
        # Counted from here: an iterator that nobody begins to read is never ended either.
        if self._limits is not None:
            self._limits.opened(tenant)
        try:
            async for item in items:
                yield item
        except Rejected as error:
            raise _uniform(error) from None
        except Exception as error:
            raise self._internal(method, error) from error
        finally:
            if self._limits is not None:
                self._limits.closed(tenant)
            close = getattr(items, "aclose", None)
            if close is not None:
                await close()

    def _internal(self, method: Method, error: Exception) -> Rejected:
        id_ = self._entropy.token(10)
        self._report(f"{method.full_name} failed, id {id_}", error)
        return Rejected(INTERNAL, f"something went wrong here, id {id_}", id=id_)

    # ---------------------------------------------------------------- admission

    def _admit(self, method: Method, request: Any, metadata: Mapping[str, str]) -> Call:
        principal = self.credentials.principal(metadata.get(AUTHORIZATION))
        if principal.role not in method.roles:
            roles = ", ".join(role.value.lower() for role in method.roles)
            raise Rejected(ROLE_REQUIRED, f"this needs one of the roles {roles}", roles=roles)
        tenant = _tenant(method, request, principal)
        if request.ByteSize() > MAX_BODY_BYTES:
            raise too_large(MAX_BODY_BYTES)
        call = Call(method, principal, tenant, min_position=metadata.get(MIN_POSITION, ""))
        call.trace = taken(metadata.get(TRACEPARENT, ""))
        if method.repeatable:
            call.request_id = _request_id(request)
            call.digest = _digest(method, tenant, request)
        return call


def _clear_private(message: Any) -> None:
    for field, value in message.ListFields():
        if field.full_name in PRIVATE_FIELDS:
            message.ClearField(field.name)
        elif field.message_type is not None and not field.is_repeated:
            _clear_private(value)


def _uniform(error: Rejected) -> Rejected:
    return unknown_name() if error.reason is UNKNOWN_NAME else error


def unknown_name() -> Rejected:
    """The one answer to unknown, foreign and malformed names alike."""
    return Rejected(UNKNOWN_NAME, "there is no such resource")


def too_large(limit: int) -> Rejected:
    """The answer to a request over the limit."""
    return Rejected(BODY_TOO_LARGE, f"the request is over the limit of {limit} bytes", limit=str(limit))


def _tenant(method: Method, request: Message, principal: Principal) -> str:
    """The tenant that the call is about. Raises `Rejected` for names of another one."""
    tenant = principal.tenant
    for path, pattern in method.route.variables:
        name = value_at(request, path)
        of = name.split("/")[1] if pattern.fullmatch(name) else ""
        if not of or of == CELL_TENANT:
            raise unknown_name()
        if principal.role is Role.PLATFORM and method.for_platform:
            tenant = of
        elif of != principal.tenant:
            raise unknown_name()
    return tenant


def _request_id(request: Any) -> str:
    request_id: str = request.request_id
    if len(request_id) > MAX_REQUEST_ID or not request_id.isprintable():
        problem = f"at most {MAX_REQUEST_ID} printable characters"
        raise Rejected(BAD_FIELD, f"request_id: {problem}", request_id=problem)
    return request_id


def _digest(method: Method, tenant: str, request: Message) -> str:
    """SHA-256 of the canonical request, without its id and without what is private: the
    digest is stored in clear, and guesses at a short password could be tried on it."""
    rest = type(request)()
    rest.CopyFrom(request)
    rest.ClearField("request_id")
    _clear_private(rest)
    return fingerprint(method.full_name.encode(), tenant.encode(), rest.SerializeToString(deterministic=True))
