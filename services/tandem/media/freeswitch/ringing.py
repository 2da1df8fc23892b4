"""A device that rings in several places: one leg of several channels, until one of them answers.

FreeSWITCH calls them in one `originate`: the first answer wins, and it tells the others that the call was completed
elsewhere. What one place says is not the leg's end while another one rings.
"""

from __future__ import annotations

from tandem.core.ports.media import By, Cause
from tandem.media.freeswitch.board import Board
from tandem.media.freeswitch.leg import Leg

End = tuple[Cause, By, str]
_TELLING = (Cause.DECLINED, Cause.NO_ANSWER, Cause.BUSY, Cause.NO_MEDIA, Cause.FAILED, Cause.REFUSED, Cause.UNREACHABLE)
"""What one place says of the whole device, the most telling first: who could have answered and did not counts for more
than a phone that was engaged."""


def answered(board: Board, leg: Leg, channel: str) -> None:
    """One of its places answered: the others are none of our business any more."""
    if channel not in leg.rings:
        return
    for place in leg.rings:
        board.leg_of_channel.pop(place, None)
    leg.channel, leg.said = channel, None
    leg.rings.clear()
    leg.missing.clear()
    board.leg_of_channel[channel] = leg.id
    board.timers.cancel("goodbye", leg.id)


def another(board: Board, leg: Leg, channel: str) -> None:
    """A place of the leg that nobody knew of."""
    leg.rings = [*leg.channels, channel]
    board.leg_of_channel[channel] = leg.id
    board.note(leg)


def rings_on(board: Board, leg: Leg, channel: str, end: End | None) -> bool:
    """One of its places has ended, nobody knows how for None; whether another one rings."""
    if channel not in leg.rings:
        return False
    if end is not None and (leg.said is None or _rank(end) < _rank(leg.said)):
        leg.said = end
    if len(leg.rings) == 1:
        return False
    leg.rings.remove(channel)
    board.leg_of_channel.pop(channel, None)
    leg.channel = leg.rings[0]
    board.note(leg)
    return True


def _rank(end: End) -> int:
    return _TELLING.index(end[0]) if end[0] in _TELLING else len(_TELLING)
