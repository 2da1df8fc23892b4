"""Sans-I/O codecs and protocol cores: bytes to messages and back, no socket, no clock."""
