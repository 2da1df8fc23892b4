"""The production media node: FreeSWITCH over its event socket (ESL), decided here without a socket.

`node.Node` is what an edge feeds with frames, links and time; it gives out commands, deadlines and
notices, and tells the agent what the port knows.
"""
