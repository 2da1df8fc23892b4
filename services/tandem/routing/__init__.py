"""The routing service: presence, waiting lines and offers."""
