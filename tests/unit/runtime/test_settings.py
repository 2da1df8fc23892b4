"""Settings: where they come from, and what is refused in which words."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Meta, Struct

from tandem.runtime.settings import BadConfig, load, reference, render


class Oven(Struct, frozen=True, kw_only=True):
    heat: Annotated[int, Meta(description="Degrees.", ge=0, le=300)] = 180
    fan: Annotated[bool, Meta(description="Turns the air.")] = False
    rack: Annotated[Literal["top", "low"], Meta(description="Where.")] = "low"
    minutes: Annotated[float, Meta(description="How long.", ge=0, le=600)] = 30.0

    def __post_init__(self) -> None:
        if self.fan and self.heat > 250:
            raise ValueError("heat above 250 melts the fan; lower it, or set fan = false")


class Kitchen(Struct, frozen=True, kw_only=True):
    name: Annotated[str, Meta(description="On the door.", max_length=40)] = "kitchen"
    key_file: Annotated[Path | None, Meta(description="File with the key.")] = None
    oven: Oven = Oven()


def of(text: str | bytes, tmp_path: Path, **environment: str) -> Kitchen:
    file = tmp_path / "kitchen.toml"
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    return load(Kitchen, file, environment)


def problems(text: str | bytes, tmp_path: Path, **environment: str) -> list[str]:
    with pytest.raises(BadConfig) as caught:
        of(text, tmp_path, **environment)
    return [problem.replace(f"{tmp_path}/", "") for problem in caught.value.problems]


def test_defaults_stand_where_nothing_is_said():
    assert load(Kitchen, None, {}) == Kitchen()


def test_a_file_sets_what_it_names(tmp_path):
    assert of('name = "k"\nkey_file = "k.key"\n[oven]\nheat = 200\nminutes = 5', tmp_path) == Kitchen(
        name="k", key_file=Path("k.key"), oven=Oven(heat=200, minutes=5.0)
    )


def test_the_environment_wins_over_the_file(tmp_path):
    kitchen = of("[oven]\nheat = 200\nfan = false", tmp_path, TANDEM_OVEN__HEAT="210", TANDEM_OVEN__FAN="true")
    assert kitchen.oven == Oven(heat=210, fan=True)


def test_text_from_the_environment_stays_text(tmp_path):
    assert of("", tmp_path, TANDEM_NAME="12", TANDEM_KEY_FILE="7").name == "12"


def test_an_empty_variable_is_not_set(tmp_path):
    assert of("", tmp_path, TANDEM_KEY_FILE="", TANDEM_OVEN__HEAT="") == Kitchen()


def test_foreign_variables_are_left_alone(tmp_path):
    assert of("", tmp_path, TANDEM_SERVICE_HOST="10.0.0.1", TANDEM_KILL_AT="appended:3", OVEN__HEAT="1") == Kitchen()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[oven]\nfan = true\nhaet = 3", "kitchen.toml:3: there is no setting oven.haet; did you mean oven.heat?"),
        ("heat = 3", "kitchen.toml:1: there is no setting heat; did you mean oven.heat?"),
        ("\n[ovens]\nheat = 3", "kitchen.toml:2: there is no setting ovens; did you mean oven?"),
        ("oven.haet = 3", "kitchen.toml:1: there is no setting oven.haet; did you mean oven.heat?"),
        ("oven = {haet = 3}", "kitchen.toml: there is no setting oven.haet; did you mean oven.heat?"),
        ("zzz = 3", "kitchen.toml:1: there is no setting zzz; --print-config lists all"),
        ("oven = 3", "kitchen.toml:1: oven is a section, not a setting; write it as [oven]"),
    ],
)
def test_an_unknown_key_is_refused_with_its_place_and_a_suggestion(text, problem, tmp_path):
    assert problems(text, tmp_path) == [problem]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('[oven]\nheat = "hot"', "kitchen.toml:2: oven.heat: Expected `int`, got `str`"),
        ("[oven]\nheat = true", "kitchen.toml:2: oven.heat: Expected `int`, got `bool`"),
        ("[oven]\n\nheat = 301", "kitchen.toml:3: oven.heat: Expected `int` <= 300"),
        ("[oven]\nminutes = nan", "kitchen.toml:2: oven.minutes: Expected `float` >= 0.0"),
        ("[oven]\nminutes = inf", "kitchen.toml:2: oven.minutes: Expected `float` <= 600.0"),
        ('[oven]\nrack = "up"', "kitchen.toml:2: oven.rack: Invalid enum value 'up'"),
        ("name = [1]", "kitchen.toml:1: name: Expected `str`, got `array`"),
        ("key_file = 3", "kitchen.toml:1: key_file: Expected a path"),
        ('key_file = ""', "kitchen.toml:1: key_file: Expected a path"),
        ("[oven]\nheat = 280\nfan = true", "oven: heat above 250 melts the fan; lower it, or set fan = false"),
    ],
)
def test_a_wrong_value_is_refused_with_its_place(text, problem, tmp_path):
    assert problems(text, tmp_path) == [problem]


def test_wrong_variables_are_named(tmp_path):
    assert problems("", tmp_path, TANDEM_OVEN__HAET="3", TANDEM_NAM="x", TANDEM_OVEN__HEAT="hot") == [
        "TANDEM_NAM: there is no such setting; did you mean TANDEM_NAME?",
        "TANDEM_OVEN__HAET: there is no such setting; did you mean TANDEM_OVEN__HEAT?",
        "TANDEM_OVEN__HEAT: oven.heat: Expected `int`, got `str`",
    ]


def test_all_faults_are_told_at_once(tmp_path):
    assert len(problems('nam = 1\n[oven]\nheat = "x"\nrack = 1', tmp_path, TANDEM_OVEN__FAN="perhaps")) == 4


def test_a_file_that_cannot_be_read_says_why(tmp_path):
    assert problems("a = ", tmp_path)[0].startswith("kitchen.toml: is no TOML: ")
    assert problems(b"\xff", tmp_path)[0].startswith("kitchen.toml: is no TOML: ")
    assert problems("#" * 1024 * 1024 + "\n", tmp_path)[0].startswith("kitchen.toml: over 1048576 bytes")
    with pytest.raises(BadConfig, match=r"none\.toml: cannot be read: No such file"):
        load(Kitchen, tmp_path / "none.toml", {})


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_no_file_brings_another_error(tmp_path_factory, data):
    file = tmp_path_factory.getbasetemp() / "any.toml"
    file.write_bytes(data)
    try:
        load(Kitchen, file, {})
    except BadConfig as refused:
        assert refused.problems


@given(
    st.builds(
        Kitchen,
        name=st.text(max_size=40),
        key_file=st.none() | st.text("ab/\"\\'=#\n\x7f", min_size=1, max_size=9).map(Path),
        oven=st.builds(
            Oven,
            heat=st.integers(0, 250),
            fan=st.booleans(),
            rack=st.sampled_from(["top", "low"]),
            minutes=st.floats(0, 600),
        ),
    )
)
def test_what_is_printed_is_read_back(tmp_path_factory, kitchen):
    file = tmp_path_factory.getbasetemp() / "printed.toml"
    file.write_bytes(render(kitchen).encode())
    assert load(Kitchen, file, {}) == kitchen


def test_the_reference_lists_every_setting():
    rows = [(row.name, row.kind, row.default, row.doc, row.variable) for row in reference(Kitchen)]
    assert rows == [
        ("name", "text", '"kitchen"', "On the door.", "TANDEM_NAME"),
        ("key_file", "path", "", "File with the key.", "TANDEM_KEY_FILE"),
        ("oven.heat", "whole number, 0 to 300", "180", "Degrees.", "TANDEM_OVEN__HEAT"),
        ("oven.fan", "true or false", "false", "Turns the air.", "TANDEM_OVEN__FAN"),
        ("oven.rack", '"low" or "top"', '"low"', "Where.", "TANDEM_OVEN__RACK"),
        ("oven.minutes", "number, 0 to 600", "30.0", "How long.", "TANDEM_OVEN__MINUTES"),
    ]


class Shelf(Struct, frozen=True, kw_only=True):
    width: Annotated[int, Meta(description="Centimetres.", ge=1, le=300)] = 80
    label: Annotated[str, Meta(description="On its edge.", max_length=9)] = ""


class Cellar(Struct, frozen=True, kw_only=True):
    dry: Annotated[bool, Meta(description="Or not.")] = True
    shelves: Mapping[str, Shelf] = {}


def cellar(text: str, tmp_path: Path, **environment: str) -> Cellar:
    file = tmp_path / "cellar.toml"
    file.write_text(text)
    return load(Cellar, file, environment)


def test_sections_that_the_configuration_names(tmp_path):
    text = '[shelves.jam]\nwidth = 90\n[shelves.old-wine]\nlabel = "1961"'
    found = cellar(text, tmp_path, TANDEM_SHELVES__JAM__LABEL="jam", TANDEM_SHELVES__BEER__WIDTH="50")
    assert found.shelves == {
        "beer": Shelf(width=50), "jam": Shelf(width=90, label="jam"), "old-wine": Shelf(label="1961"),
    }  # fmt: skip
    assert cellar(render(found), tmp_path) == found
    assert load(Cellar, None, {}).shelves == {}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[shelves.jam]\nwidht = 3", "cellar.toml:2: there is no setting shelves.jam.widht; did you mean shelves."),
        ("[shelves.jam]\nwidth = 0", "cellar.toml:2: shelves.jam.width: Expected `int` >= 1"),
        ("[shelves]\njam = 3", "cellar.toml:2: shelves.jam is a section, not a setting"),
        ("[shelves.jam]\n[shelves.jam.top]\na = 1", "cellar.toml:2: there is no setting shelves.jam.top"),
        ("[shelves.jam]", "cellar.toml:1: shelves.jam says nothing"),
        ("[shelves.Jam]\nwidth = 3", "cellar.toml:2: shelves.Jam.width: a name is a small letter"),
        ("[shelves.'../jam']\nwidth = 3", "cellar.toml: shelves.../jam.width: a name is a small letter"),
        ("\n".join(f"[shelves.s{n}]\nwidth = 3" for n in range(65)), "shelves: 65 sections are over the limit of 64"),
    ],
)
def test_a_named_section_is_held_to_what_there_is(text, problem, tmp_path):
    with pytest.raises(BadConfig) as caught:
        cellar(text, tmp_path)
    assert len(caught.value.problems) == 1
    assert caught.value.problems[0].replace(f"{tmp_path}/", "").startswith(problem)


def test_a_variable_of_a_named_section_is_held_to_what_there_is():
    with pytest.raises(BadConfig, match="TANDEM_SHELVES__JAM__WIDHT: there is no such setting"):
        load(Cellar, None, {"TANDEM_SHELVES__JAM__WIDHT": "3"})


def test_the_reference_lists_the_settings_of_named_sections():
    assert [(row.name, row.variable) for row in reference(Cellar)][1:] == [
        ("shelves.NAME.width", "TANDEM_SHELVES__NAME__WIDTH"),
        ("shelves.NAME.label", "TANDEM_SHELVES__NAME__LABEL"),
    ]
