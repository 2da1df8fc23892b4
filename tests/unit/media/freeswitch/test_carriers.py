"""Gateways of a switch are brought to what their files say, and watched."""

from __future__ import annotations

from types import MappingProxyType

import pytest

from tandem.media.freeswitch.gateways import Gateway
from tests.contract.freeswitch_media_world import FreeswitchWorld
from tests.support.scripted_switch import Gateway as Read


class World(FreeswitchWorld):
    """A switch whose gateways stand in files; `_start` connects."""

    gateways = MappingProxyType({name: Gateway(name, "carrier.test") for name in ("north", "south")})

    def _start(self) -> None:
        """When the test has said what the switch has."""

    def connect(self, **has: str) -> None:
        self.switch.files = {"north": "n2", "south": "s1"}
        self.switch.gateways = {name: Read(token) for name, token in has.items()}
        super()._start()

    def sent(self) -> list[str]:
        """What changes anything."""
        commands = [line.partition(" ")[2] for line in self.switch.commands]
        return [line for line in commands if line.startswith("sofia ") and "gwlist" not in line]

    def pass_s(self, seconds: float) -> None:
        for _ in range(int(seconds * 10)):
            self._step()

    @property
    def tokens(self) -> dict[str, str]:
        return {name: gateway.token for name, gateway in sorted(self.switch.gateways.items())}


@pytest.fixture
def world() -> World:
    return World()


def test_what_the_switch_has_read_is_left_alone(world: World) -> None:
    world.connect(north="n2", south="s1")
    assert world.sent() == []
    assert world.backend.node.gateways() == (("north", True), ("south", True))


def test_a_new_file_is_taken_in(world: World) -> None:
    world.connect(south="s1")
    assert world.sent() == ["sofia profile tandem rescan"]
    assert world.tokens == {"north": "n2", "south": "s1"}
    assert world.backend.node.gateways() == (("north", True), ("south", True))


def test_a_changed_file_is_taken_in_when_the_gateway_of_before_is_gone(world: World) -> None:
    """While both are there, the old one's farewell to the carrier ends the new one's registration."""
    world.connect(north="n1", south="s1")
    assert world.sent() == ["sofia profile tandem killgw north"]
    assert world.backend.node.gateways() == (("north", False), ("south", True))
    world.pass_s(1)
    assert world.backend.node.gateways() == (("north", True), ("south", True))
    assert world.sent()[1:] == ["sofia profile tandem rescan"]
    assert world.tokens == {"north": "n2", "south": "s1"}


def test_a_gateway_whose_file_is_gone_is_dropped_and_one_of_somebody_elses_stays(world: World) -> None:
    world.connect(north="n2", south="s1", west="w1", emergency="")
    world.pass_s(1)
    assert world.sent() == ["sofia profile tandem killgw west"]
    assert world.tokens == {"emergency": "", "north": "n2", "south": "s1"}
    assert dict(world.backend.node.gateways())["emergency"]


def test_an_end_that_nobody_tells_is_not_waited_for_for_ever(world: World) -> None:
    world.connect(north="n1", south="s1")
    world.switch.gateways["north"].deleted = False  # it stays
    world.pass_s(4)
    assert world.sent()[1:] == []
    world.pass_s(2)
    assert world.sent()[1:] == ["sofia profile tandem rescan"]


def test_a_switch_that_began_anew_has_read_the_files_itself(world: World) -> None:
    world.connect(south="s1")
    before = len(world.sent())
    world.switch.die()
    world.backend.lost()
    world.backend.connect()
    world._run()
    assert world.sent()[before:] == []
    assert world.backend.node.gateways() == (("north", True), ("south", True))


def test_a_gateway_that_the_switch_does_not_take_is_named(world: World) -> None:
    class Refuses(type(world.switch)):  # type: ignore[misc]
        def read_gateways(self) -> None:
            """It says so in its log alone."""

    world.switch.__class__ = Refuses
    world.connect(south="s1")
    assert "GATEWAY_NOT_TAKEN" in world.backend.notices
    assert world.backend.node.gateways() == (("north", False), ("south", True))


def test_whether_a_carrier_is_to_be_had_is_told_and_not_known_without_the_switch(world: World) -> None:
    world.connect(north="n2", south="s1")
    for up in (False, False, True):
        world.switch.gateway_is("north", up=up)
        world._run()
        assert dict(world.backend.node.gateways())["north"] is up
    assert world.backend.notices.count("GATEWAY_DOWN") == 1
    world.backend.lost()
    assert world.backend.node.gateways() == ()


def test_gateways_that_nobody_could_write_are_left_as_they_are(world: World) -> None:
    world.connect(north="n1")
    world.backend.node._carriers._tokens = None
    before = len(world.sent())
    world.backend.lost()
    world.backend.connect()
    world._run()
    assert world.sent()[before:] == []


def test_what_is_wrong_with_a_carriers_certificate_is_asked_for_and_told(world: World) -> None:
    world.connect(north="n2", south="s1")
    assert "api sofia loglevel tport 3" not in world.switch.commands
    over_tls = World()
    over_tls.gateways = MappingProxyType({"north": Gateway("north", "carrier.test", transport="tls")})
    over_tls.connect(north="n2")
    assert "api sofia loglevel tport 3" in over_tls.switch.commands
    over_tls.switch.log("tport_tls.c:756 tls_post_connection_check(): Peer Subject Mismatch (carrier.test)\n")
    over_tls._run()
    assert over_tls.backend.notices[-1] == "CARRIER_NOT_TRUSTED"


def test_other_gateways_are_taken_in_while_the_switch_goes_on(world: World) -> None:
    world.connect(north="n2", south="s1")
    wanted = {name: Gateway(name, "carrier.test") for name in ("north", "west")}
    world.switch.files = {"north": "n3", "west": "w1"}
    world.backend.node.change_gateways(wanted, world.switch.files, world.switch.now)
    world._run()
    assert world.sent() == ["sofia profile tandem killgw north", "sofia profile tandem killgw south"]
    world.pass_s(1)
    assert world.sent()[2:] == ["sofia profile tandem rescan"]
    assert world.tokens == {"north": "n3", "west": "w1"}
    assert world.backend.node.gateways() == (("north", True), ("west", True))


def test_gateways_that_change_while_the_switch_is_away_are_taken_in_when_it_is_back(world: World) -> None:
    world.connect(north="n2", south="s1")
    world.backend.lost()
    before = len(world.sent())
    world.switch.files = {"south": "s1"}
    world.backend.node.change_gateways({"south": Gateway("south", "carrier.test")}, {"south": "s1"}, world.switch.now)
    world._run()
    assert world.sent()[before:] == []
    world.backend.connect()
    world._run()
    world.pass_s(1)
    assert world.tokens == {"south": "s1"}
