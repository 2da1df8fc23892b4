"""SIP over UDP, sans I/O: messages, digest, transactions, dialogs, endpoint, registrar."""
