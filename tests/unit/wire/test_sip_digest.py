"""Digest: the RFCs' own vectors, and a server that meets every kind of answer."""

from __future__ import annotations

import pytest

from tandem.wire.sip.digest import (
    Authenticator,
    AuthOutcome,
    Credentials,
    answer_challenge,
    digest_response,
    find_challenge,
    hash_password,
)
from tandem.wire.sip.headers import Headers
from tandem.wire.sip.message import CSeq, Request
from tandem.wire.sip.uri import NameAddr, Uri, Via
from tests.unit.wire.sip_world import seeded_token

REALM = "tandem.example"
ALICE = Credentials("alice", 'se"cret')
KEPT = {"alice": hash_password("alice", REALM, ALICE.password)}
TARGET = Uri("tandem.example")


def request(*headers: tuple[str, str], method: str = "REGISTER", uri: Uri = TARGET) -> Request:
    party = NameAddr(Uri("tandem.example", "alice"))
    return Request(method, uri, (Via("h"),), party.with_tag("a"), party, "c", CSeq(1, method), Headers.of(*headers))


def server(**settings: float) -> Authenticator:
    return Authenticator(REALM, b"k" * 32, seeded_token("nonce"), **settings)  # type: ignore[arg-type]


def answered(
    one: Authenticator,
    now: float = 0.0,
    *,
    credentials: Credentials = ALICE,
    count: int = 1,
    algorithm: str = "",
    uri: Uri = TARGET,
    digest_uri: str = "",
) -> Request:
    headers = Headers.of(*(pair for pair in one.challenge(now) if algorithm in pair[1]))
    challenge = find_challenge(headers, 401)
    assert challenge is not None
    value = answer_challenge(challenge, credentials, "REGISTER", digest_uri or str(uri), "cnonce", count)
    return request(("Authorization", value), uri=uri)


def verify(one: Authenticator, message: Request, now: float = 0.0) -> AuthOutcome:
    verdict = one.verify(message, KEPT.get, now)
    assert (verdict.status == 401) == bool(verdict.headers)
    assert (verdict.user == "alice") == (verdict.outcome is AuthOutcome.ACCEPTED)
    return verdict.outcome


@pytest.mark.parametrize(
    ("algorithm", "realm", "password", "nonce", "cnonce", "response"),
    [
        (  # RFC 2617 3.5
            "MD5",
            "testrealm@host.com",
            "Circle Of Life",
            "dcd98b7102dd2f0e8b11d0f600bfb0c093",
            "0a4f113b",
            "6629fae49393a05397450978507c4ef1",
        ),
        (  # RFC 7616 3.9.1
            "MD5",
            "http-auth@example.org",
            "Circle of Life",
            "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v",
            "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
            "8ca523f5e9506fed4657c9700eebdbec",
        ),
        (
            "SHA-256",
            "http-auth@example.org",
            "Circle of Life",
            "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v",
            "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
            "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1",
        ),
    ],
)
def test_the_rfcs_vectors(algorithm: str, realm: str, password: str, nonce: str, cnonce: str, response: str) -> None:
    ha1 = hash_password("Mufasa", realm, password).of(algorithm)
    made = digest_response(algorithm, ha1, "GET", "/dir/index.html", nonce, nc="00000001", cnonce=cnonce, qop="auth")
    assert made == response


def test_both_algorithms_are_offered_the_better_first() -> None:
    challenges = server().challenge(0.0)
    assert [name for name, _ in challenges] == ["WWW-Authenticate", "WWW-Authenticate"]
    assert "SHA-256" in challenges[0][1]
    assert "MD5" in challenges[1][1]


@pytest.mark.parametrize("algorithm", ["SHA-256", "MD5"])
def test_the_right_password_is_accepted(algorithm: str) -> None:
    one = server()
    assert verify(one, answered(one, algorithm=algorithm)) is AuthOutcome.ACCEPTED


def test_without_credentials_for_our_realm_they_are_asked_for() -> None:
    one = server()
    other = Authenticator("other", b"x", seeded_token(1))
    assert verify(one, request()) is AuthOutcome.MISSING
    assert verify(one, answered(other)) is AuthOutcome.MISSING
    for value in ("Basic abc", "Digest", "Digest x", f'Digest realm="{REALM}"', "Digest " + "a=b," * 40, ""):
        assert verify(one, request(("Authorization", value))) is AuthOutcome.MISSING


def test_a_wrong_password_and_an_unknown_user_look_the_same() -> None:
    one = server()
    wrong = one.verify(answered(one, credentials=Credentials("alice", "x")), KEPT.get, 0.0)
    unknown = one.verify(answered(one, credentials=Credentials("bob", "x")), KEPT.get, 0.0)
    assert wrong == unknown
    assert (wrong.outcome, wrong.status) == (AuthOutcome.WRONG, 403)


def test_credentials_for_another_resource_are_wrong() -> None:
    one = server()
    assert verify(one, answered(one, digest_uri="sip:bob@tandem.example")) is AuthOutcome.WRONG
    assert verify(one, answered(one, digest_uri="sip:elsewhere.example")) is AuthOutcome.WRONG
    bob = Uri("tandem.example", "bob")
    assert verify(one, answered(one, uri=bob)) is AuthOutcome.ACCEPTED
    # Some clients leave the user out.
    assert verify(one, answered(one, uri=bob, digest_uri="sip:tandem.example", count=2)) is AuthOutcome.ACCEPTED


def test_an_old_nonce_is_stale_and_not_wrong() -> None:
    one = server(nonce_life_s=60.0)
    message = answered(one, 0.0)
    verdict = one.verify(message, KEPT.get, 60.1)
    assert verdict.outcome is AuthOutcome.STALE
    assert all("stale=true" in value for _, value in verdict.headers)
    fresh = find_challenge(Headers.of(*verdict.headers), 401)
    assert fresh is not None
    assert fresh.stale


def test_a_nonce_of_an_earlier_life_or_of_nobody_is_stale() -> None:
    before = Authenticator(REALM, b"before", seeded_token("x"))
    one = server()
    assert verify(one, answered(before)) is AuthOutcome.STALE
    assert verify(one, answered(before, credentials=Credentials("alice", "x"))) is AuthOutcome.WRONG


def test_a_captured_request_cannot_be_used_again() -> None:
    one = server()
    first = answered(one)
    assert verify(one, first) is AuthOutcome.ACCEPTED
    assert verify(one, first) is AuthOutcome.STALE


def test_counts_may_come_out_of_order_but_each_once() -> None:
    one = server()
    challenge = find_challenge(Headers.of(*one.challenge(0.0)), 401)
    assert challenge is not None

    def use(count: int) -> AuthOutcome:
        value = answer_challenge(challenge, ALICE, "REGISTER", str(TARGET), "c", count)
        return verify(one, request(("Authorization", value)))

    expected = {5: True, 3: True, 4: True, 70: True, 7: True, 6: False}
    assert {count: use(count) is AuthOutcome.ACCEPTED for count in expected} == expected
    assert [use(count) for count in (5, 3, 4, 70, 7, 6, 0)] == [AuthOutcome.STALE] * 7
    assert use(2**32 - 1) is AuthOutcome.ACCEPTED


def test_memory_is_bounded_and_what_was_forgotten_is_stale() -> None:
    one = server(nonces_max=3)
    messages = [answered(one, now) for now in (1.0, 2.0, 3.0, 4.0)]
    assert [verify(one, message, 4.0) for message in messages] == [AuthOutcome.ACCEPTED] * 4
    assert [verify(one, message, 4.0) for message in messages] == [AuthOutcome.STALE] * 4
    assert len(one._used) == 3


def test_the_client_takes_the_first_challenge_that_it_can_answer() -> None:
    headers = Headers.of(
        ("WWW-Authenticate", 'Digest realm="r", nonce="n", algorithm=SHA-512-256, qop="auth"'),
        ("WWW-Authenticate", 'Digest realm="r", nonce="n", qop="auth-int"'),
        ("WWW-Authenticate", "Basic realm=x"),
        ("WWW-Authenticate", 'Digest realm="r", nonce="n2", qop="auth-int, auth", opaque="o,\\"p"'),
    )
    challenge = find_challenge(headers, 401)
    assert challenge is not None
    assert (challenge.nonce, challenge.algorithm, challenge.opaque) == ("n2", "MD5", 'o,"p')
    assert find_challenge(headers, 407) is None


def test_passwords_are_not_in_representations() -> None:
    assert "se" not in repr(ALICE).replace("user", "")
    assert KEPT["alice"].md5 not in repr(KEPT["alice"])
