"""One update's way: who asks, what for, its turn at Ryze, the answer. Alone in putting these steps in sequence."""

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial

from telegram import Bot, CallbackQuery, Message, Update
from telegram.error import TelegramError

from bot.conversation import answers, hints
from bot.conversation.access import Denial, identify
from bot.conversation.admins import Admins
from bot.conversation.buttons import Buttons, rest_of
from bot.conversation.commands import VERBS, Ask, Commands, Wanted, parse_command, text_of
from bot.conversation.strangers import Strangers
from bot.conversation.texts import Languages
from bot.conversation.throttle import Throttle
from bot.memory.store import Entry, Store, StoreAway
from bot.ryze.queue import LATE, Attempt, PinQueue
from bot.settings.model import Operator, Settings
from bot.telegram.outbox import Answer, Outbox
from bot.telegram.typing_action import typing_action

log = logging.getLogger(__name__)

KNOWN = frozenset({*VERBS, "pins", "history", "help", "start", "id", "operators"})
CONFIRM_PATIENCE = 10.0  # seconds for which confirming a press is tried

Respond = Callable[[Answer], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Parts:
    """What the router puts to work; `answered` is called with the seconds that a request took to its sent answer."""

    bot: Bot
    queue: PinQueue
    store: Store
    outbox: Outbox
    admins: Admins
    answered: Callable[[float], None] = lambda _: None


class Router:
    """Answers updates. `handle` never raises, whatever happens inside."""

    def __init__(self, settings: Settings, languages: Languages, parts: Parts) -> None:
        self._settings, self._languages, self._parts = settings, languages, parts
        self._commands = Commands(settings, parts.store)
        self._buttons = Buttons(settings, self._commands, parts.store)
        self._strangers = Strangers(settings, parts.admins)
        self._denials = Throttle(per_key=3, overall=10)
        self._clock_is_wrong = False

    async def handle(self, update: Update, fresh: bool) -> None:  # noqa: FBT001 - as `bot.telegram.updates` calls it
        """Answer one update, exactly once if it wants an answer; what goes wrong inside becomes an apology.

        `fresh` says that Telegram has just received the update, so that it can't be late.
        """
        try:
            if update.callback_query:
                await self._press(update.callback_query, update.update_id)
            elif message := update.message or update.edited_message:
                await self._message(update, message, fresh=fresh)
        except (Exception, asyncio.CancelledError) as error:
            task = asyncio.current_task()
            if isinstance(error, asyncio.CancelledError) and task and task.cancelling():
                raise  # the bot is stopping; a stray CancelledError is a failure like any other
            reference = secrets.token_hex(4)
            log.exception("update %s failed, reference %s", update.update_id, reference)
            await self._apologize(update, reference)

    async def _message(self, update: Update, message: Message, *, fresh: bool) -> None:
        command, typed = parse_command(message.text, self._parts.bot.username)
        private = message.chat.type == "private"
        ours = private or command in KNOWN
        if not (ours or (command is None and message.reply_to_message)):
            return
        if message.text is None and _is_service(update):
            return
        operator, denial = identify(message, self._settings.operators, edited=update.message is None)
        if operator is None or denial:
            if ours:
                await self._deny(message, operator, denial, command)
            return
        if fresh and not self._clock_is_wrong and datetime.now(UTC) - message.date > LATE:
            self._clock_is_wrong = True
            log.warning("this machine's clock seems wrong: Telegram has just received a message from %s", message.date)
        texts = self._languages.of(operator, message.from_user, private=private)
        ask = Ask(operator, message, texts, update.update_id, None if fresh else message.date)
        if private and hints.is_thanks(message.text or ""):
            with suppress(TelegramError):  # a reaction is a courtesy
                await message.set_reaction("👍")
        elif wanted := await self._understand(ask, message, command, typed):
            await self._carry_out(ask, wanted, self._reply(ask))

    async def _understand(self, ask: Ask, message: Message, command: str | None, typed: str) -> Wanted | Answer | None:
        """Tell what a message asks for; None if nothing, in a group."""
        wanted: Wanted | Answer | None = None
        pin, unpin_all = VERBS.get(command or ""), typed.casefold() in hints.ALL
        if pin is not None and (pin or not unpin_all):
            wanted = await self._commands.read(ask, typed, pin=pin)
        elif command in ("pins", "history") or pin is False:
            offset = 0 if command == "history" else None
            wanted = await self._commands.show(ask, "" if unpin_all else typed, offset=offset)
        elif command in ("help", "start"):
            wanted = hints.help_text(ask)
        elif command == "id":
            wanted = Answer(ask.texts.say("id", telegram_id=ask.operator.telegram_id))
        elif command == "operators" and ask.operator.telegram_id in self._settings.admins and ask.private:
            wanted = hints.operators(self._settings, ask.texts)
        elif command is None and (question := hints.question_replied_to(ask)):
            instance, pin = question
            number = message.contact.phone_number if message.contact else text_of(message)
            wanted = await self._commands.read(ask, number, pin=pin, default=instance)
        elif ask.private:
            wanted = self._offer(ask, command, typed)
        return wanted

    def _offer(self, ask: Ask, command: str | None, typed: str) -> Answer:
        """Offer what a message in private may mean; only a tap on it acts."""
        return (self._commands.offer(ask) if command is None else None) or hints.hint(ask, command, typed)

    async def _carry_out(self, ask: Ask, wanted: Wanted | Answer, respond: Respond) -> None:
        """Have a request run, and say what came of it."""
        if isinstance(wanted, Answer):
            await respond(wanted)
            return
        began = asyncio.get_running_loop().time()
        parts, request = self._parts, wanted.request
        was_pinned = bool(wanted.other) and await self._buttons.is_pinned(request.instance.name, request.chats[0])
        async with typing_action(parts.bot, ask.message):
            attempts = await parts.queue.run(request)
        context = answers.Context(
            pinned=await self._pinned_after(attempts),
            was_pinned=was_pinned,
            other=wanted.other,
            unread=wanted.unread,
            admin_told=await parts.admins.notify(attempts),
            group_hint="" if ask.private else parts.bot.username,
        )
        await respond(answers.of(attempts, ask.texts, context))
        for _ in attempts:
            parts.answered(asyncio.get_running_loop().time() - began)

    async def _pinned_after(self, attempts: tuple[Attempt, ...]) -> list[Entry]:
        with suppress(StoreAway):
            if any(attempt.pin for attempt in attempts):
                return await self._parts.store.pinned(attempts[0].request.instance.name)
        return []

    def _reply(self, ask: Ask) -> Respond:
        return lambda answer: self._parts.outbox.reply(ask.message, answer, ask.operator.telegram_id)

    async def _press(self, query: CallbackQuery, request_id: int) -> None:
        person, message = query.from_user, query.message
        operator = None if person.is_bot else self._settings.operators.get(person.id)
        texts = self._languages.of(operator, person, private=message is not None and message.chat.type == "private")
        wanted: Wanted | Answer | str = "press_unknown" if operator else "press_stranger"
        if operator and message:
            ask = Ask(operator, message, texts, request_id)
            wanted = await self._buttons.read(ask, query.data or "")
        if isinstance(wanted, str):
            if operator or self._denials.allow(person.id):
                log.info("denied a button: %s, sender %s", wanted, person.id)
            await self._confirm(query, texts.plain(wanted))
            return
        confirmed = asyncio.create_task(self._confirm(query))

        async def edit(answer: Answer) -> None:
            if not ask.private:
                answer = replace(answer, text=f"{answer.text}\n{texts.say('pressed_by', name=ask.operator.name)}")
            if isinstance(wanted, Wanted) and wanted.request.unpin_first:
                answer = replace(answer, buttons=(*answer.buttons, *rest_of(ask.message)))
            await self._parts.outbox.edit(ask.message, answer, ask.operator.telegram_id)

        await self._carry_out(ask, wanted, edit)
        await confirmed

    async def _confirm(self, query: CallbackQuery, alert: str | None = None) -> None:
        """Tell Telegram that a press was taken, with an alert if there is something to say."""
        try:
            confirm = partial(query.answer, alert, show_alert=bool(alert))
            await self._parts.outbox.with_retries(confirm, patience=CONFIRM_PATIENCE)
        except TelegramError as error:  # it lives for a short while only, and nothing depends on it
            log.debug("a button's press could not be confirmed: %s", error)

    async def _deny(
        self, message: Message, operator: Operator | None, denial: Denial | None, command: str | None
    ) -> None:
        sender = message.from_user
        if sender is None:
            return
        if operator or self._denials.allow(sender.id):
            log.info("denied: %s, sender %s, chat %s", denial, sender.id, message.chat.type)
        if message.chat.type != "private":
            return
        texts, answer = self._languages.of(operator, sender, private=True), None
        if denial == "stranger":
            answer = await self._strangers.answer(texts, sender, command)
        elif operator and command in KNOWN:
            answer = Answer(texts.say(str(denial)))
        elif operator and denial in ("forwarded", "via_bot"):
            # A forwarded contact or number does nothing by itself: only a tap on what is offered for it acts.
            answer = self._offer(Ask(operator, message, texts, 0), command, "")
        if answer:
            await self._parts.outbox.reply(message, answer, sender.id)

    async def _apologize(self, update: Update, reference: str) -> None:
        try:
            query, person = update.callback_query, update.effective_user
            message = query.message if query else update.message
            operator = self._settings.operators.get(person.id) if person else None
            if query:
                await self._confirm(query)
            if message and operator and person:
                text = self._languages.of(operator, person).say("failed_inside", reference=reference)
                await self._parts.outbox.reply(message, Answer(text), person.id)
        except Exception:
            log.exception("reference %s: the apology failed too", reference)


def _is_service(update: Update) -> bool:
    """Whether it is Telegram's note of what somebody did, not something that a person sends."""
    from telegram.ext.filters import StatusUpdate  # noqa: PLC0415 - 6 MiB that few bots ever need

    return bool(StatusUpdate.ALL.check_update(update))
