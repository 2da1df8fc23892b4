"""The session service: contacts with their legs, flows and call control."""
