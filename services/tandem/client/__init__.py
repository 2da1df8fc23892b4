"""What the command line, the demo and the tests use to talk to Tandem; robots."""
