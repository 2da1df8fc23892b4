"""Agents' phones: registered, rung within the ring limit, answered or not."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from tandem.core.ports.media import (
    By,
    Cause,
    Command,
    DeviceRegistered,
    DeviceUnregistered,
    DirectoryDevice,
    LegAnswered,
    LegEarlyMedia,
    LegEnded,
    LegRinging,
    Originate,
)
from tandem.core.seal import Private, Secret
from tandem.media.backend import RowKind
from tandem.media.freeswitch.board import Board, media_ms
from tandem.media.freeswitch.causes import NO_CHANNEL, cause_of, why_of
from tandem.media.freeswitch.ids import channel_of, channel_of_device, token_of
from tandem.media.freeswitch.keeping import REALM, USER, Keeping
from tandem.media.freeswitch.leg import LEG, SHARD, TENANT, Leg, Stage
from tandem.media.freeswitch.places import Lately, Places, needs
from tandem.media.freeswitch.referrals import CONTEXT
from tandem.wire import esl

OFFER_HEADER = "X-Tandem-Offer"
_OFFER = re.compile(r"[A-Za-z0-9/._~:@+=-]{0,200}")
_NAME = re.compile(r"[A-Za-z0-9/._~-]{1,200}")
"""A name that may stand in a list of variables."""


class Devices:
    """Rings registered devices. Answer and time-out meet in FreeSWITCH, in one order."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self.accounts = Keeping(board)
        self._places = Places()
        self._lately = Lately(board.config.list_lag_s)

    # ------------------------------------------------------------------ registrations

    def register(self, user: str, call: str, contact: str, now: float) -> None:
        """A phone registered, or refreshed: at whatever name of ours, for its user is one in the cell."""
        if self._listed(user) is not None:
            self._lately.told(user, call, contact, now)
            self._places.add(user, call, contact)
            self._is_there(user, now)

    def _is_there(self, user: str, now: float) -> None:
        entry = self._listed(user)
        if entry is None or user in self._board.registered:
            return
        self._board.registered[user] = entry.tenant
        self._board.sink.remember(RowKind.REGISTRATION, user, {"tenant": entry.tenant})
        self._board.sink.emit(entry.tenant, "", DeviceRegistered(user), media_ms(now))

    def unregister(self, user: str, call: str, now: float) -> None:
        """A phone's registration ended; it may have others."""
        if self._listed(user) is not None:
            self._lately.told(user, call, None, now)
        if self._places.remove(user, call):
            self._is_gone(user, now)

    def _is_gone(self, user: str, now: float) -> None:
        self._places.forget(user)
        tenant = self._board.registered.pop(user, None)
        if tenant is not None:
            self._board.sink.emit(tenant, "", DeviceUnregistered(user), media_ms(now))
            self._board.sink.remember(RowKind.REGISTRATION, user, None)

    def directory(self, now: float) -> None:
        """Devices of entries that are gone are unregistered."""
        for user, tenant in list(self._board.registered.items()):
            entry = self._listed(user)
            if entry is None or entry.tenant != tenant:
                self._is_gone(user, now)

    def list_is(self, rows: list[tuple[str, str, str]], now: float) -> None:
        """All that FreeSWITCH had registered a moment ago: user, Call-ID, contact."""
        rows = [row for row in self._lately.over(rows, now) if self._listed(row[0]) is not None]
        users = dict.fromkeys(user for user, _, _ in rows)
        for user in [user for user in self._board.registered if user not in users]:
            self._look_up(user, now)
        self._places.replace(rows)
        for user in users:
            self._is_there(user, now)
        self.accounts.keep(self._board.registered)

    def _look_up(self, user: str, now: float) -> None:
        """Ask the one place that is written when a phone registers: an event of it may have come to an agent that died
        since, and the list is written later."""
        entry = self._listed(user)
        if entry is None or not (USER.fullmatch(user) and REALM.fullmatch(entry.realm)):
            self._is_gone(user, now)
            return

        def found(reply: esl.Reply | esl.ApiReply, now: float) -> None:
            if not (isinstance(reply, esl.ApiReply) and reply.text.startswith("sofia/")):
                self._is_gone(user, now)

        self._board.api(f"sofia_contact {self._board.config.contact.format(user=user, realm=entry.realm)}", found)

    def _listed(self, user: str) -> DirectoryDevice | None:
        return self._board.directory.devices.get(user) if self._board.directory is not None else None

    # ------------------------------------------------------------------ ringing

    def originate(self, command: Command, verb: Originate, now: float) -> None:
        """Ring a device; the leg exists from here on, or ends at once."""
        if not self.can_begin(command, now):
            return
        entry = self._listed(verb.device)
        here = verb.device in self._board.registered or self._board.config.behind_door
        if entry is None or entry.tenant != command.tenant or not here:
            self.stillborn(command, Cause.UNREACHABLE, "no registration", now)
        elif not (USER.fullmatch(verb.device) and REALM.fullmatch(entry.realm)):
            self.stillborn(command, Cause.FAILED, "a name that cannot be dialled", now)
        else:
            self._ring(command, verb, entry, now)

    def can_begin(self, command: Command, now: float) -> bool:
        """Whether its leg can be made, whoever is called; an order whose leg cannot has ended."""
        board = self._board
        if command.leg in board.legs:
            board.settle(command.tenant, command.leg, command.key, now, "LEG_EXISTS")
        elif not board.calls_out:
            self.stillborn(command, Cause.REFUSED, "no connection to the switch", now)
        elif not _NAME.fullmatch(command.leg):
            self.stillborn(command, Cause.FAILED, "a name that cannot be dialled", now)
        else:
            return True
        return False

    def stillborn(self, command: Command, cause: Cause, detail: str, now: float, reason: str = "") -> None:
        """It ends before anybody is called."""
        board = self._board
        board.sink.emit(command.tenant, command.leg, LegEnded(cause, By.NODE, 0, detail), media_ms(now))
        board.settle(command.tenant, command.leg, command.key, now, reason or cause.value)

    def _ring(self, command: Command, verb: Originate, entry: DirectoryDevice, now: float) -> None:
        board = self._board
        leg = begun(command, verb, entry.shard)
        caller = _caller(verb.caller)
        variables = leg_variables(leg, board, caller, board.config.ring_margin_s) | {
            "ignore_early_media": "true",
            "sip_cid_type": "pid",
        }
        if verb.offer and _OFFER.fullmatch(verb.offer):
            variables[f"sip_h_{OFFER_HEADER}"] = verb.offer
        # Until it rings, the limit is that of being there at all: a phone that cannot be
        # reached is no agent who did not answer.
        there_s = min(leg.ring_limit_s, board.config.unreachable_after_s)
        places = self._places.of(verb.device) or [self._elsewhere(verb.device, entry.realm)]
        if len(places) == 1:
            self.call(command, leg, places[0], variables | needs(places[0], board.config.phones_srtp), there_s, now)
            return
        leg.rings = [
            leg.channel,
            *(channel_of_device(leg.tenant, command.key, f"{verb.device}@{place}") for place in range(1, len(places))),
        ]
        del variables["origination_uuid"]
        # Who declines at one place declines.
        variables["fail_on_single_reject"] = "CALL_REJECTED"
        dialled = ",".join(
            f"[{_words({'origination_uuid': channel} | needs(place, board.config.phones_srtp))}]{place}"
            for channel, place in zip(leg.rings, places, strict=True)
        )
        self.call(command, leg, dialled, variables, there_s, now)

    def _elsewhere(self, user: str, realm: str) -> str:
        config = self._board.config
        if config.behind_door and user not in self._board.registered:
            return config.dial_by_door.format(user=user, door=config.door)
        return config.dial.format(user=user, realm=realm)

    def call(
        self, command: Command, leg: Leg, dialled: str, variables: Mapping[str, str], there_s: float, now: float
    ) -> None:
        """Have the switch call. `there_s`: how long nothing may be heard of the called side."""
        board = self._board
        board.add(leg)
        board.note(leg)

        def over(result: str, now: float) -> None:
            # Without a channel, as for a phone that is not registered, this is all that is told.
            if not result.startswith("+OK") and leg.id in board.legs:
                self._refused(leg, result.removeprefix("-ERR ").strip(), now)

        line = f"originate {{{_words(variables)}}}{dialled} &park()"
        board.job(line, token_of(command.tenant, command.key), over)
        board.timers.set("ring", leg.id, now + there_s)

    def _refused(self, leg: Leg, name: str, now: float) -> None:
        if leg.hanging_up is None:
            leg.hanging_up, leg.by_node, leg.why = cause_of(name), True, why_of(name) if leg.gateway else ""
        if leg.gateway and name in NO_CHANNEL:
            self._board.end(leg, cause_of(name), By.NODE, now, name)
        else:
            self._board.await_end(leg, now)

    def progress(self, leg: Leg, at_us: int, now: float) -> None:
        """180 or 183: the ring limit begins with the first."""
        if leg.stage is not Stage.CALLING or leg.rang_at_us:
            return
        leg.rang_at_us = at_us or 1
        self._board.note(leg)
        if leg.hanging_up is None:
            self._board.timers.set("ring", leg.id, now + leg.ring_limit_s)
        self._board.emit(leg, LegRinging(), now)

    def early(self, leg: Leg, event: esl.Event, now: float) -> None:
        """Audio comes from a number that has not answered."""
        if leg.stage is Stage.CALLING and leg.gateway and not leg.early and event.get("Answer-State") == "early":
            leg.early = True
            self._board.note(leg)
            self._board.emit(leg, LegEarlyMedia(), now)

    def answered(self, leg: Leg, at_us: int, now: float) -> None:
        """The device was picked up. Commands wait until FreeSWITCH has it parked."""
        if leg.stage is not Stage.CALLING:
            return
        self._board.timers.cancel("ring", leg.id)
        leg.stage = Stage.UP
        self.rang_until(leg, at_us)
        self._board.note(leg)
        self._board.emit(leg, LegAnswered(), now)
        key, leg.originate_key = leg.originate_key, None
        self._board.settle(leg.tenant, leg.id, key, now)
        self._board.stir(leg)

    def rang_until(self, leg: Leg, at_us: int) -> None:
        """How long it rang, by the switch's clock; never less than nothing, should that be set back."""
        if leg.rang_at_us > 1 and not leg.rang_ms:
            leg.rang_ms = max(0, (at_us - leg.rang_at_us) // 1000)

    def ring_limit(self, leg: Leg) -> None:
        """It rang long enough, or never began to."""
        self._board.kill(leg, Cause.NO_ANSWER, by_node=True)


def begun(command: Command, verb: Originate, shard: int) -> Leg:
    """The leg of an order to call."""
    return Leg(
        command.leg, command.tenant, shard, channel_of(command.tenant, command.key, verb), inbound=False,
        stage=Stage.CALLING, parked=False, taken=True, originate_key=command.key,
        ring_limit_s=verb.ring_timeout_ms / 1000, gateway=verb.gateway,
    )  # fmt: skip


def _words(variables: Mapping[str, str]) -> str:
    return ",".join(f"{name}={value}" for name, value in variables.items())


def leg_variables(leg: Leg, board: Board, caller: str, more_s: float) -> dict[str, str]:
    """Channel variables of every leg that the node makes. `more_s`: what FreeSWITCH's own limit has above ours."""
    variables = {
        "origination_uuid": leg.channel,
        "origination_caller_id_number": caller,
        "origination_caller_id_name": caller,
        "originate_timeout": str(math.ceil(leg.ring_limit_s + more_s)),
        "park_after_bridge": "true",
        "hangup_after_bridge": "false",
        "force_transfer_context": CONTEXT,
        # A REFER with Replaces would join parties of two contacts behind their owners' backs: it is answered 403.
        "deny_refer_requests": "true",
        LEG: leg.id,
        TENANT: leg.tenant if _NAME.fullmatch(leg.tenant) else "",
        SHARD: str(leg.shard),
    }
    if board.hold_music:
        variables["hold_music"] = board.hold_music
    return variables


def _caller(caller: Private) -> str:
    """Who the device shows. What is erased or unfit for a SIP header is anonymous."""
    text = caller.value.decode("utf-8", "replace") if isinstance(caller, Secret) else ""
    return text if USER.fullmatch(text) else "anonymous"


def user_of(event: esl.Event) -> str:
    """Whose registration an event tells of; an expiry names it otherwise."""
    return event.get("from-user") or event.get("user") or ""
