"""An incoming call that is not answered yet (RFC 3261 sections 9.2, 13.3)."""

from __future__ import annotations

from tandem.wire.sip.authorisation import Authorisation
from tandem.wire.sip.calls import Calls
from tandem.wire.sip.dialog import dialog_of_server
from tandem.wire.sip.events import Address, CallArrived, CallEnded, EndCause
from tandem.wire.sip.headers import Headers
from tandem.wire.sip.layer import ALLOW, HeaderPairs, Server
from tandem.wire.sip.message import Request, Response
from tandem.wire.sip.reason import Reason, find_reason
from tandem.wire.sip.session import Session, answer_info


class IncomingCall:
    """From the INVITE to our final response."""

    def __init__(self, calls: Calls, server: Server, handle: str, source: Address) -> None:
        self.handle = handle
        self._calls = calls
        self._layer = calls.layer
        self._server = server
        server.owner = self
        self._invite = server.transaction.request
        self.dialog = dialog_of_server(self._invite, handle, source)
        self._progress: Response | None = None
        self._progress_at: float | None = None
        calls.put(handle, self)
        calls.enter_dialog(self.dialog, self)
        self._layer.emit(CallArrived(handle, self._invite, source, self._invite.body or None))

    # -- commands

    def ring(self, status: int, sdp: bytes | None, now: float) -> bool:
        """A provisional response, sent again every minute."""
        self._progress = self._respond(status, now, headers=(self._layer.contact(), ALLOW), body=sdp or b"")
        self._progress_at = now + self._layer.config.progress_interval_s
        self._layer.arm(self)
        return True

    def answer(self, sdp: bytes, headers: HeaderPairs, now: float) -> bool:
        """200; the call goes on as a session."""
        session = Session(self._calls, self.dialog, Authorisation(None, self._layer.token))
        session.confirm(self._server, sdp, headers, now)
        self._stop()
        self._calls.put(self.handle, session)
        self._calls.enter_dialog(self.dialog, session)
        return True

    def reject(self, status: int, text: str | None, headers: HeaderPairs, now: float) -> bool:
        """A final failure."""
        self._respond(status, now, text=text, headers=headers)
        self._end(CallEnded(self.handle, EndCause.REJECTED, status))
        return True

    def hangup(self, now: float, reason: Reason | None) -> bool:
        """480: the nearest thing to a hang-up."""
        self._respond(480, now, headers=(reason.header(),) if reason else ())
        self._end(CallEnded(self.handle, EndCause.LOCAL_HANGUP, 480))
        return True

    # -- from the caller

    def on_cancel(self, server: Server, cancel: Request, now: float) -> None:
        """487 to the INVITE."""
        self._cancelled(cancel.headers, now)

    def on_request(self, request: Request, source: Address, now: float) -> None:
        """A request in the early dialog."""
        dialog = self.dialog.received(request)
        if dialog is None:
            self._layer.reply_stateless(request, 500)
            return
        if request.method == "INVITE":
            self._layer.reply_stateless(request, 500, [("Retry-After", "1")])  # 14.2: the first is not answered yet
            return
        self.dialog = dialog
        if request.method == "BYE":
            server = self._layer.serve(request, now)
            server.respond(self._layer.response(request, 200, tag=self.handle), now)
            self._cancelled(request.headers, now)
        else:
            answer_info(self._layer, self.handle, request, now)

    def on_ack(self, request: Request, now: float) -> None:
        """Nothing was answered, so there is nothing to acknowledge."""

    # -- time

    def next_wakeup(self) -> float | None:
        """When the provisional response goes out again."""
        return self._progress_at

    def wake(self, now: float) -> None:
        """Keep the proxies on the way from giving up (13.3.1.1)."""
        if self._progress is None:
            return
        self._server.respond(self._progress, now)
        self._progress_at = now + self._layer.config.progress_interval_s
        self._layer.arm(self)

    # -- inner

    def _respond(
        self, status: int, now: float, *, text: str | None = None, headers: HeaderPairs = (), body: bytes = b""
    ) -> Response:
        routes = [("Record-Route", value) for value in self._invite.headers.all("Record-Route")] if status < 300 else []
        response = self._layer.response(
            self._invite, status, tag=self.handle, text=text, headers=(*routes, *headers), body=body
        )
        self._server.respond(response, now)
        return response

    def _cancelled(self, headers: Headers, now: float) -> None:
        self._respond(487, now)
        self._end(CallEnded(self.handle, EndCause.CANCELLED, 487, find_reason(headers), headers))

    def _end(self, event: CallEnded) -> None:
        self._stop()
        self._calls.forget_handle(self.handle)
        self._calls.forget_dialog(self.dialog)
        self._layer.emit(event)

    def _stop(self) -> None:
        self._server.owner = None
        self._progress = None
        self._progress_at = None
        self._layer.timers.disarm(self)
