"""The handlers: who is asking, which chat, do it, say it. The only module that puts these steps in sequence."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import secrets
from collections import OrderedDict
from dataclasses import replace
from typing import TYPE_CHECKING

from telegram.error import TelegramError

from bot.access import Denied, Reason, identify
from bot.buttons import Press, instance_hash, unpack
from bot.chats import AmbiguousChat, ChatError, parse_chat
from bot.replies import Answer, clean, shorten
from bot.throttle import Throttle

if TYPE_CHECKING:
    from telegram import CallbackQuery, Message, Update, User

    from bot.attempts import Attempts
    from bot.config import Config, Operator
    from bot.intake import Pending
    from bot.outbox import Outbox
    from bot.replies import Replies

log = logging.getLogger(__name__)

COMMANDS = frozenset({"pin", "unpin", "start", "help", "id"})
REMEMBERED_TEXTS = 1000  # of operators' latest commands, to tell a change of the text from another edit
_COMMAND = re.compile(r"/([A-Za-z0-9_]+)(?:@([A-Za-z0-9_]+))?(?!\S)(.*)", re.DOTALL)
_ALMOST = re.compile(r"(/?)(un)?pin(?![A-Za-z])[\s:]*(.*)", re.DOTALL | re.IGNORECASE)
# In private these are Telegram's notes of what somebody did, not something that a person sends.
_NOTES = (
    *("pinned_message", "message_auto_delete_timer_changed", "chat_background_set", "write_access_allowed"),
    *("forum_topic_created", "forum_topic_edited", "forum_topic_closed", "forum_topic_reopened", "connected_website"),
    *("checklist_tasks_added", "checklist_tasks_done", "poll_option_added", "poll_option_deleted"),
    *("gift", "unique_gift", "gift_upgrade_sent", "boost_added", "giveaway_created", "giveaway_completed"),
    *("successful_payment", "refunded_payment", "paid_message_price_changed", "proximity_alert_triggered"),
    *("video_chat_scheduled", "video_chat_started", "video_chat_ended", "video_chat_participants_invited"),
)


class Commands:
    """Answers updates. `handle` never raises, whatever happens inside."""

    def __init__(self, config: Config, username: str, attempts: Attempts, outbox: Outbox, replies: Replies) -> None:
        self._config = config
        self._username = username.lower()
        self._attempts = attempts
        self._outbox = outbox
        self._replies = replies
        self._refusals = Throttle(per_key=3, overall=10)  # a minute, and so the next
        self._denials = Throttle(per_key=3, overall=10)
        self._texts: OrderedDict[tuple[int, int], int] = OrderedDict()
        self._instances = {instance_hash(name): name for name in config.instances}

    async def handle(self, update: Update, pending: Pending) -> None:
        """Answer one update, exactly once if it wants an answer; what goes wrong inside becomes an apology."""
        try:
            if update.callback_query:
                await self._press(update.callback_query, pending)
            elif update.message or update.edited_message:
                await self._message(update, pending)
        except (Exception, asyncio.CancelledError) as error:
            task = asyncio.current_task()
            if isinstance(error, asyncio.CancelledError) and task and task.cancelling():
                raise  # the bot is stopping; a stray CancelledError is a failure like any other
            reference = secrets.token_hex(4)
            log.exception("update %s failed, reference %s", update.update_id, reference)
            await self._apologise(update, reference)

    async def _message(self, update: Update, pending: Pending) -> None:
        message = update.message or update.edited_message
        assert message is not None  # noqa: S101 - `handle` looked
        command, rest = self._command(message)
        private = message.chat.type == "private"
        if (command == "" and not private) or (private and any(getattr(message, note) for note in _NOTES)):
            return
        try:
            operator = identify(update, self._config.operators)
        except Denied as denied:
            await self._deny(message, denied, command)
            return
        self._text_changed(message)
        if command in ("pin", "unpin"):
            await self._pin(message, operator, pending, rest, pin=command == "pin")
        elif command in ("help", "start"):
            await self._say(message, self._replies.say("help", instance=operator.instance))
        elif command == "id":
            await self._say(message, self._replies.say("id", telegram_id=operator.telegram_id))
        elif private:
            await self._say(message, self._hint(message, command))

    async def _pin(self, message: Message, operator: Operator, pending: Pending, typed: str, *, pin: bool) -> None:
        instance = operator.instance
        try:
            chat = parse_chat(typed, self._config.region)
        except AmbiguousChat as two:
            await self._outbox.reply(message, self._replies.which_reading(two, instance, pin=pin), operator.telegram_id)
        except ChatError as problem:
            await self._outbox.reply(message, self._replies.no_chat(problem, instance, pin=pin), operator.telegram_id)
        else:
            press = Press(pin, instance_hash(instance), chat, operator.telegram_id)
            async with self._attempts.attempt(press, operator, instance, pending, message, sent=message.date) as answer:
                await self._outbox.reply(message, answer, operator.telegram_id)

    async def _press(self, query: CallbackQuery, pending: Pending) -> None:
        press = unpack(query.data or "")
        operator = None if query.from_user.is_bot else self._config.operators.get(query.from_user.id)
        instance = press and self._instances.get(press.instance_hash)
        if operator is None:
            refusal = "press_stranger"
        elif press is None or query.message is None:
            refusal = "press_unknown"
        elif instance is None or instance not in operator.instances:
            refusal = "press_other_instance"
        elif press.owner not in (None, operator.telegram_id):
            refusal = "press_other_operator"
        else:
            confirmed = asyncio.create_task(self._answer_query(query))
            message = query.message
            async with self._attempts.attempt(press, operator, instance, pending, message) as answer:
                by = f"\n{self._replies.say('pressed_by', name=operator.name)}"
                said = answer if message.chat.type == "private" else replace(answer, text=answer.text + by)
                await self._outbox.edit(message, said, operator.telegram_id)
            await confirmed
            return
        if operator or self._denials.allow(query.from_user.id):
            log.info("denied a button: %s, sender %s", refusal, query.from_user.id)
        await self._answer_query(query, self._replies.plain(refusal))

    async def _deny(self, message: Message, denied: Denied, command: str | None) -> None:
        sender = message.from_user
        private = message.chat.type == "private"
        ours = command in COMMANDS
        if sender is None or not (private or ours):
            return
        if denied.operator or self._denials.allow(sender.id):
            log.info("denied: %s, sender %s, chat %s", denied.reason, sender.id, message.chat.type)
        if not private:
            return
        if denied.operator:
            changed = self._text_changed(message)
            if ours and (denied.reason is not Reason.EDITED or changed):
                await self._say(message, self._replies.say(denied.reason))
            elif not ours and denied.reason in (Reason.FORWARDED, Reason.VIA_BOT):
                await self._say(message, self._hint(message, command))
        elif denied.reason is Reason.STRANGER:
            key = "id" if command == "id" else "stranger"
            if self._refusals.allow((sender.id, key)):
                entry = self._entry(sender) if key == "stranger" else ""
                await self._say(message, self._replies.say(key, telegram_id=sender.id) + entry)

    def _entry(self, stranger: User) -> str:
        """Write the stranger down as the configuration has operators, indented as its example is."""
        name = clean(shorten(stranger.full_name, 64)).strip() or str(stranger.id)
        name = json.dumps(name.replace("${", "$${"), ensure_ascii=False)  # nobody's name becomes a variable's value
        return f"\n<pre>{self._replies.say('stranger_entry', telegram_id=stranger.id, name=name)}</pre>"

    def _command(self, message: Message) -> tuple[str | None, str]:
        """The command's name and what follows it: None if the text is none, "" if it is for another bot."""
        found = _COMMAND.fullmatch(message.text or "")
        if not found:
            return None, ""
        if found[2] and found[2].lower() != self._username:
            return "", ""
        return found[1].lower(), found[3].strip()

    def _text_changed(self, message: Message) -> bool:
        """Remember a message's text, and tell whether it is another than it was when last seen."""
        key, seen = (message.chat.id, message.message_id), hash(message.text)
        changed = self._texts.get(key) != seen
        self._texts[key] = seen
        if len(self._texts) > REMEMBERED_TEXTS:
            self._texts.popitem(last=False)
        return changed

    def _hint(self, message: Message, command: str | None) -> str:
        example = self._replies.plain("example")
        if command == "":
            return self._replies.say("hint_other_bot", example=example)
        almost = _ALMOST.match(message.text or "")
        if not almost:
            return self._replies.say("hint_unknown")
        rest = shorten(almost[3], 40) if any(c.isdigit() for c in almost[3]) else example
        command = (almost[2] or "").lower() + "pin"
        return self._replies.say("hint_space" if almost[1] else "hint_slash", command=command, rest=rest)

    async def _say(self, message: Message, text: str) -> None:
        assert message.from_user is not None  # noqa: S101 - nobody else is answered
        await self._outbox.reply(message, Answer(text), message.from_user.id)

    async def _answer_query(self, query: CallbackQuery, text: str | None = None) -> None:
        try:
            await self._outbox.patiently(lambda: query.answer(text, show_alert=bool(text)), patience=10)
        except TelegramError as error:  # it lives for a short while only, and nothing depends on it
            log.debug("a button's press could not be confirmed: %s", error)

    async def _apologise(self, update: Update, reference: str) -> None:
        text = self._replies.say("failed_inside", reference=reference)
        try:
            query, person = update.callback_query, update.effective_user
            message = query.message if query else update.message
            if query:
                await self._answer_query(query)
            if message and person and person.id in self._config.operators:
                await self._outbox.reply(message, Answer(text), person.id)
        except Exception:
            log.exception("reference %s: the apology failed too", reference)
