"""What `check` says of settings that are allowed: a table of them, and what looks wrong all the same."""

import os
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from bot.settings.model import Settings

MASK_SHOWS_FROM = 12  # characters: of a shorter token the last four would be too much
TELEGRAM_IDS_BELOW = 10**10  # today's ids have up to ten digits, a phone number with its country code has more


def describe(settings: Settings) -> str:
    """Return the table of the settings, the instances and the operators, tokens masked."""
    updates = "long polling"
    if settings.webhook:
        address = urlsplit(settings.webhook.url)  # without its path, which may be a secret
        updates = f"pushed to {address.scheme}://{address.netloc}, port {settings.webhook.port}"
    history = "PostgreSQL" if settings.database_url else settings.state
    rows = [
        ("Configuration", settings.source),
        ("Telegram", f"{settings.telegram.api_url}, token {_masked(settings.telegram_token)}"),
        ("Updates", updates),
        ("Ryze", f"{settings.ryze.base_url}, {settings.ryze.timeout:g} s at most"),
        ("Region", settings.region or "none: numbers are sent with their country code"),
        ("Language", settings.language or "each person's own"),
        ("Time zone", settings.timezone),
        ("History", f"{history}, for {settings.keep.days} days" if settings.keep else "none"),
        ("Admins", ", ".join(map(str, settings.admins)) or "none"),
        ("Metrics", "{}, port {}".format(*settings.metrics) if settings.metrics else "none"),
        ("Log level", settings.log_level),
    ]
    instances = [(item.name, _masked(item.token), item.pins) for item in settings.instances.values()]
    operators = [(item.name, item.telegram_id, ", ".join(item.instances)) for item in settings.operators.values()]
    shown = [_table(rows), _table([("Instance", "Token", "Pins"), *instances])]
    shown.append(_table([("Operator", "Telegram id", "Instance"), *operators]))
    return "\n\n".join(shown if operators else [*shown, "No operators: nobody is let in."])


def warnings(settings: Settings) -> Iterator[str]:
    """Yield what is allowed and looks wrong all the same, a sentence each."""
    sharing = defaultdict(list)
    for instance in settings.instances.values():
        sharing[instance.token].append(instance.name)
        if re.fullmatch(r"\$?[A-Z][A-Z0-9]*(_[A-Z0-9]+)+", instance.token):
            yield f"instances.{instance.name}.token: looks like a variable's name: write it as ${{NAME}}"
    for names in sharing.values():
        if len(names) > 1:
            yield f"instances {', '.join(names)}: the same token: give each its own, which reaches no other instance"
    people = {number: f"admin {number}" for number in settings.admins}
    people |= {number: f"operator {operator.name}" for number, operator in settings.operators.items()}
    for number, who in people.items():
        if number >= TELEGRAM_IDS_BELOW:
            yield f"{who}: the id looks like a phone number: write what the bot answers to the person's /id"
    if settings.keep and not settings.database_url and not _is_writable(settings.state):
        yield f"state: {settings.state} can't be written, so nothing would be kept: make its folder, or write another"
    if settings.webhook and settings.metrics and settings.webhook.port == settings.metrics[1]:
        yield "METRICS_PORT: the same as PORT: write another"


def _is_writable(state: Path) -> bool:
    # SQLite also writes files beside it.
    there = not state.exists() or (state.is_file() and os.access(state, os.W_OK))
    return there and os.access(state.parent, os.W_OK | os.X_OK)


def _table(rows: Sequence[tuple[object, ...]]) -> str:
    texts = [[str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in texts)


def _masked(token: str) -> str:
    return f"…{token[-4:]}" if len(token) >= MASK_SHOWS_FROM else "…"
