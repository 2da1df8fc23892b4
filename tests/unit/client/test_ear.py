"""What a phone hears: windows, stretches, silence that the far end caused and stalls of its own."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tandem.client.ear import FRAME, Ear
from tandem.client.facts import Sound
from tandem.client.mouth import Mouth, Voice, clip_voice, tone_voice
from tandem.media import __file__ as media
from tandem.wire import rtp
from tandem.wire.g711 import Law
from tandem.wire.sdp import Audio, Direction
from tandem.wire.wav import read_wav

PROMPTS = Path(media).parent / "prompts"
FAR = Audio("127.0.0.1", 4000, "PCMU", 0, 101, 20, Direction.SENDRECV)


def play(ear: Ear, voice: Voice, law: Law, seconds: float, now: float, lost: set[int] = frozenset()) -> float:
    """A far end that speaks for so long, some of its packets lost; the time after."""
    mouth = Mouth(voice, law, round(now * 1000))  # another stretch, another source
    for number in range(round(seconds * 50)):
        data = mouth.take(FAR)
        packet = rtp.parse(data)
        if number not in lost:
            ear.put(packet)
        now += 0.02
        ear.tick(now)
    return now


@pytest.mark.parametrize("law", Law)
def test_a_tone_is_one_stretch_with_its_times(law):
    ear = Ear(law, 10.0)
    end = play(ear, tone_voice(620), law, 2.0, 10.0)
    *_, tone = ear.heard()
    assert (tone.sound, abs(tone.hz - 620) < 2) == (Sound.TONE, True)
    assert tone.end == pytest.approx(end)
    assert 1.8 <= tone.seconds <= 2.0  # the first packets fill the play-out buffer


def test_nothing_arrives_and_that_is_silence():
    ear = Ear(Law.MU, 0.0)
    end = play(ear, tone_voice(620), Law.MU, 1.0, 0.0)
    for turn in range(75):
        ear.tick(end + 0.02 * (turn + 1))
    silence = ear.heard()[-1]
    assert silence.sound is Sound.SILENCE
    assert 1.3 <= silence.seconds <= 1.5


def test_a_stall_of_the_phone_is_no_silence():
    ear = Ear(Law.MU, 0.0)
    end = play(ear, tone_voice(620), Law.MU, 1.0, 0.0)
    ear.stalled(end + 3.0)
    play(ear, tone_voice(620), Law.MU, 1.0, end + 3.0)
    stall = next(heard for heard in ear.heard() if heard.sound is Sound.STALL)
    assert stall.seconds == pytest.approx(3.0)
    assert max((h.seconds for h in ear.heard() if h.sound is Sound.SILENCE), default=0.0) < 0.3


@given(lost=st.sets(st.integers(0, 99), max_size=40), law=st.sampled_from(Law))
def test_stretches_follow_each_other_without_a_hole_whatever_is_lost(lost, law):
    ear = Ear(law, 5.0)
    end = play(ear, tone_voice(1020), law, 2.0, 5.0, lost)
    heard = ear.heard()
    assert heard[0].start == 5.0
    assert heard[-1].end == pytest.approx(end)
    assert all(a.end == b.start for a, b in pairwise(heard))
    assert all(abs(h.hz - 1020) < 8 for h in heard if h.sound is Sound.TONE)


@pytest.mark.parametrize("path", sorted(PROMPTS.glob("*.wav")), ids=lambda path: path.stem)
def test_no_prompt_and_no_music_is_taken_for_a_voice(path):
    """Robots wait for 0.3 s of a tone to know that an agent is there."""
    clip = read_wav(path.read_bytes())
    ear = Ear(Law.MU, 0.0)
    play(ear, clip_voice(clip), Law.MU, clip.samples / 8000, 0.0)
    assert max((h.seconds for h in ear.heard() if h.sound is Sound.TONE), default=0.0) < 0.3


def test_frames_are_20_ms():
    assert FRAME == 160
