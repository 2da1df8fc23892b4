"""REST and live streams from the protos' annotations."""

from tandem.gateway.app import Gateway, Settings

__all__ = ["Gateway", "Settings"]
