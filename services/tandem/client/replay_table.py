"""A contact's life as a table on the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tandem.runtime.life import Moment, What

_STYLES = {What.EVENT: "bold", What.INPUT: "cyan", What.ORDER: "green", What.TIMER: "yellow", What.MESSAGE: "magenta"}


def show_life(title: str, moments: Sequence[Moment], console: Console | None = None) -> None:
    """Print it, oldest first. Times are shard time, UTC."""
    table = Table(title=title, title_justify="left", header_style="bold", pad_edge=False)
    table.add_column("time")
    table.add_column("n", justify="right")
    table.add_column("what")
    table.add_column("name", overflow="fold")
    table.add_column("values", overflow="fold", ratio=1)
    table.add_column("because of", overflow="fold")
    for moment in moments:
        at = datetime.fromtimestamp(moment.time_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
        values = " ".join(f"{name}={value}" for name, value in moment.fields if value)
        name = moment.type if moment.what is not What.EVENT else f"{moment.type} ({moment.stream})"
        style = _STYLES[moment.what]
        cells = (Text(text) for text in (name, values, moment.cause))
        table.add_row(at, str(moment.n), Text(moment.what.value, style), *cells)
    (console or Console()).print(table)
