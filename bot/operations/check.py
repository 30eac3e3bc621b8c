"""What `check` says: what is set, and what is allowed but looks wrong."""

import os
import re
from collections import Counter
from collections.abc import Iterator
from urllib.parse import urlsplit

from bot.settings.model import Settings


def describe(settings: Settings) -> str:
    """Return the settings, the instances and the operators as a table, tokens masked."""
    webhook = settings.webhook  # of its address the host alone: the path may be a secret
    history = "PostgreSQL" if settings.database_url else settings.state
    rows = [
        ("Configuration", settings.source),
        ("Telegram", f"{settings.telegram.api_url}, bot {settings.telegram_token.partition(':')[0]}"),
        ("Updates", f"pushed to {urlsplit(webhook.url).netloc}, port {webhook.port}" if webhook else "long polling"),
        ("Ryze", f"{settings.ryze.base_url}, {settings.ryze.timeout:g} s at most"),
        ("Region", settings.region or "none: numbers are sent with their country code"),
        ("History", f"{history}, for {settings.keep.days} days" if settings.keep else "none"),
        ("Admins", ", ".join(map(str, settings.admins)) or "none"),
    ]
    for name, instance in settings.instances.items():
        shown = instance.token[-4:] if len(instance.token) >= 12 else ""
        rows.append((f"Instance {name}", f"token …{shown}, {instance.pins} pins"))
    for number, operator in settings.operators.items():
        rows.append((f"Operator {operator.name}", f"{number} on {', '.join(operator.instances)}"))
    rows += [] if settings.operators else [("Operators", "none: nobody is let in")]
    return "\n".join(f"{name:<24}{value}" for name, value in rows)


def warnings(settings: Settings) -> Iterator[str]:
    """Yield what is allowed and looks wrong all the same, a sentence each."""
    uses = Counter(instance.token for instance in settings.instances.values())
    for name, instance in settings.instances.items():
        if re.fullmatch(r"\$?[A-Z][A-Z0-9]*(_[A-Z0-9]+)+", instance.token):
            yield f"instances.{name}.token: looks like a variable's name: write it as ${{NAME}}"
        if uses[instance.token] > 1:
            yield f"instances.{name}.token: another instance has the same: give each its own"
    for person in sorted({*settings.admins, *settings.operators}):
        if person >= 10**10:  # more digits than today's ids have
            yield f"{person}: the id looks like a phone number: write what the bot answers to /id"
    folder, file = settings.state.parent, settings.state  # SQLite writes in both
    writable = os.access(folder, os.W_OK) and (not file.exists() or (file.is_file() and os.access(file, os.W_OK)))
    if settings.keep and not settings.database_url and not writable:
        yield f"state: {file} can't be written: make its folder, or write another"
