"""Bad adapters, at least one for each clause of each contract suite.

Each is a memory adapter with one defect that a real one could have. `test_planted.py` runs
the clause that must catch it, and fails if the clause passes.
"""
