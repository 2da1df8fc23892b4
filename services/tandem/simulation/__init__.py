"""The seeded simulator: a whole cell on virtual time."""
