"""Credentials of a TURN relay."""

from __future__ import annotations

from tandem.core.relay import Relay

RELAY = Relay(("turn:relay.example",), b"a secret of coturn", 600)


def test_a_credential_is_the_one_that_openssl_makes():
    issued = RELAY.issue("ann.acme", 1767225000)
    assert (issued.username, issued.expires_s) == ("1767225600:ann.acme", 1767225600)
    # printf 1767225600:ann.acme | openssl dgst -sha1 -hmac 'a secret of coturn' -binary | base64
    assert issued.password == "1keZvZ2PyJaAphjzyLj5ay1nZ/4="


def test_another_name_another_time_and_another_secret_have_another_proof():
    others = (
        RELAY.issue("bob.acme", 1767225000),
        RELAY.issue("ann.acme", 1767225001),
        Relay(RELAY.urls, b"another secret", 600).issue("ann.acme", 1767225000),
    )
    assert len({other.password for other in (*others, RELAY.issue("ann.acme", 1767225000))}) == 4


def test_neither_secret_nor_proof_is_shown():
    issued = RELAY.issue("ann.acme", 0)
    assert "secret" not in repr(RELAY).replace("secret_", "")
    assert issued.password not in repr(issued)
