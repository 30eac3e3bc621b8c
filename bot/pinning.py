"""From what a person sent to which chats on which instance, and then what is done in the instance's turn."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from bot.attempts import Job, NotRun
from bot.buttons import Action, Press, instance_hash
from bot.chats import AmbiguousChat, Chat, ChatError, ChatProblem, find_chats, parse_chat, parse_contact
from bot.outcomes import Result
from bot.replies import UNSURE, Answer, entry_chat
from bot.store import StoreAway

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractAsyncContextManager

    from telegram import MaybeInaccessibleMessage, Message

    from bot.attempts import Attempts, Call, Done
    from bot.config import Config, Operator
    from bot.intake import Pending
    from bot.replies import Replies
    from bot.store import Entry, Store

MOST_CHATS = 10  # in one message
SHOWN = 5  # chats to choose from
# What stands in the way of the message's further chats too.
_HOPELESS = frozenset(
    {"pin_limit", "token_refused", "token_forbidden", "instance_not_found", "not_connected", "redirected", "throttled"}
)


class Pinning:
    """Turns commands, presses and what is sent without a command into jobs, or into the question that is open."""

    def __init__(self, config: Config, attempts: Attempts, store: Store) -> None:
        self._config = config
        self._attempts = attempts
        self._store = store

    async def asked(
        self, message: Message, operator: Operator, pending: Pending, typed: str, replies: Replies, *, pin: bool
    ) -> Answer | AbstractAsyncContextManager[Done]:
        """Give the job for a `/pin` or `/unpin`, or the answer to a command that is none yet.

        The chat is what was typed after the command, else what is in the message that the command replies to.
        """
        replied = message.reply_to_message
        if replied and replied.forum_topic_created:
            replied = None  # so Telegram has every message of a topic that is no reply
        instance, typed, foreign = self._instance(operator, typed, alone=bool(replied))
        if foreign:
            return Answer(replies.not_yours(foreign, operator.instances))
        try:
            if typed:
                chats, unread = self._typed(typed)
            elif replied:
                chats, unread = [self._contained(replied)], ()
            else:
                private = message.chat.type == "private"
                question = replies.which_chat(
                    await self._known(instance, pin=pin) if private else [], instance, pin=pin
                )
                return question if private else _pointing_to_private(question, message, replies)
        except AmbiguousChat as two:
            return replies.which_reading(two, instance, pin=pin)
        except ChatError as problem:
            return replies.no_chat(problem, instance, pin=pin)
        if not chats:
            return replies.several([], [], unread, instance)
        action, retry = Action.PIN if pin else Action.UNPIN, None
        if len(chats) == 1 and not unread:
            retry = Press(action, instance_hash(instance), chats[0], owner=operator.telegram_id)
        job = Job(operator, instance, chats, pin, replies, pending, message, retry, message.date)
        if retry:
            return self._attempts.run(job, partial(self._one, job))
        return self._attempts.run(job, partial(self._several, job, unread))

    def pressed(
        self,
        press: Press,
        operator: Operator,
        instance: str,
        pending: Pending,
        message: MaybeInaccessibleMessage,
        replies: Replies,
    ) -> AbstractAsyncContextManager[Done]:
        """Give the job that a button stands for."""
        pin = press.action is not Action.UNPIN
        job = Job(operator, instance, [press.chat], pin, replies, pending, message, press)
        if press.other:
            return self._attempts.run(job, partial(self._swap, job, press.other))
        return self._attempts.run(job, partial(self._one, job))

    def offer(self, message: Message, operator: Operator, replies: Replies) -> Answer | None:
        """Offer to pin or unpin the contact or the one chat that a message is; None if it is neither."""
        instance = operator.instance
        try:
            if message.contact:
                chats = [parse_contact(message.contact.phone_number, self._config.region)]
                name = " ".join(filter(None, (message.contact.first_name, message.contact.last_name)))
                return replies.offer(chats, name, instance)
            return replies.offer([parse_chat(message.text or "", self._config.region)], "", instance)
        except AmbiguousChat as two:
            return replies.offer([chat for _, chat in two.choices], "", instance)
        except ChatError as problem:
            return replies.no_chat(problem, instance, pin=True) if message.contact else None

    def _instance(self, operator: Operator, typed: str, *, alone: bool) -> tuple[str, str, str]:
        """Split off the instance named first: which one it is, the rest, and a name that is not the operator's.

        A name may stand `alone` where the chat comes from the message that is replied to.
        """
        with suppress(ChatError):
            parse_chat(typed, self._config.region)
            return operator.instance, typed, ""  # digits are a chat first, whatever an instance is called
        for name in sorted(operator.instances, key=len, reverse=True):
            head, rest = typed[: len(name)], typed[len(name) :]
            if head.casefold() == name.casefold() and re.match(r"[\s,;:]|$", rest):
                return name, rest.strip(" \n,;:"), ""
        first, *others = re.split(r":?[\s,;]+", typed, maxsplit=1)
        if re.search(r"[^\W\d_]", first) and not re.search(r"[@/:]", first):
            try:
                foreign = bool(self._typed(others[0])) if others else alone
            except ChatError as problem:
                foreign = problem.kind not in (ChatProblem.WORDS, ChatProblem.MISSING)
            if foreign:
                return operator.instance, "", first
        return operator.instance, typed, ""

    def _typed(self, text: str) -> tuple[list[Chat], tuple[str, ...]]:
        """Read one chat, or several, one a line or separated by commas: those that can be read, those that can't."""
        pieces = [piece.strip() for piece in re.split(r"[\n,;]", text) if piece.strip()]
        try:
            return [parse_chat(text, self._config.region)], ()
        except ChatError as problem:
            if len(pieces) < 2 or isinstance(problem, AmbiguousChat):
                raise
        if len(pieces) > MOST_CHATS:
            raise ChatError(ChatProblem.TOO_MANY)
        chats, unread = dict[Chat, None](), []
        for piece in pieces:
            try:
                chats[parse_chat(piece, self._config.region)] = None
            except ChatError:
                unread.append(piece)
        return list(chats), tuple(unread)

    def _contained(self, message: Message) -> Chat:
        if message.contact:
            return parse_contact(message.contact.phone_number, self._config.region)
        links = [entity.url for entity in message.entities or message.caption_entities if entity.url]
        text = "\n".join([*links, message.text or message.caption or ""])
        chats = find_chats(text, self._config.region)
        if len(chats) != 1:
            raise ChatError(ChatProblem.SEVERAL if chats else ChatProblem.WORDS)
        return chats[0]

    async def _known(self, instance: str, *, pin: bool) -> list[Chat]:
        try:
            if pin:
                return [Chat(number) for number in await self._store.recent_chats(instance, SHOWN)]
            return [entry_chat(entry) for entry in await self._store.pinned(instance)][:SHOWN]
        except StoreAway:
            return []

    async def _one(self, job: Job, call: Call) -> Answer:
        chat = job.chats[0]
        pinned: list[Entry] = []
        result = await call(chat, pin=job.pin)
        if result.outcome == "pin_limit":
            with suppress(StoreAway):
                pinned = await self._store.pinned(job.instance)
        may_go = [entry for entry in pinned if entry.chat != chat.number][:SHOWN]
        if may_go and job.message.chat.type != "private":
            return _pointing_to_private(job.replies.result(result, job.instance), job.message, job.replies)
        return job.replies.result(result, job.instance, may_go)

    async def _swap(self, job: Job, other: Chat, call: Call) -> Answer:
        """Unpin `other`, then pin the chat; if that is definitely refused, pin `other` again."""
        results = [await call(other, pin=False)]
        if results[0].error is None:
            with suppress(NotRun):
                results.append(await call(job.chats[0], pin=True))
                if results[1].error and not isinstance(results[1].error, UNSURE):
                    results.append(await call(other, pin=True))
        return job.replies.swapped(results, job.chats[0], job.instance)

    @staticmethod
    async def _several(job: Job, unread: Sequence[str], call: Call) -> Answer:
        """Do one chat after the other, until one shows that the rest could not succeed either."""
        results: list[Result] = []
        for chat in job.chats:
            try:
                results.append(await call(chat, pin=job.pin))
            except NotRun:
                if not results:
                    raise
                break
            if results[-1].outcome in _HOPELESS:
                break
        untried = [chat.display for chat in job.chats[len(results) :]]
        return job.replies.several(results, untried, unread, job.instance)


def _pointing_to_private(answer: Answer, message: MaybeInaccessibleMessage, replies: Replies) -> Answer:
    """Add where chats are offered that a group is not shown."""
    return replace(answer, text=f"{answer.text}\n{replies.say('in_private', username=message.get_bot().username)}")
