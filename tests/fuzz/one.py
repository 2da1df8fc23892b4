"""Fuzzes one target: `python -m tests.fuzz.one NAME CORPUS_DIR [libFuzzer options]`.

Ends with libFuzzer's own statistics; a failing input is left in the corpus directory's parent.
"""

from __future__ import annotations

import sys
from pathlib import Path

INPUT_S = 60
"""An input that takes longer hangs. It is time by the wall, on a machine that may have much else to do."""


def main() -> None:
    """Never returns: libFuzzer ends the process."""
    import atheris

    with atheris.instrument_imports(include=["tandem"], enable_loader_override=False):
        from tests.fuzz import seeds
        from tests.fuzz.table import TARGETS

    name, directory, *options = sys.argv[1:]
    target, corpus = TARGETS[name], Path(directory)
    corpus.mkdir(parents=True, exist_ok=True)
    for index, seed in enumerate(seeds.all_of(name)):
        (corpus / f"seed-{index:04d}").write_bytes(seed)
    arguments = [
        sys.argv[0],
        str(corpus),
        f"-max_len={target.max_bytes}",
        f"-timeout={INPUT_S}",
        "-rss_limit_mb=1024",
        "-print_final_stats=1",
        f"-artifact_prefix={corpus.parent}/{name}-",
        *options,
    ]
    atheris.Setup(arguments, target.check)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
