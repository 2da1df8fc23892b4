"""Contacts and the reception: what the session service decides. Pure."""
