"""One update's way: who asks, what for, its turn at Ryze, the answer. Alone in putting these steps in sequence."""

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from telegram import Bot, CallbackQuery, Message, Update, User
from telegram.error import TelegramError

from bot.conversation import answers, hints
from bot.conversation.access import Denied, Reason, identify
from bot.conversation.admins import Admins
from bot.conversation.buttons import Buttons, Refused, rest_of
from bot.conversation.commands import VERBS, Ask, Commands, Wanted, parse_command, text_of
from bot.conversation.strangers import Strangers
from bot.conversation.texts import Languages
from bot.conversation.throttle import Throttle
from bot.memory.store import Entry, Store, StoreAway
from bot.ryze.queue import LATE, Attempt, PinQueue
from bot.settings.model import Operator, Settings
from bot.telegram.outbox import Answer, Outbox, typing_action

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
        self._settings = settings
        self._languages = languages
        self._parts = parts
        self._commands = Commands(settings, parts.store, parts.bot)
        self._buttons = Buttons(settings, languages, self._commands, parts.store)
        self._strangers = Strangers(settings, languages, parts.admins, parts.outbox)
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
        identity = identify(update, self._settings.operators)
        if isinstance(identity, Operator):
            sent = None if self._is_fresh(message, fresh=fresh) else message.date
            texts = self._languages.of(identity, message.from_user, private=private)
            await self._command(Ask(identity, message, texts, update.update_id, sent), command, typed)
        elif ours:
            await self._deny(message, identity, command)

    async def _command(self, ask: Ask, command: str | None, typed: str) -> None:
        texts, respond = ask.texts, self._reply(ask)
        if command in VERBS:
            if typed.casefold() in hints.ALL and not VERBS[command]:
                await respond(await self._commands.show(ask, ""))
            else:
                await self._carry_out(ask, await self._commands.read(ask, typed, pin=VERBS[command]), respond)
        elif command == "pins":
            await respond(await self._commands.show(ask, typed))
        elif command == "history":
            await respond(await self._commands.show(ask, typed, offset=0))
        elif command in ("help", "start"):
            await respond(hints.help_text(ask))
        elif command == "id":
            await respond(Answer(texts.say("id", telegram_id=ask.operator.telegram_id)))
        elif command == "operators" and ask.operator.telegram_id in self._settings.admins and ask.private:
            await respond(Answer(hints.operators(self._settings, texts)))
        elif ask.private or command is None:
            await self._without_command(ask, command, typed)

    async def _without_command(self, ask: Ask, command: str | None, typed: str) -> None:
        """Answer what is no command of the bot's; in a group only what replies to the bot's own question."""
        message = ask.message
        assert isinstance(message, Message)  # noqa: S101 - it was sent just now
        if ask.private and command is None and hints.is_thanks(message.text or ""):
            with suppress(TelegramError):  # a reaction is a courtesy
                await message.set_reaction("👍")
        elif command is None and (question := hints.question_replied_to(ask)):
            instance, pin = question
            instances = sorted(ask.operator.instances, key=lambda name: name != instance)  # the one asked about first
            ask = replace(ask, operator=ask.operator.model_copy(update={"instances": tuple(instances)}))
            number = message.contact.phone_number if message.contact else text_of(message)
            await self._carry_out(ask, await self._commands.read(ask, number, pin=pin), self._reply(ask))
        elif ask.private:
            await self._offer(ask, command, typed)

    async def _offer(self, ask: Ask, command: str | None, typed: str) -> None:
        """Offer what a message in private may mean; only a tap on it acts."""
        offer = self._commands.offer(ask) if command is None else None
        await self._reply(ask)(offer or hints.hint(ask, command, typed))

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
        pressed = await self._buttons.read(query, request_id)
        if isinstance(pressed, Refused):
            if pressed.by_operator or self._denials.allow(query.from_user.id):
                log.info("denied a button: %s, sender %s", pressed.key, query.from_user.id)
            operator = self._settings.operators.get(query.from_user.id)
            await self._confirm(query, self._languages.of(operator, query.from_user).plain(pressed.key))
            return
        confirmed = asyncio.create_task(self._confirm(query))
        ask, wanted = pressed

        async def edit(answer: Answer) -> None:
            if not ask.private:
                answer = replace(answer, text=f"{answer.text}\n{ask.texts.say('pressed_by', name=ask.operator.name)}")
            if isinstance(wanted, Wanted) and wanted.request.unpin_first:
                answer = replace(answer, buttons=(*answer.buttons, *rest_of(ask.message)))
            await self._parts.outbox.edit(ask.message, answer, ask.operator.telegram_id)

        await self._carry_out(ask, wanted, edit)
        await confirmed

    async def _confirm(self, query: CallbackQuery, alert: str | None = None) -> None:
        """Tell Telegram that a press was taken, with an alert if there is something to say."""
        try:
            await self._parts.outbox.with_retries(
                lambda: query.answer(alert, show_alert=bool(alert)), patience=CONFIRM_PATIENCE
            )
        except TelegramError as error:  # it lives for a short while only, and nothing depends on it
            log.debug("a button's press could not be confirmed: %s", error)

    async def _deny(self, message: Message, denied: Denied, command: str | None) -> None:
        sender, operator = message.from_user, denied.operator
        private, ours = message.chat.type == "private", command in KNOWN
        if sender is None:
            return
        if operator or self._denials.allow(sender.id):
            log.info("denied: %s, sender %s, chat %s", denied.reason, sender.id, message.chat.type)
        if not private:
            return
        texts = self._languages.of(operator, sender, private=True)
        if operator and ours:
            await self._parts.outbox.reply(message, Answer(texts.say(denied.reason)), sender.id)
        elif operator and denied.reason in (Reason.FORWARDED, Reason.VIA_BOT):
            # A forwarded contact or number does nothing by itself: only a tap on what is offered for it acts.
            await self._offer(Ask(operator, message, texts, 0), command, "")
        elif denied.reason is Reason.STRANGER:
            await self._stranger(message, sender, command)

    async def _stranger(self, message: Message, sender: User, command: str | None) -> None:
        if command == "operators" and sender.id in self._settings.admins:
            texts = self._languages.of_admin(sender.id)
            await self._parts.outbox.reply(message, Answer(hints.operators(self._settings, texts)), sender.id)
        else:
            await self._strangers.answer(message, sender, wants_id=command == "id")

    def _is_fresh(self, message: Message, *, fresh: bool) -> bool:
        """Trust the long poll more than this machine's clock, and say once that the clock seems wrong."""
        if fresh and not self._clock_is_wrong and datetime.now(UTC) - message.date > LATE:
            self._clock_is_wrong = True
            log.warning("this machine's clock seems wrong: Telegram has just received a message from %s", message.date)
        return fresh

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
