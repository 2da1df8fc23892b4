"""Pure words that every service shares: no I/O, no clock, no chance."""
