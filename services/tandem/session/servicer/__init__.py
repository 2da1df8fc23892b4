"""The public API of contacts: protobuf <-> commands and queries, nothing more."""

from tandem.session.servicer.service import API, SessionServicer

__all__ = ["API", "SessionServicer"]
