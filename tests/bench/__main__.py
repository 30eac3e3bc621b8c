"""`python -m tests.bench`: the bot beside the plainest programs, in turn on the same stand-ins."""

import argparse
import asyncio
import os
import platform
import statistics
import sys
from collections import defaultdict
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

from tests.bench import rows
from tests.bench.stage import Program, programs

Row = Callable[[Program], Awaitable[rows.Figures]]
Found = dict[str, dict[str, list[float]]]  # by row, then by program
ROWS: dict[str, Row] = {
    "single": rows.single,
    "at-once": rows.many,
    "with-delay": partial(rows.many, delay=0.3),
    "rare": rows.rare,
}

# What is wanted of the bot: row, the program it is compared with, and the most (or least) its share may be.
WANTED = [
    ("CPU a command, 20 operators, Ryze at 0 ms (ms)", "aiogram", "<=", 1.1),
    ("commands/s, 20 operators, Ryze at 0 ms", "aiogram", ">=", 0.95),
    ("CPU a command, 20 operators, Ryze at 0 ms (ms)", "python-telegram-bot", "<=", 0.35),
    ("answer, Ryze at 0 ms (ms)", "python-telegram-bot", "<=", 0.7),
    ("memory at rest (MiB)", "python-telegram-bot", "<=", 1.5),
    ("commands/s, 20 operators, Ryze at 300 ms", "python-telegram-bot", ">=", 10.0),
    ("commands/s, 100 operators, Ryze at 300 ms", "python-telegram-bot", ">=", 20.0),
]


def main() -> None:
    known = programs()
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="how often each is measured (default: 3)")
    parser.add_argument("--rows", nargs="+", choices=list(ROWS), default=list(ROWS))
    parser.add_argument("--programs", nargs="+", choices=list(known), default=list(known))
    options = parser.parse_args()
    if not Path("/proc/self/stat").exists():
        sys.exit("The benchmark reads processor time and memory from Linux's /proc.")
    chosen = [known[name] for name in options.programs]
    for program in chosen:
        program.build()
    found: Found = defaultdict(lambda: defaultdict(list))
    try:
        asyncio.run(_measure(chosen, options.rows, options.rounds, found))
    finally:
        _report(found, options.programs)


async def _measure(chosen: list[Program], groups: list[str], rounds: int, found: Found) -> None:
    for name in groups:
        for _ in range(1 if name == "rare" else rounds):  # once is enough to count connections
            for program in chosen:
                print(f"{name}: {program.name} …", file=sys.stderr, flush=True)
                for row, figure in (await ROWS[name](program)).items():
                    found[row][program.name].append(figure)


def _report(found: Found, names: list[str]) -> None:
    """Print the medians as a table, then what was wanted of them."""
    medians = {row: {name: statistics.median(of) for name, of in figures.items()} for row, figures in found.items()}
    table = [["", *names]]
    for row, values in medians.items():
        table.append([row, *(f"{values[name]:,.2f}" if name in values else "–" for name in names)])
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for row, *figures in table:
        print("  ".join([row.ljust(widths[0]), *(f.rjust(w) for f, w in zip(figures, widths[1:], strict=True))]))
    print()
    for row, other, sign, share in WANTED:
        values = medians.get(row, {})
        if {"bot", other} <= values.keys():
            is_share = values["bot"] / values[other]
            met = is_share <= share if sign == "<=" else is_share >= share
            print(f"{'yes' if met else 'NO ':3} {row} {sign} {share:g} × {other}: {is_share:.2f} ×")
    for row, values in medians.items():
        if row.startswith("connections") and "bot" in values:
            print(f"{'yes' if values['bot'] == 1 else 'NO ':3} {row}: {values['bot']:.0f}")
    cores = len(os.sched_getaffinity(0))
    print(f"\n{cores} cores, load {os.getloadavg()[0]:.1f}, Python {platform.python_version()}")


if __name__ == "__main__":
    main()
