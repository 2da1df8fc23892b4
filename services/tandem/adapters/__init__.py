"""One technology per file or folder; each passes the contract suite of its port (`tests/contract`).

`targets.py` builds them once per process and hands them out as ports. Nothing else imports
this package, but the simulator, which takes `memory`.
"""
