"""Answers FreeSWITCH's look-ups of accounts (mod_xml_curl), over HTTP on loopback.

A phone proves its password to FreeSWITCH, against the digest that stands in the answer. The answer may be
kept for ever: the node has it forgotten when the account changes (`Keeping.forget`), and
a phone whose account is kept can register while no agent lives (pitfalls M2).
"""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import parse_qs
from xml.sax.saxutils import quoteattr

from tandem.media.backend import MergedDirectory
from tandem.runtime.http_driver import BadRequest, HttpLimits, HttpServer, Request, Response

LIMITS = HttpLimits(head_bytes=16 * 1024, body_bytes=64 * 1024, clients=200)
"""What mod_xml_curl sends of a REGISTER is 2 KB. Each of FreeSWITCH's threads asks once at a time; it has one for each
core and some."""
_UNKNOWN = '<document type="freeswitch/xml"><section name="result"><result status="not found"/></section></document>'
_USER = (
    '<document type="freeswitch/xml"><section name="directory"><domain name={realm}>'
    '<user id={user} cacheable="true"><params><param name="a1-hash" value={digest}/></params></user>'
    "</domain></section></document>"
)


def account(directory: MergedDirectory | None, form: bytes) -> str | None:
    """The answer to a look-up; None while nobody has told whose accounts there are. Raises `BadRequest`."""
    try:
        fields = parse_qs(form.decode(), max_num_fields=500)
    except ValueError as error:
        raise BadRequest(str(error)) from error
    if directory is None:
        return None
    user, realm = fields.get("user", [""])[0], fields.get("domain", fields.get("key_value", [""]))[0]
    entry = directory.devices.get(user)
    if entry is None or entry.realm != realm or not entry.ha1_md5:
        return _UNKNOWN
    return _USER.format(realm=quoteattr(realm), user=quoteattr(user), digest=quoteattr(entry.ha1_md5))


def accounts(host: str, port: int, directory: Callable[[], MergedDirectory | None]) -> HttpServer:
    """A server of look-ups; 503 while nobody has told whose accounts there are."""

    def answer(request: Request) -> Response:
        if request.method != "POST":
            raise BadRequest("no POST")
        found = account(directory(), request.body)
        return Response(503) if found is None else Response(200, found.encode(), "text/xml")

    return HttpServer(host, port, LIMITS, answer)
