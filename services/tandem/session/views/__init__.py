"""Projections: a contact's events -> its row, and the tables that history is read from."""

from tandem.session.views.live import row_of
from tandem.session.views.rows import ROWS, ContactRow, LegRow, Party, Phase, fold, read, told_of
from tandem.session.views.tables import (
    BY_TIME,
    CONTACTS,
    TABLES,
    TIMELINE,
    VIEW,
    ContactView,
    decode_envelope,
    encode_envelope,
)

__all__ = [
    "BY_TIME",
    "CONTACTS",
    "ROWS",
    "TABLES",
    "TIMELINE",
    "VIEW",
    "ContactRow",
    "ContactView",
    "LegRow",
    "Party",
    "Phase",
    "decode_envelope",
    "encode_envelope",
    "fold",
    "read",
    "row_of",
    "told_of",
]
