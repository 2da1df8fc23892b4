"""Tandem: a contact centre whose calls survive the death of its control plane."""
