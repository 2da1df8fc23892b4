"""Agents' phones: from `Originate` to an answered leg, within the ring limit."""

from __future__ import annotations

import math
import re

from tandem.core.ports.media import By, Cause, LegAnswered, LegEnded, LegRinging, Originate
from tandem.core.seal import Private, Secret
from tandem.media.builtin.board import Board, media_ms
from tandem.media.builtin.leg import Leg, Stage
from tandem.media.builtin.registrations import Registrations
from tandem.media.builtin.stream import Session
from tandem.wire.sdp import SdpError
from tandem.wire.sip.events import CallAnswered, CallProgress
from tandem.wire.sip.layer import bracketed
from tandem.wire.sip.registrar import Binding
from tandem.wire.sip.uri import NameAddr, Uri

OFFER_HEADER = "X-Tandem-Offer"
_USER = re.compile(r"[A-Za-z0-9+*#._-]{1,64}")
_OFFER = re.compile(r"[\x21-\x7e]{0,200}")


class Devices:
    """Rings registered devices. Answer and time-out meet here, in one order."""

    def __init__(self, board: Board, registrations: Registrations) -> None:
        self._board = board
        self._registrations = registrations

    def originate(self, tenant: str, id: str, key: str, verb: Originate, now: float) -> None:
        """Ring a device; the leg exists from here on, or ends at once."""
        board = self._board
        if id in board.legs:
            board.settle(tenant, id, key, now, "LEG_EXISTS")
            return
        listed = board.directory.devices.get(verb.device) if board.directory is not None else None
        binding = self._registrations.find(verb.device, tenant, now)
        if listed is None or binding is None:
            self.stillborn(tenant, id, key, Cause.UNREACHABLE, "no registration", now)
            return
        port = board.ports.open()
        if port is None:
            self.stillborn(tenant, id, key, Cause.REFUSED, "no RTP port", now)
            return
        leg = Leg(
            id, tenant, listed.shard, Stage.CALLING, inbound=False, began=now, port=port,
            negotiation=board.negotiation(port), originate_key=key, ring_limit_s=verb.ring_timeout_ms / 1000,
        )  # fmt: skip
        board.add(leg)
        self._invite(leg, binding, verb, now)

    def stillborn(
        self, tenant: str, leg: str, key: str, cause: Cause, detail: str, now: float, reason: str = ""
    ) -> None:
        """It ends before anybody is called."""
        self._board.sink.emit(tenant, leg, LegEnded(cause, By.NODE, 0, detail), media_ms(now))
        self._board.settle(tenant, leg, key, now, reason or cause.value)

    def _invite(self, leg: Leg, binding: Binding, verb: Originate, now: float) -> None:
        board = self._board
        caller = _caller(verb.caller, board.config.host)
        headers = [("P-Asserted-Identity", str(caller))]
        # Should no life of this node follow, the phone stops by itself (RFC 3261, 13.3.1).
        valid_s = math.ceil(leg.ring_limit_s + board.config.unreachable_after_s)
        headers.append(("Expires", str(valid_s)))
        if _OFFER.fullmatch(verb.offer) and verb.offer:
            headers.append((OFFER_HEADER, verb.offer))
        assert leg.negotiation is not None
        call = board.endpoint.invite(
            binding.contact,
            leg.negotiation.offer(),
            now,
            caller=caller,
            destination=binding.address,
            headers=headers,
        )
        if call is None:
            board.end(leg, Cause.REFUSED, By.NODE, now, "too many calls")
            return
        board.bind_call(leg, call)
        # In the journal before it is on the wire: a later life must be able to take it back.
        board.note(leg)
        # Until it rings, the limit is that of being there at all: a phone that cannot be
        # reached is no agent who did not answer.
        board.timers.set("ring", leg.id, now + min(leg.ring_limit_s, board.config.unreachable_after_s))

    def progress(self, leg: Leg, event: CallProgress, now: float) -> None:
        """180 or 183: the ring limit begins with the first."""
        if leg.stage is not Stage.CALLING or leg.rang_since is not None:
            return
        leg.rang_since = now
        self._board.timers.set("ring", leg.id, now + leg.ring_limit_s)
        self._board.note(leg)
        self._board.emit(leg, LegRinging(), now)

    def answered(self, leg: Leg, event: CallAnswered, now: float) -> None:
        """The device was picked up."""
        board = self._board
        board.timers.cancel("ring", leg.id)
        leg.rang_until = now
        assert leg.negotiation is not None
        agreed = leg.negotiation.accept(event.answer) if event.answer is not None else None
        if agreed is None or isinstance(agreed, SdpError):
            board.note(leg)  # its INVITE is answered: a later life has to say BYE
            board.give_up(leg, Cause.NO_MEDIA, now, agreed.reason if agreed is not None else "no SDP in the answer")
            return
        leg.stage = Stage.UP
        board.talk(leg, Session.of(agreed), now)
        board.note(leg)
        board.emit(leg, LegAnswered(), now)
        key, leg.originate_key = leg.originate_key, None
        board.settle(leg.tenant, leg.id, key, now)

    def ring_limit(self, leg: Leg, now: float) -> None:
        """It rang long enough, or never began to."""
        if leg.rang_since is None:
            self._board.give_up(leg, Cause.UNREACHABLE, now, "the device did not ring")
        else:
            self._board.give_up(leg, Cause.NO_ANSWER, now, "ring limit")


def _caller(caller: Private, host: str) -> NameAddr:
    """Who the device shows. What is erased or unfit for a SIP header is anonymous."""
    text = caller.value.decode("utf-8", "replace") if isinstance(caller, Secret) else ""
    if not _USER.fullmatch(text):
        return NameAddr(Uri("anonymous.invalid", "anonymous"), "Anonymous")
    return NameAddr(Uri(bracketed(host), text.replace("#", "%23")), text)
