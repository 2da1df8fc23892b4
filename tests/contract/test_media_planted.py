"""Bad agents, planted: each fails the clause that is there for it, so the clause can fail."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tandem.core.ports.log import Partition
from tandem.core.ports.media import Command, CommandSettled, Event, Hello, MediaEvent, Outcome
from tandem.media.agent import MediaAgent
from tandem.media.agent_io import Perform, Settle, Turn
from tandem.media.backend import LiveLeg
from tandem.media.journal.changes import Acked, Change, EpochSeen, EventKept
from tests.contract.media_contract import CLAUSES
from tests.contract.scripted_media_world import ScriptedWorld


class ForgetsKeys(MediaAgent):
    def _command(self, partition: Partition, command: Command, now_ms: int) -> None:
        self._state.keys.pop((command.tenant, command.key), None)
        super()._command(partition, command, now_ms)


class ForgetsKeysAtDeath(MediaAgent):
    def start(self, now_ms: int) -> None:
        self._state.keys.clear()
        super().start(now_ms)


class RepeatsWhatIsInDoubt(MediaAgent):
    def take(self) -> Turn:
        turn = super().take()
        turn.calls = [Perform(call.command) if isinstance(call, Settle) else call for call in turn.calls]
        return turn


class TakesAnOldEpoch(MediaAgent):
    def _hello(self, link: str, hello: Hello, now_ms: int) -> None:
        self._state.epochs.clear()
        super()._hello(link, hello, now_ms)


class ForgetsTheEpochAtDeath(MediaAgent):
    def _change(self, change: Change) -> None:
        if isinstance(change, EpochSeen):
            self._state.apply(change, b"")
        else:
            super()._change(change)


class HasOneEpochForAll(MediaAgent):
    def _hello(self, link: str, hello: Hello, now_ms: int) -> None:
        highest = max(self._state.epochs.values(), default=0)
        self._state.epochs[Partition(hello.group, hello.shard)] = highest
        super()._hello(link, hello, now_ms)


class LeavesTheOldOwner(MediaAgent):
    def _replace(self, partition: Partition, epoch: int) -> None:
        self._owners.pop(partition, None)


class Renumbers(MediaAgent):
    def start(self, now_ms: int) -> None:
        self._state.last.clear()
        super().start(now_ms)


class CountsForTheWholeNode(MediaAgent):
    counted = 0

    def take(self) -> Turn:
        turn = super().take()
        for place, (link, frame) in enumerate(turn.sends):
            if isinstance(frame, Event):
                self.counted += 1
                turn.sends[place] = (link, replace(frame, number=self.counted))
        return turn


class SendsBeforeItWrites(MediaAgent):
    """Writes a little later, "to save time"."""

    waiting: Turn | None = None
    lazy = False

    def take(self) -> Turn:
        if self.waiting is not None:
            self.lazy = not self.lazy
            if self.lazy:
                return Turn()
            waiting, self.waiting = self.waiting, None
            return waiting
        turn = super().take()
        if not turn.changes:
            return turn
        self.waiting = Turn(turn.changes, turn.calls)
        return Turn(sends=turn.sends, closes=turn.closes, notices=turn.notices)


class KeepsNothing(MediaAgent):
    def _change(self, change: Change) -> None:
        super()._change(change)
        if isinstance(change, EventKept):
            super()._change(Acked(change.event.tenant, change.event.number))


class ForgetsNothing(MediaAgent):
    def _forget(self, tenant: str, number: int, now_ms: int) -> None:
        pass


class SaysKeptEndFirst(MediaAgent):
    def _hello(self, link: str, hello: Hello, now_ms: int) -> None:
        super()._hello(link, hello, now_ms)
        self._turn.sends.sort(key=lambda send: isinstance(send[1], Event))


class TakesForeignMarks(MediaAgent):
    def _take_marks(self, partition: Partition, hello: Hello, now_ms: int) -> None:
        ours = Hello(hello.group, hello.shard, hello.epoch, self._state.incarnation, hello.marks)
        super()._take_marks(partition, ours, now_ms)


class AnswersWithDone(MediaAgent):
    def _command(self, partition: Partition, command: Command, now_ms: int) -> None:
        known = self._state.keys.get((command.tenant, command.key))
        if known is not None and known.settled is not None:
            known.settled = CommandSettled(command.key, Outcome.DONE)
        super()._command(partition, command, now_ms)


class SettlesTwice(MediaAgent):
    def emit(self, tenant: str, leg: str, body: MediaEvent, media_time_ms: int) -> None:
        super().emit(tenant, leg, body, media_time_ms)
        if isinstance(body, CommandSettled):
            self._keep(tenant, leg, body, media_time_ms)


class TellsEverythingTwice(MediaAgent):
    def emit(self, tenant: str, leg: str, body: MediaEvent, media_time_ms: int) -> None:
        super().emit(tenant, leg, body, media_time_ms)
        super().emit(tenant, leg, body, media_time_ms)


class TurnsTheCommandsAround(MediaAgent):
    def take(self) -> Turn:
        turn = super().take()
        turn.calls.sort(key=lambda call: not isinstance(call, Perform))
        turn.calls = turn.calls[::-1]
        return turn


class ForgetsTheDrainAtDeath(MediaAgent):
    def start(self, now_ms: int) -> None:
        self._state.drain = None
        super().start(now_ms)


class RingsForAnybodyWhileItDrains(MediaAgent):
    @property
    def draining(self) -> bool:
        return False


class LetsNobodyGo(MediaAgent):
    def look(self, now_ms: int) -> None:
        pass


class LetsEverybodyGo(MediaAgent):
    def overdue(self, live: tuple[LiveLeg, ...], now_ms: int) -> tuple[LiveLeg, ...]:
        return live


PLANTED: list[tuple[type[MediaAgent], bool, str]] = [
    (ForgetsKeys, False, "a_key_is_carried_out_once"),
    (ForgetsKeys, False, "a_settled_key_is_answered_with_its_first_outcome"),
    (ForgetsKeysAtDeath, False, "a_key_is_remembered_across_a_restart"),
    (RepeatsWhatIsInDoubt, False, "an_originate_in_doubt_is_unknown"),
    (RepeatsWhatIsInDoubt, True, "a_bridge_in_doubt_is_not_made_twice"),
    (TakesAnOldEpoch, False, "an_older_epoch_is_refused"),
    (ForgetsTheEpochAtDeath, False, "the_highest_epoch_outlives_the_agent"),
    (HasOneEpochForAll, False, "shards_have_epochs_of_their_own"),
    (LeavesTheOldOwner, False, "a_newer_owner_takes_the_older_ones_place"),
    (Renumbers, False, "numbers_go_on_after_a_restart"),
    (CountsForTheWholeNode, False, "numbers_run_from_1_per_tenant_without_gaps"),
    (SendsBeforeItWrites, False, "events_are_written_before_they_are_sent"),
    (KeepsNothing, False, "what_nobody_acknowledged_is_told_again"),
    (ForgetsNothing, False, "what_was_acknowledged_is_not_told_again"),
    (ForgetsNothing, False, "hello_marks_say_where_to_begin"),
    (SaysKeptEndFirst, False, "kept_end_comes_after_all_that_was_kept"),
    (TakesForeignMarks, False, "marks_of_another_incarnation_count_for_nothing"),
    (AnswersWithDone, False, "a_settled_key_is_answered_with_its_first_outcome"),
    (SettlesTwice, False, "every_command_ends_once"),
    (TellsEverythingTwice, False, "a_leg_ends_once"),
    (TellsEverythingTwice, False, "a_recording_is_stored_once"),
    (TurnsTheCommandsAround, False, "commands_of_a_leg_run_in_order"),
    (ForgetsTheDrainAtDeath, False, "a_drain_outlives_the_agent_until_it_is_undone"),
    (RingsForAnybodyWhileItDrains, False, "a_drained_node_refuses_callers_and_serves_those_it_has"),
    (LetsNobodyGo, False, "who_waits_in_a_drained_node_is_let_go_in_time_and_talks_go_on"),
    (LetsEverybodyGo, False, "who_waits_in_a_drained_node_is_let_go_in_time_and_talks_go_on"),
]


@pytest.mark.parametrize(
    ("agent", "calls_survive", "name"), PLANTED, ids=lambda value: getattr(value, "__name__", value)
)
async def test_planted(agent: type[MediaAgent], calls_survive: bool, name: str) -> None:
    with pytest.raises(AssertionError):
        await CLAUSES[name](ScriptedWorld(calls_survive=calls_survive, agent=agent))
