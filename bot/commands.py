"""The handlers: who is asking, which chat, do it, say it. The only module that puts these steps in sequence."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import secrets
from collections import OrderedDict
from typing import TYPE_CHECKING

from bot.access import Denied, Reason, identify
from bot.lists import history, pins
from bot.replies import Answer, clean, shorten
from bot.throttle import Throttle

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from telegram import Message, Update, User

    from bot.admins import Admins
    from bot.config import Config, Operator
    from bot.intake import Pending
    from bot.languages import Languages
    from bot.outbox import Outbox
    from bot.pinning import Pinning
    from bot.presses import Presses
    from bot.replies import Replies
    from bot.store import Store

log = logging.getLogger(__name__)

COMMANDS = frozenset({"pin", "unpin", "pins", "history", "start", "help", "id"})
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

    def __init__(
        self,
        config: Config,
        username: str,
        languages: Languages,
        pinning: Pinning,
        presses: Presses,
        admins: Admins,
        store: Store,
        outbox: Outbox,
    ) -> None:
        self._config = config
        self._username = username.lower()
        self._languages = languages
        self._pinning = pinning
        self._presses = presses
        self._admins = admins
        self._store = store
        self._outbox = outbox
        self._refusals = Throttle(per_key=3, overall=10)  # a minute, and so the next
        self._denials = Throttle(per_key=3, overall=10)
        self._texts: OrderedDict[tuple[int, int], int] = OrderedDict()

    async def handle(self, update: Update, pending: Pending) -> None:
        """Answer one update, exactly once if it wants an answer; what goes wrong inside becomes an apology."""
        try:
            if update.callback_query:
                await self._presses.press(update.callback_query, pending)
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
        replies = self._languages.of(operator, message.from_user)
        if command in ("pin", "unpin"):
            await self._pin(message, operator, pending, rest, replies, pin=command == "pin")
        elif command in ("pins", "history"):
            await self._list(message, operator, rest, replies, pins if command == "pins" else history)
        elif command in ("help", "start"):
            instances = ", ".join(operator.instances)
            await self._say(message, replies.say("help", instance=instances, example=replies.plain("example")))
        elif command == "id":
            await self._say(message, replies.say("id", telegram_id=operator.telegram_id))
        elif private:
            await self._offer_or_hint(message, operator, command, replies)

    async def _pin(
        self, message: Message, operator: Operator, pending: Pending, typed: str, replies: Replies, *, pin: bool
    ) -> None:
        asked = await self._pinning.asked(message, operator, pending, typed, replies, pin=pin)
        if isinstance(asked, Answer):
            await self._answer(message, asked)
            return
        async with asked as done:
            told = await self._admins.hear(done.attempted)
            await self._answer(message, replies.with_admin(done.answer) if told else done.answer)

    async def _list(
        self,
        message: Message,
        operator: Operator,
        typed: str,
        replies: Replies,
        listed: Callable[[Store, str, Replies], Awaitable[Answer]],
    ) -> None:
        instance = next((name for name in operator.instances if name.casefold() == typed.casefold()), None)
        if message.chat.type != "private":
            await self._say(message, replies.say("in_private", username=self._username))
        elif typed and instance is None:
            await self._say(message, replies.not_yours(typed, operator.instances))
        else:
            await self._answer(message, await listed(self._store, instance or operator.instance, replies))

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
            replies = self._languages.of(denied.operator, sender)
            if ours and (denied.reason is not Reason.EDITED or changed):
                await self._say(message, replies.say(denied.reason))
            elif not ours and denied.reason in (Reason.FORWARDED, Reason.VIA_BOT):
                # A forwarded contact or number does nothing by itself: only a tap on what is offered for it acts.
                await self._offer_or_hint(message, denied.operator, command, replies)
        elif denied.reason is Reason.STRANGER:
            await self._refuse(message, sender, "id" if command == "id" else "stranger")

    async def _refuse(self, message: Message, stranger: User, key: str) -> None:
        if not self._refusals.allow((stranger.id, key)):
            return
        replies = self._languages.of(None, stranger)
        if key == "id":
            await self._say(message, replies.say("id", telegram_id=stranger.id))
            return
        # As the configuration has operators, indented as its example is.
        name = clean(shorten(stranger.full_name, 64)).strip() or str(stranger.id)
        name = json.dumps(name.replace("${", "$${"), ensure_ascii=False)  # nobody's name becomes a variable's value
        entry = replies.plain("stranger_entry", telegram_id=stranger.id, name=name)
        await self._say(message, replies.say("stranger", telegram_id=stranger.id, entry=entry))
        await self._admins.request(stranger, entry)

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

    async def _offer_or_hint(self, message: Message, operator: Operator, command: str | None, replies: Replies) -> None:
        offer = self._pinning.offer(message, operator, replies) if command is None else None
        await self._answer(message, offer or Answer(self._hint(message, command, replies)))

    @staticmethod
    def _hint(message: Message, command: str | None, replies: Replies) -> str:
        example = replies.plain("example")
        if command == "":
            return replies.say("hint_other_bot", example=example)
        almost = _ALMOST.match(message.text or "")
        if not almost:
            return replies.say("hint_unknown")
        rest = shorten(almost[3], 40) if any(c.isdigit() for c in almost[3]) else example
        command = (almost[2] or "").lower() + "pin"
        return replies.say("hint_space" if almost[1] else "hint_slash", command=command, rest=rest)

    async def _say(self, message: Message, text: str) -> None:
        await self._answer(message, Answer(text))

    async def _answer(self, message: Message, answer: Answer) -> None:
        assert message.from_user is not None  # noqa: S101 - nobody else is answered
        await self._outbox.reply(message, answer, message.from_user.id)

    async def _apologise(self, update: Update, reference: str) -> None:
        try:
            query, person = update.callback_query, update.effective_user
            message = query.message if query else update.message
            operator = self._config.operators.get(person.id) if person else None
            if query:
                await self._presses.confirm(query)
            if message and operator and person:
                text = self._languages.of(operator, person).say("failed_inside", reference=reference)
                await self._outbox.reply(message, Answer(text), person.id)
        except Exception:
            log.exception("reference %s: the apology failed too", reference)
