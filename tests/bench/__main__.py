"""`python -m tests.bench`: the bot beside the plainest programs, in turn on the same stand-ins."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import statistics
import sys
import tempfile
from collections import defaultdict
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

from tests.bench import rows
from tests.bench.programs import ROOT, Program, certify, programs
from tests.bench.rows import QUICK, Figures, Scale

Measure = Callable[[Program, Path, Scale], Awaitable[Figures]]
Medians = dict[str, dict[str, float]]  # by row, then by program

IN_TURN: dict[str, Measure] = {
    "single": rows.single,
    "at-once": rows.at_once,
    "with-delay": rows.with_delay,
    "many": rows.many,
    "hang": rows.while_one_hangs,
}
TOGETHER = ("rare", "rest")  # programs that hardly run do not disturb each other
UNITS = {"commands/s": "", "connections": "", "memory": "MiB", "CPU at rest": "% of a core"}  # else milliseconds

# What is wanted of the bot: row, the program it is compared with, and the most (or least) its share may be.
WANTED: list[tuple[str, str, str, float]] = [
    ("answer, Ryze at 0 ms", "python-telegram-bot", "<=", 1.0),
    ("answer, Ryze at 300 ms", "python-telegram-bot", "<=", 1.0),
    ("commands/s, 20 operators, Ryze at 300 ms", "python-telegram-bot", ">=", 10.0),
    ("commands/s, 100 operators, Ryze at 300 ms", "python-telegram-bot", ">=", 20.0),
    ("CPU a command, 20 operators, Ryze at 0 ms", "python-telegram-bot", "<=", 0.8),
    ("memory at rest", "python-telegram-bot", "<=", 1.5),
    ("memory after 10,000 commands", "python-telegram-bot", "<=", 1.5),
    ("commands/s, 1 operator, Ryze at 0 ms", "aiogram", ">=", 0.95),
    ("commands/s, 20 operators, Ryze at 0 ms", "aiogram", ">=", 0.95),
    ("commands/s, 100 operators, Ryze at 0 ms", "aiogram", ">=", 0.95),
    ("CPU a command, 20 operators, Ryze at 0 ms", "aiogram", "<=", 1.05),
    ("CPU a command, 100 operators, Ryze at 0 ms", "aiogram", "<=", 1.05),
    ("memory at rest", "aiogram", "<=", 1.0),
    ("start", "aiogram", "<=", 1.0),
]
AT_MOST = {"connections to Ryze by rare commands": 1.0, "CPU at rest": 0.5}


def main() -> None:
    known = programs()
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a smoke run: small figures that say nothing")
    parser.add_argument("--rounds", type=int, help="how often each is measured (default 3; with --quick 1)")
    parser.add_argument("--rows", nargs="+", choices=[*IN_TURN, *TOGETHER], default=[*IN_TURN, *TOGETHER])
    usual = [name for name in known if name != "bot-plain"]
    parser.add_argument("--programs", nargs="+", choices=list(known), default=usual, help="bot-plain: no extra `fast`")
    parser.add_argument("--json", type=Path, default=ROOT / "bench.json", help="where the figures go")
    options = parser.parse_args()
    if not Path("/proc/self/stat").exists():
        sys.exit("The benchmark reads processor time and memory from Linux's /proc.")
    chosen = [known[name] for name in options.programs]
    tls = certify()
    for program in chosen:
        program.build()
    figures: defaultdict[str, defaultdict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    with tempfile.TemporaryDirectory() as folder:
        rounds = options.rounds or (1 if options.quick else 3)
        scale = QUICK if options.quick else Scale()
        try:
            asyncio.run(_measure(chosen, options.rows, rounds, scale, Path(folder), tls, figures))
        finally:
            _report(figures, chosen, scale, options.json)


async def _measure(
    chosen: list[Program],
    groups: list[str],
    rounds: int,
    scale: Scale,
    folder: Path,
    tls: tuple[Path, Path],
    figures: defaultdict[str, defaultdict[str, list[float]]],
) -> None:
    async def note(program: Program, measured: Awaitable[Figures]) -> None:
        for row, figure in (await measured).items():
            figures[row][program.name].append(figure)

    for name, measure in IN_TURN.items():
        # The long run once: what grows shows in it, and the rest is not affected by chance.
        for number in range(rounds if name != "many" else 1):
            for program in chosen if name in groups else ():
                print(f"{name}, round {number + 1}: {program.name} …", file=sys.stderr, flush=True)
                await note(program, measure(program, folder, scale))
    print("rare, rest …" if set(groups) & set(TOGETHER) else "", file=sys.stderr, flush=True)
    async with asyncio.TaskGroup() as tasks:
        for program in chosen:
            if "rest" in groups:
                tasks.create_task(note(program, rows.at_rest(program, folder, scale)))
            for certificate in (None, tls) if "rare" in groups else ():
                tasks.create_task(note(program, rows.rare(program, folder, scale, certificate)))


def _report(figures: dict[str, defaultdict[str, list[float]]], chosen: list[Program], scale: Scale, path: Path) -> None:
    """Print the table and write the JSON."""
    medians: Medians = {
        row: {name: statistics.median(of) for name, of in by_program.items()} for row, by_program in figures.items()
    }
    names = [program.name for program in chosen]
    table = [["", *names]]
    for row, values in medians.items():
        unit = next((unit for start, unit in UNITS.items() if row.startswith(start)), "ms")
        table.append([f"{row} ({unit})" if unit else row, *(_figure(values.get(name)) for name in names)])
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for line in table:
        print("  ".join([line[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(line[1:], widths[1:], strict=True))]))
    verdicts = _verdicts(medians, names)
    print(
        "",
        *(f"{'yes' if verdict['met'] else 'NO ':3} {verdict['wanted']}: {verdict['is']}" for verdict in verdicts),
        sep="\n",
    )
    cores = len(os.sched_getaffinity(0))
    machine = f"{cores} cores, load {os.getloadavg()[0]:.1f}, Python {platform.python_version()}"
    whole = {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine,
        "scale": vars(scale),
        "medians": medians,
        "rounds": figures,
        "wanted": verdicts,
    }
    path.write_text(json.dumps(whole, indent=2) + "\n", encoding="utf-8")
    print(f"\n{machine}; written to {path}")


def _figure(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.2f}" if value < 10 else f"{value:,.1f}" if value < 1000 else f"{value:,.0f}"


def _verdicts(medians: Medians, names: list[str]) -> list[dict[str, object]]:
    verdicts: list[dict[str, object]] = []
    for ours in (name for name in names if name.startswith("bot")):
        for row, other, sign, share in WANTED:
            values = medians.get(row, {})
            if ours in values and other in values:
                is_share = values[ours] / values[other]
                met = is_share <= share if sign == "<=" else is_share >= share
                verdicts.append(_verdict(f"{ours}: {row} {sign} {share:g} × {other}", f"{is_share:.2f} ×", met))
        for row, most in AT_MOST.items():
            if ours in (values := medians.get(row, {})):
                verdicts.append(_verdict(f"{ours}: {row} <= {most:g}", f"{values[ours]:.2f}", values[ours] <= most))
    return verdicts


def _verdict(wanted: str, found: str, met: bool) -> dict[str, object]:  # noqa: FBT001 - private, and read at its place
    return {"wanted": wanted, "is": found, "met": met}


if __name__ == "__main__":
    main()
