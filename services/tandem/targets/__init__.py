"""What one process runs: the only place where adapters are made and ports are passed.

`run all` is every target but `media`: `targets.control` makes the control plane,
`targets.serving` serves its API, `targets.media` is the media node. They are modules of
their own so that a process imports what it runs: a restart is quicker by what it leaves out.
"""
