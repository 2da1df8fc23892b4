"""The built-in media node: a small real SIP and RTP endpoint behind the `Media` port.

`node` decides what happens and is sans-I/O, with its parts: `arrivals`, `verbs`,
`registrar`, `plane` (the audio of all legs), `recorder`. `driver` moves bytes and time.
"""
