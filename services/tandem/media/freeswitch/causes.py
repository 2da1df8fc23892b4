"""FreeSWITCH's words for the end of a call, and ours.

Sources: switch_types.h (switch_call_cause_t), mod_sofia.c (hangup_cause_to_sip), sofia_glue.c
(sofia_glue_sip_cause_to_freeswitch) of FreeSWITCH 1.10.
"""

from __future__ import annotations

from tandem.core.ports.media import By, Cause
from tandem.wire.esl import Event

_CAUSE_OF = {
    "NORMAL_CLEARING": Cause.NORMAL,
    "NORMAL_UNSPECIFIED": Cause.NORMAL,
    "ATTENDED_TRANSFER": Cause.NORMAL,
    "BLIND_TRANSFER": Cause.NORMAL,
    "PICKED_OFF": Cause.CANCELED,
    "LOSE_RACE": Cause.CANCELED,
    "ORIGINATOR_CANCEL": Cause.CANCELED,
    "USER_BUSY": Cause.BUSY,
    "BUSY_EVERYWHERE": Cause.BUSY,
    "CALL_REJECTED": Cause.DECLINED,
    "DECLINE": Cause.DECLINED,
    "REJECT_ALL": Cause.DECLINED,
    "UNWANTED": Cause.DECLINED,
    "OUTGOING_CALL_BARRED": Cause.DECLINED,
    "INCOMING_CALL_BARRED": Cause.DECLINED,
    "NO_ANSWER": Cause.NO_ANSWER,
    "NO_USER_RESPONSE": Cause.NO_ANSWER,
    "ALLOTTED_TIMEOUT": Cause.NO_ANSWER,
    "SUBSCRIBER_ABSENT": Cause.UNREACHABLE,
    "USER_NOT_REGISTERED": Cause.UNREACHABLE,
    "UNALLOCATED_NUMBER": Cause.UNREACHABLE,
    "NO_ROUTE_DESTINATION": Cause.UNREACHABLE,
    "NO_ROUTE_TRANSIT_NET": Cause.UNREACHABLE,
    "DOES_NOT_EXIST_ANYWHERE": Cause.UNREACHABLE,
    "NUMBER_CHANGED": Cause.UNREACHABLE,
    "GONE": Cause.UNREACHABLE,
    "INVALID_NUMBER_FORMAT": Cause.UNREACHABLE,
    "INVALID_URL": Cause.UNREACHABLE,
    "DESTINATION_OUT_OF_ORDER": Cause.UNREACHABLE,
    "NETWORK_OUT_OF_ORDER": Cause.UNREACHABLE,
    "NORMAL_TEMPORARY_FAILURE": Cause.UNREACHABLE,
    "RECOVERY_ON_TIMER_EXPIRE": Cause.UNREACHABLE,
    "GATEWAY_DOWN": Cause.UNREACHABLE,
    "INVALID_GATEWAY": Cause.UNREACHABLE,
    "MEDIA_TIMEOUT": Cause.NO_MEDIA,
    "INCOMPATIBLE_DESTINATION": Cause.NO_MEDIA,
    "NOT_ACCEPTABLE": Cause.NO_MEDIA,
    "BEARERCAPABILITY_NOTIMPL": Cause.NO_MEDIA,
    "SYSTEM_SHUTDOWN": Cause.MEDIA_LOST,
    "CRASH": Cause.MEDIA_LOST,
    "SWITCH_CONGESTION": Cause.REFUSED,
    "NORMAL_CIRCUIT_CONGESTION": Cause.REFUSED,
    "REQUESTED_CHAN_UNAVAIL": Cause.REFUSED,
}

_NAME_OF = {
    Cause.NORMAL: "NORMAL_CLEARING",
    Cause.CANCELED: "ORIGINATOR_CANCEL",
    Cause.BUSY: "USER_BUSY",  # 486
    Cause.DECLINED: "CALL_REJECTED",  # 603
    Cause.NO_ANSWER: "NO_ANSWER",  # 480
    Cause.UNREACHABLE: "UNALLOCATED_NUMBER",  # 404
    Cause.NO_MEDIA: "INCOMPATIBLE_DESTINATION",  # 488
    Cause.MEDIA_LOST: "NORMAL_TEMPORARY_FAILURE",  # 503
    Cause.FALLBACK: "NORMAL_TEMPORARY_FAILURE",  # 503
    Cause.REFUSED: "SWITCH_CONGESTION",  # 503
    Cause.FAILED: "FACILITY_REJECTED",  # 501
    Cause.MOVED: "NORMAL_CLEARING",  # to nobody: the door answers the BYE
}

_WHY = {
    "GATEWAY_DOWN": "GATEWAY_DOWN",
    "INVALID_GATEWAY": "NO_SUCH_GATEWAY",
    "UNALLOCATED_NUMBER": "UNALLOCATED",
    "NO_ROUTE_DESTINATION": "UNALLOCATED",
    "NUMBER_CHANGED": "UNALLOCATED",
    "INVALID_NUMBER_FORMAT": "UNALLOCATED",
    "DOES_NOT_EXIST_ANYWHERE": "UNALLOCATED",
    "GONE": "UNALLOCATED",
}
"""Why a number was not reached, where its owner can do more than try again."""
NO_CHANNEL = ("GATEWAY_DOWN", "INVALID_GATEWAY")
"""What is said before there is a channel: no event follows."""
_CARRIER_REFUSES = ("401", "402", "403", "407")
"""SIP statuses that FreeSWITCH takes for a person's refusal, and a carrier says of us."""

_BY_FAR = ("recv_bye", "recv_cancel", "recv_refuse")


def name_of(cause: Cause) -> str:
    """The hang-up cause that FreeSWITCH is given; to a caller who was not answered it is a SIP status."""
    return _NAME_OF[cause]


def cause_of(name: str) -> Cause:
    """Our word for a hang-up cause of FreeSWITCH's."""
    return _CAUSE_OF.get(name, Cause.FAILED)


def why_of(name: str) -> str:
    """What a hang-up cause says of a number that was called; empty for no more than the cause itself."""
    return _WHY.get(name, "")


def of_carrier(event: Event, cause: Cause, by: By) -> tuple[Cause, By]:
    """Cause of an end before the answer, and who did it, of a number that was called: a carrier is there, unlike a
    phone that has lost its registration, and what it answers it has done."""
    status = event.get("variable_sip_term_status") or event.get("variable_sip_invite_failure_status")
    far = event.get("variable_sip_hangup_disposition") in _BY_FAR
    return Cause.REFUSED if status in _CARRIER_REFUSES else cause, By.FAR if far else by


def ended(event: Event, *, rang: bool, answered: bool) -> tuple[Cause, By, str]:
    """Cause, who did it, and a detail for people, of a CHANNEL_HANGUP_COMPLETE that no `HangUp` asked for.

    `rang`: the device is known to have rung. Silence, and a refusal that the switch made up itself
    for want of an answer, come as those of a phone that was there: a phone that never rang is
    unreachable, and did nothing.
    """
    name = event.get("Hangup-Cause") or "NONE"
    cause = cause_of(name)
    status = event.get("variable_sip_term_status") or event.get("variable_sip_invite_failure_status") or ""
    detail = f"{name}, SIP {status}" if status.isdecimal() else name
    by = By.FAR if event.get("variable_sip_hangup_disposition") in _BY_FAR else By.NODE
    outbound = event.get("Call-Direction") == "outbound"
    if outbound and not answered:
        if cause is Cause.NO_ANSWER and not rang:
            # A phone that answers 408 or 480 at once was there; one that said nothing was not.
            cause = Cause.NO_ANSWER if by is By.FAR else Cause.UNREACHABLE
        elif cause is Cause.UNREACHABLE and not rang:
            by = By.NODE
    return cause, by, detail
