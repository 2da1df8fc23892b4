"""Numbers that are called through a gateway: by whom its settings let, where to, and no more at once than they say."""

from __future__ import annotations

import math
import re

from tandem.core.ports.media import Cause, Command, Originate
from tandem.core.seal import Private, Secret
from tandem.media.backend import MergedDirectory
from tandem.media.freeswitch.board import Board
from tandem.media.freeswitch.carriers import Carriers
from tandem.media.freeswitch.devices import Devices, begun, leg_variables
from tandem.media.freeswitch.gateways import NUMBER, Gateway

_CALLER = re.compile(r"\+?[0-9]{3,15}")

REFUSALS = {
    "NO_SUCH_GATEWAY": "the tenant has no gateway of that name",
    "BAD_NUMBER": "no number as +493012345",
    "NUMBER_NOT_ALLOWED": "the gateway's destinations do not have that number",
    "CALLER_NOT_ALLOWED": "the caller is no number of the tenant's, and the gateway has no caller_id",
    "GATEWAY_FULL": "the gateway has calls_max calls",
}
"""Why nobody is called, and what is said of it."""


class Numbers:
    """Calls numbers. What a called side says before it answers can be heard."""

    def __init__(self, board: Board, devices: Devices, carriers: Carriers) -> None:
        self._board = board
        self._devices = devices
        self._carriers = carriers
        self._shards: dict[str, int] = {}
        """Tenant -> its shard."""

    def directory(self, directory: MergedDirectory) -> None:
        """What is known now."""
        self._shards = {entry.tenant: entry.shard for entry in directory.devices.values()}
        self._shards |= {entry.tenant: entry.shard for entry in directory.numbers.values()}

    def originate(self, command: Command, verb: Originate, now: float) -> None:
        """Call a number; the leg exists from here on, or ends at once."""
        if not self._devices.can_begin(command, now):
            return
        gateway, number = self._carriers.wanted.get(verb.gateway), _text(verb.number)
        caller = self._caller(command.tenant, verb.caller, gateway)
        refusal = self._refusal(command.tenant, gateway, number, caller)
        if refusal or gateway is None:
            self._devices.stillborn(command, Cause.REFUSED, REFUSALS[refusal], now, refusal)
        else:
            self._call(command, verb, gateway, number, caller, now)

    def _refusal(self, tenant: str, gateway: Gateway | None, number: str, caller: str) -> str:
        # To whom it is not given, it does not exist.
        if gateway is None or not gateway.serves(tenant):
            return "NO_SUCH_GATEWAY"
        if not NUMBER.fullmatch(number):
            return "BAD_NUMBER"
        if not gateway.reaches(number):
            return "NUMBER_NOT_ALLOWED"
        if not caller:
            return "CALLER_NOT_ALLOWED"
        calls = sum(leg.gateway == gateway.name for leg in self._board.legs.values())
        return "GATEWAY_FULL" if calls >= gateway.calls_max else ""

    def _caller(self, tenant: str, wished: Private, gateway: Gateway | None) -> str:
        """Who is shown: a number of the tenant's own, or the gateway's."""
        directory, text = self._board.directory, _text(wished)
        entry = directory.numbers.get(text) if directory is not None else None
        if entry is not None and entry.tenant == tenant and _CALLER.fullmatch(text):
            return text
        return gateway.caller_id if gateway is not None else ""

    def _call(self, command: Command, verb: Originate, gateway: Gateway, number: str, caller: str, now: float) -> None:
        board, config = self._board, self._board.config
        leg = begun(command, verb, self._shards.get(command.tenant, 0))
        until_s = config.carrier_after_s + config.ring_margin_s
        variables = leg_variables(leg, board, caller, until_s) | {
            # Else what is said before the answer would be heard by nobody.
            "ignore_early_media": "false",
            "sip_cid_type": "none" if gateway.caller_in_from else "pid",
            # FreeSWITCH's own limit ends when it hears that. Here is the one that lasts until the answer; both are
            # set in one order, though no agent lives.
            "api_on_media": f"'sched_hangup +{math.ceil(leg.ring_limit_s + until_s)} {leg.channel} NO_ANSWER'",
            "api_on_answer": f"'sched_del {leg.channel}'",
        }
        dialled = f"sofia/gateway/{gateway.name}/{gateway.dialled(number)}"
        self._devices.call(command, leg, dialled, variables, config.carrier_after_s, now)


def _text(value: Private | None) -> str:
    """What was not erased."""
    return value.value.decode("utf-8", "replace") if isinstance(value, Secret) else ""
