"""A contact: one person's matter from its arrival to its one outcome, on whichever channel.

`states` says what can be known when, `evolve` how events change it, `react` what is to be done
because of them. What is decided stands by phase, each with its rows of the table: `flow`,
`waiting`, `offers`, `talking`, `ending`, and `recordings` across them all; `decide` is the whole
table, and `recovery` stands before it for what could not be decided.
"""
