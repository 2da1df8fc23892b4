"""50 calls through the built-in node: how evenly it sends when it is full (`bench_builtin`)."""

from __future__ import annotations

from tests.load.bench_builtin import builtin
from tests.load.figures import run_row

if __name__ == "__main__":
    run_row(builtin, __doc__)
