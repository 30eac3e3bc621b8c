"""The demo's page, in Chromium and by HTTP; `python -m tests.sandbox.test_page` takes the screenshot in `docs/`."""

import asyncio
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from playwright.async_api import Page as Tab
from playwright.async_api import async_playwright, expect

from tests.sandbox.page import Page
from tests.sandbox.server import Json
from tests.sandbox.stage import ANA, BRUNO, EVE, ROOT, Demo, started

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update")
SEEN = 30_000  # ms within which something has to be seen

expect.set_options(timeout=SEEN)


class Desk:
    """The demo, its page and a tab of a browser on it."""

    def __init__(self, demo: Demo, page: Page, tab: Tab) -> None:
        self.demo = demo
        self.page = page
        self.tab = tab
        self.errors: list[str] = []
        tab.set_default_timeout(SEEN)
        tab.on("console", lambda message: self.errors.append(message.text) if message.type == "error" else None)
        tab.on("pageerror", lambda error: self.errors.append(str(error)))

    async def send(self, text: str) -> None:
        await self.tab.fill("#text", text)
        await self.tab.press("#text", "Enter")

    async def sees(self, pattern: str) -> None:
        """Wait until the bot's latest message is of this kind."""
        await expect(self.tab.locator(".msg:not(.mine)").last).to_contain_text(re.compile(pattern))

    async def sees_on_top(self, *names: str) -> None:
        """Wait until these chats are the pinned ones, in this order."""
        await expect(self.tab.locator("#chats .pinned .name")).to_have_text(list(names))

    async def sees_status(self, text: str) -> None:
        """Wait until this is said of the bot."""
        await expect(self.tab.locator("#bot-status")).to_contain_text(text)

    async def turn(self, *names: str, on: bool) -> None:
        """Turn switches."""
        for name in names:
            await self.tab.get_by_role("switch", name=name).set_checked(on)


@asynccontextmanager
async def desk_on(**options: Any) -> AsyncIterator[Desk]:  # noqa: ANN401 - Chromium's own options
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine (Debian's package of that name)")
    async with (
        started() as demo,
        Page(demo, (ANA, BRUNO, EVE), port=0) as page,
        async_playwright() as playwright,
        await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS) as browser,
    ):
        desk = Desk(demo, page, await browser.new_page(**options))
        await desk.tab.goto(page.url)
        await expect(desk.tab.locator(".try").first).to_be_visible()
        yield desk
        assert desk.errors == []


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    async with desk_on() as made:
        yield made


async def test_the_tour_by_mouse(desk: Desk) -> None:
    tab = desk.tab
    await desk.sees_on_top("Oliver Grant", "Clínica Vida")
    await tab.get_by_role("button", name="Pin a chat /pin").click()
    await desk.sees_on_top("Padaria Aurora", "Oliver Grant", "Clínica Vida")
    await tab.get_by_role("button", name=re.compile("Marina Lopes")).click()
    await expect(tab.locator("#text")).to_have_value("/pin +1 (415) 555-2671")
    await tab.get_by_role("button", name="Send", exact=True).click()
    await desk.sees("Which one goes")
    await tab.locator(".key", has_text="Replace +55 11 99999-9999").click()
    await desk.sees_on_top("Marina Lopes", "Oliver Grant", "Clínica Vida")
    await desk.turn("A fourth pin goes through", on=True)
    await desk.send("/pin +55 11 99999-9999")
    await desk.sees_on_top("Padaria Aurora", "Marina Lopes", "Oliver Grant")
    await tab.get_by_role("radio", name="Bruno").check()
    await desk.send("/pin 51987654321")
    await tab.locator(".key", has_text="+51 987").click()
    await desk.sees_on_top("Not in the contacts")
    await tab.get_by_role("radio", name="Eve").check()
    await tab.get_by_role("button", name=re.compile("start$")).click()
    await desk.sees(str(EVE.telegram_id))


async def test_the_tour_by_keyboard_alone(desk: Desk) -> None:
    tab = desk.tab

    async def press(*keys: str) -> None:
        for key in keys:
            await tab.keyboard.press(key)

    async def go_to(name: str, key: str = "Tab") -> None:
        """Press Tab until the focus is on what has this name."""
        focus = "(node => node.ariaLabel || node.closest('label, button')?.textContent || '')(document.activeElement)"
        for _ in range(60):
            await press(key)
            if re.search(name, await tab.evaluate(focus)):
                return
        raise AssertionError(f"{key} never comes to {name!r}")

    await go_to("^Message$")
    await tab.keyboard.type("/unpin +44 20 7946 0958")
    await press("Enter")
    await desk.sees_on_top("Clínica Vida")
    await go_to("Lucía Fernández")
    await press("Enter", "Enter")
    await desk.sees_on_top("Lucía Fernández", "Clínica Vida")
    await go_to("^Unpin$", "Shift+Tab")
    await press("Space")
    await desk.sees_on_top("Clínica Vida")
    await go_to("^Ana", "Shift+Tab")
    await press("ArrowRight")
    await go_to("A contact")
    await press("Enter")
    await expect(tab.locator(".mine").last).to_contain_text("+351912345678")
    await go_to("Not connected")
    await press("Space")
    await expect(tab.locator("#phone-status")).to_contain_text("not connected")


async def test_what_the_bot_does_is_seen_as_it_happens(desk: Desk) -> None:
    tab, telegram, where = desk.tab, desk.demo.telegram, {"chat_id": ANA.telegram_id}
    await desk.demo.kill()  # the test calls the Bot API in its place
    html = "💬 <b>a &amp; <i>b</i></b> &lt;i&gt;"
    sent = telegram._send_message({**where, "text": html, "parse_mode": "HTML"})
    text = tab.locator(".msg:not(.mine) .text")
    await expect(text).to_have_text("💬 a & b <i>")
    await expect(text.locator("strong > em")).to_have_text("b")
    buttons = [{"text": "Go", "callback_data": "x"}, {"text": "Copy", "copy_text": {"text": "y"}}]
    change = {"text": "other", "reply_markup": {"inline_keyboard": [buttons]}}
    telegram._edit_message_text({**where, "message_id": sent["message_id"], **change})
    await expect(text).to_have_text("other")
    await expect(tab.locator(".meta")).to_contain_text("edited")
    await tab.get_by_role("button", name="Copy").click()
    await expect(tab.locator("#note")).to_have_text("Copied.")
    await tab.get_by_role("button", name="Go").click()
    (update,) = await telegram.wait_for(lambda: list(telegram._updates.values()))
    telegram._answer_callback_query({"callback_query_id": update["callback_query"]["id"], "text": "Well"})
    await expect(tab.locator("#note")).to_have_text("Well")
    await tab.get_by_label("Language").select_option("pt-BR")
    await tab.fill("#text", "obrigado")
    for key in ("Shift+Enter", "x", "Enter"):
        await tab.press("#text", key)
    await expect(tab.locator(".mine .text")).to_have_text("obrigado\nx")
    thanks = telegram.messages(ANA.telegram_id)[-1]
    assert thanks["from"]["language_code"] == "pt-br"
    telegram._set_message_reaction({**where, "message_id": thanks["message_id"], "reaction": [{"emoji": "👍"}]})
    await expect(tab.locator(".mine .reaction")).to_contain_text("👍")


@pytest.mark.parametrize(
    ("switches", "said"),
    [
        (["Slow", "Not connected"], "disconnected"),
        (["Slow", "Wrong token"], "admin"),
        (["Ryze is down"], "couldn't reach Ryze"),
    ],
)
async def test_a_switch_makes_it_go_wrong_and_right_again(desk: Desk, switches: list[str], said: str) -> None:
    await desk.turn(*switches, on=True)
    await desk.send("/pin +55 11 99999-9999")
    if "Slow" in switches:
        await desk.sees_status("typing…")
    await desk.sees(said)
    await desk.sees_status("online")
    await desk.turn(*switches, on=False)
    await desk.send("/pin +55 11 99999-9999")
    await desk.sees_on_top("Padaria Aurora", "Oliver Grant", "Clínica Vida")


async def test_a_killed_bot_answers_once_it_is_started_and_a_limited_one_once_it_may(desk: Desk) -> None:
    desk.demo.ryze.window = 1.0
    await desk.turn("Bot killed", on=True)
    await desk.send("/pin +55 11 99999-9999")
    await desk.send("/unpin +44 20 7946 0958")
    await desk.sees_status("killed; 2 messages wait")
    await desk.turn("Rate limit", on=True)
    await desk.turn("Bot killed", on=False)
    await desk.sees_status("typing…")
    await desk.turn("Rate limit", on=False)
    await desk.sees_on_top("Padaria Aurora", "Clínica Vida")


@pytest.mark.parametrize("width", [1280, 1024, 390])
async def test_everything_can_be_reached_on_a_screen_of_any_width(width: int) -> None:
    async with desk_on(viewport={"width": width, "height": 760}) as desk:
        tab = desk.tab
        await tab.locator("#tries").hover()
        await expect(tab.locator(".try").last).not_to_be_in_viewport()
        await tab.mouse.wheel(0, 4000)
        await expect(tab.locator(".try").last).to_be_in_viewport(ratio=1)
        if width > 1000:  # one row of parts, and one above it
            tops = "[...document.querySelectorAll('{}')].map(node => Math.round(node.getBoundingClientRect().top))"
            assert len(set(await tab.evaluate(tops.format("main > .card")))) == 1
            assert await tab.evaluate("document.querySelector('.top').offsetHeight") < 70
        await desk.page.__aexit__()
        await expect(tab.locator("#lost")).to_be_visible()
        await tab.get_by_role("button", name="Send", exact=True).click(trial=True)
        await desk.page.__aenter__()
        await expect(tab.locator("#lost")).to_be_hidden()
        await desk.turn("Not connected", on=True)
        await expect(tab.locator("#instance-switches input").first).to_be_in_viewport(ratio=1)
        await desk.send("/pin +55 11 99999-9999")
        await desk.sees("disconnected")
        await expect(tab.locator(".msg").last).to_be_in_viewport(ratio=1)
        assert not await tab.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth")
        desk.errors[:] = [error for error in desk.errors if "net::ERR" not in error]


async def test_only_the_page_itself_can_drive_the_demo_and_only_with_sense() -> None:
    say = {"person": ANA.telegram_id, "language": "en", "text": "/help"}
    async with started() as demo, Page(demo, (ANA,), port=0) as page, Page(demo, (), port=page.port) as other:
        assert other.port != page.port
        async with httpx.AsyncClient(trust_env=False, base_url=page.url) as http:

            async def posts(act: str, asked: Json, **headers: str) -> int:
                own = {"Origin": page.url.rstrip("/")} | headers
                return (await http.post(f"/do/{act}", json=asked, headers=own)).status_code

            for headers in ({"Origin": "http://x.org"}, {"Host": "x.org"}):
                assert await posts("say", say, **headers) == 403
            assert (await http.get("/events", headers={"Host": "x.org"})).status_code == 403
            assert {await posts(act, say) for act in ("press", "contact", "switch", "sing")} == {400}
            assert demo.telegram.pending == []
            assert await posts("say", say) == 200


async def screenshot() -> None:
    """What the README shows."""
    async with desk_on(viewport={"width": 1280, "height": 800}) as desk:
        for count, text in enumerate(("/pin Padaria Aurora: +55 11 99999-9999", "/pin +1 (415) 555-2671"), 1):
            await desk.send(text)
            await expect(desk.tab.locator(".keys")).to_have_count(count)
        await desk.tab.screenshot(path=ROOT / "docs" / "demo-en.png", animations="disabled")


if __name__ == "__main__":
    asyncio.run(screenshot())
