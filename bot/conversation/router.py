"""One update's way: who asks, what for, its turn at Ryze, the answer. Alone in putting these steps in sequence."""

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

from telegram import CallbackQuery, Message, Update
from telegram.error import TelegramError

from bot.conversation import answers, commands, hints
from bot.conversation.access import Denial, Throttle, identify
from bot.conversation.admins import Admins
from bot.conversation.commands import VERBS, Ask, Wanted, is_pinned, parse_command, read_press, rest_of
from bot.memory.store import Store
from bot.ryze.queue import LATE, PinQueue
from bot.settings.model import Operator, Settings
from bot.telegram.outbox import Answer, AnyMessage, Outbox, typing_action

log = logging.getLogger(__name__)

KNOWN = frozenset({*VERBS, "pins", "history", "help", "start", "id", "operators"})
CONFIRM_PATIENCE = 10.0  # seconds for which confirming a press is tried


class Router:
    """Answers updates."""

    def __init__(self, settings: Settings, queue: PinQueue, store: Store, outbox: Outbox, admins: Admins) -> None:
        self._settings, self._queue, self._store, self._outbox, self._admins = settings, queue, store, outbox, admins
        self.answered: Callable[[float], object] = lambda _: None  # gets the seconds from a command to its sent answer
        self._denials = Throttle(per_key=3, overall=10)
        self._strangers = Throttle(per_key=3, overall=10 if settings.operators else 200)
        self._clock_is_wrong = False

    async def handle(self, update: Update, fresh: bool) -> None:  # noqa: FBT001 - as `bot.telegram.updates` calls it
        """Answer one update, if it wants an answer; a `fresh` one can't be late, as Telegram has just received it."""
        try:
            if update.callback_query:
                await self._press(update.callback_query, update)
            elif message := update.message or update.edited_message:
                await self._message(update, message, fresh=fresh)
        except Exception:
            reference = secrets.token_hex(4)
            log.exception("update %s failed, reference %s", update.update_id, reference)
            await self._apologize(update, reference)

    async def _message(self, update: Update, message: Message, *, fresh: bool) -> None:
        command, typed = parse_command(message.text, message.get_bot().username)
        private = message.chat.type == "private"
        ours = private or command in KNOWN
        if not (ours or (command is None and message.reply_to_message)):
            return
        if message.text is None and message.effective_attachment is None:
            return  # Telegram's note of what somebody did
        operator = identify(message, self._settings.operators, edited=update.message is None)
        if isinstance(operator, str):
            if ours:
                await self._deny(update, message, operator, command)
            return
        if fresh and not self._clock_is_wrong and datetime.now(UTC) - message.date > LATE:
            self._clock_is_wrong = True
            log.warning("this machine's clock seems wrong: Telegram has just received a message from %s", message.date)
        ask = self._ask(operator, message, update, None if fresh else message.date)
        if private and hints.THANKS.fullmatch(message.text or ""):
            with suppress(TelegramError):  # a reaction is a courtesy
                await message.set_reaction("👍")
        elif wanted := await self._understand(ask, message, command, typed):
            await self._carry_out(ask, wanted, lambda answer: self._outbox.reply(message, answer, operator.telegram_id))

    def _ask(self, operator: Operator, message: AnyMessage, update: Update, sent: datetime | None = None) -> Ask:
        private = message.chat.type == "private"
        texts = self._admins.languages.of(operator, update.effective_user, private=private)
        return Ask(operator, message, texts, update.update_id, self._settings, self._store, sent)

    async def _understand(self, ask: Ask, message: Message, command: str | None, typed: str) -> Wanted | Answer | None:
        """Tell what a message asks for; None if nothing, in a group."""
        wanted: Wanted | Answer | None = None
        if VERBS.get(command or "") is False and typed.casefold() in hints.ALL:  # /unpin all
            command, typed = "pins", ""
        if command in VERBS:
            wanted = await commands.read(ask, typed, pin=VERBS[command])
        elif command in ("pins", "history"):
            wanted = await commands.show(ask, typed, offset=0 if command == "history" else None)
        elif command in ("help", "start"):
            wanted = hints.help_text(ask)
        elif command == "id":
            wanted = Answer(ask.texts.say("id", telegram_id=ask.operator.telegram_id))
        elif command == "operators" and ask.operator.telegram_id in self._settings.admins and ask.private:
            wanted = hints.operators(self._settings, ask.texts)
        elif command is None and (question := hints.question_replied_to(ask, message)):
            instance, pin = question
            wanted = await commands.read(ask, commands.text_of(message), pin=pin, default=instance)
        elif ask.private:
            wanted = hints.hint(ask, command, typed)
        return wanted

    async def _carry_out(self, ask: Ask, wanted: Wanted | Answer, respond: Callable[[Answer], Awaitable[None]]) -> None:
        """Have a request run, and say what came of it."""
        if isinstance(wanted, Answer):
            await respond(wanted)
            return
        began, request, bot = asyncio.get_running_loop().time(), wanted.request, ask.message.get_bot()
        was_pinned = bool(wanted.other) and await is_pinned(ask, request.instance.name, request.chats[0])
        async with typing_action(ask.message):
            attempts = await self._queue.run(request)
        context = answers.Context(
            pinned=await self._store.pinned(request.instance.name) if any(each.pin for each in attempts) else [],
            was_pinned=was_pinned,
            other=wanted.other,
            unread=wanted.unread,
            admin_told=await self._admins.notify(attempts),
            group_hint="" if ask.private else bot.username,
        )
        await respond(answers.of(attempts, ask.texts, context))
        for _ in attempts:
            self.answered(asyncio.get_running_loop().time() - began)

    async def _press(self, query: CallbackQuery, update: Update) -> None:
        person, message = query.from_user, query.message
        operator = None if person.is_bot else self._settings.operators.get(person.id)
        ask = self._ask(operator, message, update) if operator and message else None
        wanted = await read_press(ask, query.data or "") if ask else "press_unknown" if operator else "press_stranger"
        if ask is None or isinstance(wanted, str):
            if operator or self._denials.allow(person.id):
                log.info("denied a button: %s, sender %s", wanted, person.id)
            await self._confirm(query, self._admins.languages.of(operator, person).plain(str(wanted)))
            return
        confirmed = asyncio.create_task(self._confirm(query))

        async def edit(answer: Answer) -> None:
            if not ask.private:
                answer = replace(answer, text=f"{answer.text}\n{ask.texts.say('pressed_by', name=ask.operator.name)}")
            if isinstance(wanted, Wanted) and wanted.request.unpin_first:
                answer = replace(answer, buttons=(*answer.buttons, *rest_of(ask.message)))
            await self._outbox.edit(ask.message, answer, ask.operator.telegram_id)

        await self._carry_out(ask, wanted, edit)
        await confirmed

    async def _confirm(self, query: CallbackQuery, alert: str | None = None) -> None:
        """Tell Telegram that a press was taken, with an alert if there is something to say."""
        try:
            confirm = partial(query.answer, alert, show_alert=bool(alert))
            await self._outbox.with_retries(confirm, patience=CONFIRM_PATIENCE)
        except TelegramError as error:  # it lives for a short while only, and nothing depends on it
            log.debug("a button's press could not be confirmed: %s", error)

    async def _deny(self, update: Update, message: Message, denial: Denial, command: str | None) -> None:
        """Say in private why a message does not act; in a group nothing."""
        sender, settings, answer = message.from_user, self._settings, None
        if sender is None:
            return
        operator = settings.operators.get(sender.id)
        if operator or self._denials.allow(sender.id):
            log.info("denied: %s, sender %s, chat %s", denial, sender.id, message.chat.type)
        if message.chat.type != "private":
            return
        texts = self._admins.languages.of(operator, sender, private=True)
        if operator and command in KNOWN:
            answer = Answer(texts.say(denial))
        elif operator and denial in ("forwarded", "via_bot"):
            # A forwarded contact or number does nothing by itself: only a tap on what is offered for it acts.
            answer = hints.hint(self._ask(operator, message, update), command, "")
        elif command == "operators" and sender.id in settings.admins:
            answer = hints.operators(settings, texts)
        elif denial == "stranger" and self._strangers.allow((sender.id, command == "id")):
            answer = await hints.welcome(texts, sender, command, settings, self._admins)
        elif denial == "stranger" and command != "id":
            self._admins.gather(sender)
        if answer:
            await self._outbox.reply(message, answer, sender.id)

    async def _apologize(self, update: Update, reference: str) -> None:
        query, person = update.callback_query, update.effective_user
        message = query.message if query else update.message
        operator = self._settings.operators.get(person.id) if person else None
        if query:
            await self._confirm(query)
        if operator and message:
            text = self._ask(operator, message, update).texts.say("failed_inside", reference=reference)
            await self._outbox.reply(message, Answer(text), operator.telegram_id)
