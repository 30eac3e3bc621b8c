"""The demo's page, in Chromium and by HTTP; `python -m tests.sandbox.test_page` takes the screenshot in `docs/`."""

import asyncio
import hashlib
import re
import shutil
import subprocess
import sys
import tarfile
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from playwright.async_api import Browser, async_playwright, expect
from playwright.async_api import Page as Tab

from tests.sandbox.page import Page
from tests.sandbox.server import Json
from tests.sandbox.stage import ANA, BRUNO, EVE, ROOT, Demo, started

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update")
AXE = "axe-core@4.14.1"
AXE_SHA512 = "FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37OgudVGtQ=="
DESK, PHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 844}
SEEN = 30_000  # ms within which something has to be seen

pytestmark = pytest.mark.asyncio(loop_scope="module")
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


@asynccontextmanager
async def desk_on(browser: Browser, language: str = "en", **options: Any) -> AsyncIterator[Desk]:  # noqa: ANN401 - Chromium's own options
    async with started() as demo, Page(demo, (ANA, BRUNO, EVE), port=0) as page:
        context = await browser.new_context(**{"viewport": DESK, **options})
        desk = Desk(demo, page, await context.new_page())
        await desk.tab.goto(f"{page.url}?language={language}")
        await expect(desk.tab.locator(".try").first).to_be_visible()
        yield desk
        assert desk.errors == []
        await context.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine (Debian's package of that name)")
    async with (
        async_playwright() as playwright,
        await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS) as launched,
    ):
        yield launched


@pytest_asyncio.fixture(loop_scope="module")
async def desk(browser: Browser) -> AsyncIterator[Desk]:
    async with desk_on(browser) as made:
        yield made


@pytest.fixture(scope="module")
def axe() -> str:
    """The source of axe-core, fetched once by npm and held to its hash."""
    kept = Path(sys.prefix) / f"{AXE.replace('@', '-')}.tgz"
    command = (shutil.which("npm") or "false", "pack", AXE, "--ignore-scripts", "--pack-destination", sys.prefix)
    if not kept.exists() and subprocess.run(command, capture_output=True, check=False, timeout=120).returncode:  # noqa: S603 - ours
        pytest.skip(f"npm, which fetches {AXE}, is not on this machine or could not fetch it")
    assert b64encode(hashlib.sha512(kept.read_bytes()).digest()).decode() == AXE_SHA512
    with tarfile.open(kept) as archive:
        source = archive.extractfile("package/axe.min.js")
        assert source
        return source.read().decode()


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
    await tab.get_by_role("switch", name="A fourth pin goes through").check()
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
    await tab.get_by_role("button", name="Go").click()
    (query,) = await telegram.wait_for(
        lambda: [update["callback_query"]["id"] for update in telegram._updates.values() if "callback_query" in update]
    )
    telegram.callback_answers[query] = {"text": "Well"}
    await expect(tab.locator("#note")).to_have_text("Well")
    await tab.get_by_role("button", name="Copy").click()
    await expect(tab.locator("#note")).to_have_text("Copied.")
    await tab.get_by_label("Language").select_option("pt-BR")
    await tab.fill("#text", "obrigado")
    for key in ("Shift+Enter", "x", "Enter"):
        await tab.press("#text", key)
    await expect(tab.locator(".mine .text")).to_have_text("obrigado\nx")
    thanks = telegram.messages(ANA.telegram_id)[-1]
    assert thanks["from"]["language_code"] == "pt-br"
    telegram.reactions[ANA.telegram_id, thanks["message_id"]] = ["👍"]
    await expect(tab.locator(".mine .reaction")).to_contain_text("👍")


@pytest.mark.parametrize(
    ("switches", "said"),
    [
        (["Slow"], "Pinned"),
        (["Slow", "Not connected"], "disconnected"),
        (["Slow", "Wrong token"], "admin"),
        (["Ryze is down"], "couldn't reach Ryze"),
    ],
)
async def test_a_switch_makes_it_go_wrong_and_right_again(desk: Desk, switches: list[str], said: str) -> None:
    toggles = [desk.tab.get_by_role("switch", name=name) for name in switches]
    for toggle in toggles:
        await toggle.check()
    await desk.send("/pin +55 11 99999-9999")
    if switches != ["Ryze is down"]:
        await expect(desk.tab.locator("#bot-status")).to_have_text("typing…")
    await desk.sees(said)
    await expect(desk.tab.locator("#bot-status")).to_have_text("online")
    for toggle in toggles:
        await toggle.uncheck()
    await desk.send("/pin +55 11 99999-9999")
    await desk.sees_on_top("Padaria Aurora", "Oliver Grant", "Clínica Vida")


async def test_a_killed_bot_answers_once_it_is_started_and_a_limited_one_once_it_may(desk: Desk) -> None:
    killed, limited = (desk.tab.get_by_role("switch", name=name) for name in ("Bot killed", "Rate limit"))
    desk.demo.ryze.window = 1.0
    await killed.check()
    await desk.send("/pin +55 11 99999-9999")
    await desk.send("/unpin +44 20 7946 0958")
    await expect(desk.tab.locator("#bot-status")).to_contain_text("killed; 2 messages wait")
    await limited.check()
    await killed.uncheck()
    await expect(desk.tab.locator("#bot-status")).to_have_text("typing…")
    await limited.uncheck()
    await desk.sees_on_top("Padaria Aurora", "Clínica Vida")


@pytest.mark.parametrize("width", [1280, 1024, 390])
async def test_nothing_covers_send_and_every_suggestion_can_be_reached(browser: Browser, width: int) -> None:
    async with desk_on(browser, viewport={"width": width, "height": 760}, reduced_motion="reduce") as desk:
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
        await desk.send("/pin +55 11 99999-9999")
        await desk.sees("Pinned")
        desk.errors[:] = [error for error in desk.errors if "net::ERR" not in error]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
async def test_axe_finds_nothing_serious(browser: Browser, axe: str, scheme: str, size: Json) -> None:
    async with desk_on(browser, viewport=size, color_scheme=scheme, reduced_motion="reduce") as desk:
        tab = desk.tab

        async def look(at: str) -> None:
            found = await tab.evaluate("async () => (await axe.run(document)).violations")
            grave = [(issue["id"], issue["nodes"]) for issue in found if issue["impact"] in {"serious", "critical"}]
            assert (at, grave) == (at, [])

        await tab.evaluate(axe)
        for text in ("/pin 51987654321", "/pins"):
            await desk.send(text)
            await desk.sees("Pinned")
        await look("chat")
        await tab.get_by_role("switch", name="Not connected").check()
        await look("switched")
        assert not await tab.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth")


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


async def screenshot(path: Path) -> None:
    """What the README shows."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        async with desk_on(browser, reduced_motion="reduce") as desk:
            for count, text in enumerate(("/pin Padaria Aurora: +55 11 99999-9999", "/pin +1 (415) 555-2671"), 1):
                await desk.send(text)
                await expect(desk.tab.locator(".keys")).to_have_count(count)
            await desk.tab.screenshot(path=path, animations="disabled")
        await browser.close()


if __name__ == "__main__":
    asyncio.run(screenshot(ROOT / "docs" / "demo-en.png"))
