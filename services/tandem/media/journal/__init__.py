"""What an agent must know after its own death: its changes, their fold and the sealed file."""
