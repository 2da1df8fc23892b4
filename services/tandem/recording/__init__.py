"""Recordings: what there is, who it belongs to, and how it is heard."""
