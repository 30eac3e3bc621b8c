"""The demo's page, in headless Chromium and by HTTP; `python -m tests.test_page` takes the screenshots of `docs/`."""

from __future__ import annotations

import asyncio
import hashlib
import re
import shutil
import subprocess
import sys
import tarfile
from base64 import b64encode
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import pytest_asyncio
from playwright.async_api import Browser, async_playwright, expect

from tests.sandbox.demo import ANA, BRUNO, EVE, ON_THE_PAGE, ROOT, Demo, Screen, started
from tests.sandbox.page import Page

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from playwright.async_api import Page as Tab

    from tests.sandbox.server import Json

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
NPM = shutil.which("npm")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
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

    async def open(self, language: str = "en") -> None:
        await self.tab.goto(f"{self.page.url}?language={language}")
        await expect(self.tab.locator(".try").first).to_be_visible()

    async def send(self, text: str) -> None:
        await self.tab.fill("#text", text)
        await self.tab.press("#text", "Enter")

    async def sees(self, pattern: str) -> None:
        """Waits until the bot's latest message is of this kind."""
        await expect(self.tab.locator(".msg:not(.mine)").last).to_contain_text(re.compile(pattern))

    async def sees_on_top(self, *names: str) -> None:
        """Waits until these chats are the pinned ones, in this order."""
        await expect(self.tab.locator("#chats .pinned .name")).to_have_text(list(names))


@asynccontextmanager
async def desk_on(browser: Browser, **options: Any) -> AsyncIterator[Desk]:  # noqa: ANN401 - Chromium's own options
    async with started(Screen()) as demo, Page(demo, ON_THE_PAGE, port=0) as page:
        context = await browser.new_context(**{"viewport": DESK, **options})
        yield Desk(demo, page, await context.new_page())
        await context.close()


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        await browser.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine (Debian's package of that name)")
    async with chromium() as launched:
        yield launched


@pytest_asyncio.fixture(loop_scope="module")
async def desk(browser: Browser) -> AsyncIterator[Desk]:
    async with desk_on(browser) as made:
        await made.open()
        yield made
        assert made.errors == []


@pytest.fixture(scope="module")
def axe() -> str:
    """The source of axe-core, fetched once by npm and held to its hash."""
    version = AXE.rpartition("@")[2]
    kept = Path(sys.prefix) / f"axe-core-{version}.tgz"
    if not kept.exists():
        if NPM is None:
            pytest.skip(f"no npm on this machine, which fetches {AXE}")
        command = (NPM, "pack", AXE, "--ignore-scripts", "--pack-destination", sys.prefix)
        fetched = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)  # noqa: S603 - ours
        if fetched.returncode:
            pytest.skip(f"npm could not fetch {AXE}: {fetched.stderr.strip()[-200:]}")
    assert b64encode(hashlib.sha512(kept.read_bytes()).digest()).decode() == AXE_SHA512
    with tarfile.open(kept) as archive:
        source = archive.extractfile("package/axe.min.js")
        assert source
        return source.read().decode()


# The tour


async def test_the_tour_by_mouse(desk: Desk) -> None:
    tab, sales = desk.tab, desk.demo.ryze.instances["sales"]
    await desk.sees_on_top("Oliver Grant", "Clínica Vida")
    await tab.get_by_role("button", name="/pin +55 11 99999-9999").click()
    await desk.sees("Pinned")
    await desk.sees_on_top("Padaria Aurora", "Oliver Grant", "Clínica Vida")
    await tab.locator(".key", has_text="Unpin").click()
    await desk.sees_on_top("Oliver Grant", "Clínica Vida")
    await tab.locator(".key", has_text="Pin again").click()
    await desk.sees_on_top("Padaria Aurora", "Oliver Grant", "Clínica Vida")

    await tab.get_by_role("button", name=re.compile("Marina Lopes")).click()
    await expect(tab.locator("#text")).to_have_value("/pin +1 (415) 555-2671")
    await tab.get_by_role("button", name="Send", exact=True).click()
    await desk.sees("limit of three")
    await tab.locator(".key", has_text=re.compile("Unpin .* pin this one")).click()
    await desk.sees_on_top("Marina Lopes", "Oliver Grant", "Clínica Vida")
    await tab.get_by_role("button", name=re.compile("Clínica Vida .*pinned")).click()
    await expect(tab.locator("#text")).to_have_value("/unpin +55 21 98765-4321")
    await tab.get_by_role("button", name="Send", exact=True).click()
    await desk.sees_on_top("Marina Lopes", "Oliver Grant")
    assert [jid.partition("@")[0] for jid in sales.pinned] == ["14155552671", "442079460958"]

    await tab.get_by_role("radio", name="Bruno").check()
    await expect(tab.locator("#phone-name")).to_have_text("WhatsApp of support")
    await desk.send("/pin 51987654321")
    await tab.locator(".key", has_text="+51 987").click()
    await desk.sees_on_top("Not in the contacts")
    await tab.get_by_role("button", name="Share a contact", exact=True).click()
    await tab.get_by_role("dialog").get_by_role("button", name=re.compile("Hôtel Lumière")).click()
    await desk.sees("Hôtel Lumière")
    await tab.locator(".keys").last.get_by_role("button", name="Pin", exact=True).click()
    await desk.sees_on_top("Hôtel Lumière", "Not in the contacts")

    await tab.get_by_role("radio", name="Eve").check()
    await tab.get_by_role("button", name="Say hello /start").click()
    await desk.sees(f"Your Telegram id: {EVE.telegram_id}")


async def test_the_tour_by_keyboard_alone(desk: Desk) -> None:
    tab = desk.tab
    press, write = tab.keyboard.press, tab.keyboard.type

    async def go_to(name: str, *, back: bool = False) -> None:
        """Presses Tab until the focus is on what has this name."""
        for _ in range(60):
            await press("Shift+Tab" if back else "Tab")
            said = await tab.evaluate(
                "(node => node.ariaLabel || node.closest('label, button')?.textContent || '')(document.activeElement)"
            )
            if re.search(name, said):
                return
        raise AssertionError(f"Tab never comes to {name!r}")

    await press("Tab")
    await press("Enter")  # “Skip to the message field”
    await expect(tab.locator("#text")).to_be_focused()
    await write("/unp")
    await expect(tab.locator("#menu [role=option]")).to_have_count(1)
    await press("ArrowDown")
    await press("Enter")
    await expect(tab.locator("#text")).to_have_value("/unpin ")
    await write("+44 20 7946 0958")
    await press("Enter")
    await desk.sees_on_top("Clínica Vida")

    await go_to("Lucía Fernández")
    await press("Enter")
    await expect(tab.locator("#text")).to_be_focused()
    await press("Enter")
    await desk.sees_on_top("Lucía Fernández", "Clínica Vida")

    await go_to("^Ana", back=True)
    await press("ArrowRight")
    await expect(tab.get_by_role("radio", name="Bruno support")).to_be_checked()
    await go_to("^Message$")
    await write("/pin 51987654321")
    await press("Enter")
    await desk.sees("two ways")
    await go_to(r"\+55 51", back=True)
    await press("Space")
    await desk.sees("Pinned")

    await go_to("Share a contact")
    await press("Enter")
    await expect(tab.get_by_role("dialog")).to_be_visible()
    await press("Escape")
    await expect(tab.get_by_role("dialog")).to_be_hidden()
    await press("Enter")
    await press("Tab")
    await press("Enter")
    await expect(tab.locator(".mine").last).to_contain_text("+44 7400 123456")
    await desk.sees("what shall I do")
    await go_to("^Pin$", back=True)
    await press("Enter")
    await desk.sees_on_top("Amelia Clark", "Not in the contacts")

    await go_to("Not connected")
    await press("Space")
    await expect(tab.locator("#notice")).to_be_visible()


async def test_a_message_is_replied_to_and_several_lines_are_one_message(desk: Desk) -> None:
    tab = desk.tab
    await tab.fill("#text", "+34 612 34 56 78")
    await tab.press("#text", "Shift+Enter")
    await tab.keyboard.type("x")
    await tab.keyboard.press("Enter")
    await expect(tab.locator(".mine .text")).to_have_text("+34 612 34 56 78\nx")
    await tab.locator(".mine").hover()
    await tab.get_by_role("button", name="Reply to: +34").click()
    await desk.send("/pin")
    await expect(tab.locator(".mine .quote")).to_contain_text("+34 612 34 56 78")
    await expect(tab.locator("#bot-name")).to_be_in_viewport(ratio=1)


async def test_a_persons_language_is_the_pages_and_their_telegrams(desk: Desk) -> None:
    await desk.tab.get_by_label("Language").select_option("pt-BR")
    await expect(desk.tab.locator("html")).to_have_attribute("lang", "pt-BR")
    await expect(desk.tab.get_by_role("heading", name="O que pode dar errado")).to_be_visible()
    await desk.send("/help")
    await expect(desk.tab.locator(".mine")).to_be_visible()
    assert desk.demo.telegram.messages(ANA.telegram_id)[0]["from"]["language_code"] == "pt-br"


# What the bot does is seen


async def call(demo: Demo, method: str, **params: object) -> Any:  # noqa: ANN401 - a result is any JSON
    """Calls the Bot API in the bot's place."""
    async with httpx.AsyncClient(trust_env=False) as http:
        answer = await http.post(f"{demo.telegram.url}/bot{demo.telegram.token}/{method}", json=params)
    return answer.raise_for_status().json()["result"]


async def test_formatting_edits_and_deletions_are_seen_as_they_happen(desk: Desk) -> None:
    html = (
        '💬 <b>a &amp; <i>b</i></b> <a href="https://example.org/">c</a>'
        ' <a href="javascript:x">d</a> <code>&lt;i&gt;</code> /help'
    )
    where: Json = {"chat_id": ANA.telegram_id}
    sent = await call(desk.demo, "sendMessage", **where, text=html, parse_mode="HTML")
    text = desk.tab.locator(".msg:not(.mine) .text")
    await expect(text).to_have_text("💬 a & b c d <i> /help")
    await expect(text.locator("strong > em")).to_have_text("b")
    await expect(text.locator("a")).to_have_text(["c"])
    await expect(text.locator("a")).to_have_attribute("rel", "noopener noreferrer")
    await expect(text.locator("code")).to_have_text("<i>")
    where["message_id"] = sent["message_id"]
    keyboard = {"inline_keyboard": [[{"text": "Go", "callback_data": "x"}, {"text": "See", "url": "https://x.org"}]]}
    await call(desk.demo, "editMessageText", **where, text="other", reply_markup=keyboard)
    await expect(text).to_have_text("other")
    await expect(desk.tab.locator(".meta")).to_contain_text("edited")
    await expect(desk.tab.locator(".key")).to_have_text(["Go", "See"])
    await call(desk.demo, "deleteMessage", **where)
    await expect(desk.tab.locator(".msg")).to_have_count(0)


async def test_typing_toasts_and_alerts_are_seen(desk: Desk) -> None:
    tab, chat = desk.tab, ANA.telegram_id
    await call(desk.demo, "sendChatAction", chat_id=chat, action="typing")
    await expect(tab.locator("#bot-status")).to_have_text("typing…")
    await expect(tab.locator(".dots")).to_be_visible()
    await desk.demo.kill()
    keyboard = {"inline_keyboard": [[{"text": "Go", "callback_data": "x"}]]}
    await call(desk.demo, "sendMessage", chat_id=chat, text="Shall I?", reply_markup=keyboard)
    await expect(tab.locator(".dots")).to_have_count(0)
    go = tab.get_by_role("button", name="Go")
    for alert in (False, True):
        before = len(desk.demo.telegram.pending)
        await go.click()
        await expect(go).to_have_attribute("aria-busy", "true")
        await desk.demo.telegram.wait_for(lambda before=before: len(desk.demo.telegram.pending) > before)  # type: ignore[misc] # the loop's
        query = list(desk.page.presses)[-1]
        await call(desk.demo, "answerCallbackQuery", callback_query_id=query, text="Well", show_alert=alert)
        await expect(go).not_to_have_attribute("aria-busy", "true")
        if alert:
            await expect(tab.get_by_role("alertdialog")).to_contain_text("Well")
            await tab.get_by_role("button", name="OK").click()
        else:
            await expect(tab.locator(".toast")).to_have_text("Well")


async def test_what_others_hear_is_marked_until_it_is_looked_at(desk: Desk) -> None:
    bruno = desk.tab.locator("#people label").nth(1)
    await expect(bruno).not_to_have_class("new")
    await call(desk.demo, "sendMessage", chat_id=BRUNO.telegram_id, text="Psst")
    await expect(bruno).to_have_class("new")
    await bruno.click()
    await expect(bruno).not_to_have_class("new")


async def test_without_motion_nothing_moves(browser: Browser) -> None:
    async with desk_on(browser, reduced_motion="reduce") as desk:
        await desk.open()
        await desk.tab.evaluate("void (Element.prototype.animate = () => { throw new Error('moved'); })")
        await desk.send("/pin +55 11 99999-9999")
        await desk.sees_on_top("Padaria Aurora", "Oliver Grant", "Clínica Vida")
        assert desk.errors == []


# The switches


@pytest.mark.parametrize(
    ("switch", "said"),
    [
        ("Not connected", "not connected to WhatsApp"),
        ("Wrong token", "did not accept this instance's token"),
        ("Rate limit", "Waiting for Ryze's limit"),
        ("Ryze is down", "could not be reached"),
    ],
)
async def test_a_switch_makes_it_go_wrong_and_right_again(desk: Desk, switch: str, said: str) -> None:
    desk.demo.ryze.window = 1.0
    toggle = desk.tab.get_by_role("switch", name=switch)
    await toggle.check()
    await desk.send("/pin +55 11 99999-9999")
    await desk.sees(said)
    await toggle.uncheck()
    await desk.send("/pin +55 11 99999-9999")
    await desk.sees_on_top("Padaria Aurora", "Oliver Grant", "Clínica Vida")


async def test_the_switches_of_an_instance_leave_the_other_alone(desk: Desk) -> None:
    await desk.tab.get_by_role("switch", name="Not connected").check()
    await expect(desk.tab.locator("#phone-status")).to_have_text("not connected")
    await desk.tab.get_by_role("radio", name="Bruno").check()
    await expect(desk.tab.get_by_role("switch", name="Not connected")).not_to_be_checked()
    await desk.send("/pin +55 11 98888-7777")
    await desk.sees_on_top("Bella Tech")


async def test_a_slow_instance_shows_the_bot_typing(desk: Desk) -> None:
    await desk.tab.get_by_role("switch", name="Slow").check()
    await desk.send("/pin +55 11 99999-9999")
    await expect(desk.tab.locator("#bot-status")).to_have_text("typing…")
    await desk.sees("Pinned")
    await expect(desk.tab.locator("#bot-status")).to_have_text("online")


async def test_a_killed_bot_answers_what_waited_once_it_is_started_and_the_page_stays_live(desk: Desk) -> None:
    tab = desk.tab
    toggle = tab.get_by_role("switch", name="Bot killed")
    await toggle.check()
    await expect(tab.locator("#bot-status")).to_have_text(re.compile("killed"))
    assert not desk.demo.running
    await desk.send("/pin +55 11 99999-9999")
    await desk.send("/unpin +44 20 7946 0958")
    await expect(tab.locator("#bot-status")).to_contain_text("2 messages wait")
    await toggle.uncheck()
    await expect(tab.locator(".msg:not(.mine)")).to_have_count(2)
    await desk.sees_on_top("Padaria Aurora", "Clínica Vida")
    await expect(tab.locator("#bot-status")).to_have_text("online")


async def test_the_page_comes_back_to_life_after_its_server_was_away(desk: Desk) -> None:
    await desk.page.__aexit__()
    await expect(desk.tab.locator("#lost")).to_be_visible()
    await desk.page.__aenter__()
    await expect(desk.tab.locator("#lost")).to_be_hidden()
    await desk.send("/help")
    await expect(desk.tab.locator(".msg:not(.mine)")).to_be_visible()
    assert {re.sub(r".*(net::\w+).*", r"\1", error) for error in desk.errors} <= {
        "net::ERR_CONNECTION_REFUSED",
        "net::ERR_INCOMPLETE_CHUNKED_ENCODING",
        "net::ERR_CONNECTION_RESET",
        "net::ERR_EMPTY_RESPONSE",
    }
    desk.errors.clear()


# Everybody can use it


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
async def test_axe_finds_nothing_serious(browser: Browser, axe: str, scheme: str, size: Json) -> None:
    async with desk_on(browser, viewport=size, color_scheme=scheme, reduced_motion="reduce") as desk:
        tab = desk.tab
        await desk.open()

        async def look(at: str) -> None:
            found = await tab.evaluate("async () => (await axe.run(document)).violations")
            grave = [
                (at, issue["id"], [node["html"][:200] for node in issue["nodes"]])
                for issue in found
                if issue["impact"] in {"serious", "critical"}
            ]
            assert grave == []

        await tab.evaluate(axe)
        await look("empty")
        for text, said in (
            ("/pin 51987654321", "two ways"),
            ("/pin +55 11 99999-9999", "Pinned"),
            ("/pins", "Pinned on"),
        ):
            await desk.send(text)
            await desk.sees(said)
        await look("chat")
        await tab.fill("#text", "/")
        await expect(tab.locator("#menu [role=option]").first).to_be_visible()
        await tab.press("#text", "ArrowDown")
        await look("commands")
        await tab.fill("#text", "")
        await tab.get_by_role("button", name="Share a contact", exact=True).click()
        await look("contacts")
        await tab.keyboard.press("Escape")
        for view in ("phone", "side") if size is PHONE else ():
            await tab.click(f".tabs [data-view={view}]")
            await look(view)
        if size is PHONE:
            await tab.get_by_role("switch", name="Not connected").check()
            await tab.get_by_role("switch", name="Bot killed").check()
            await expect(tab.get_by_role("switch", name="Bot killed")).to_be_checked()
            await look("switched")
            await tab.click(".tabs [data-view=phone]")
            await look("unlinked")
            await tab.click(".tabs [data-view=chat]")
        else:
            await tab.get_by_role("switch", name="Not connected").check()
            await expect(tab.locator("#notice")).to_be_visible()
        await look("wrong")
        wide = await tab.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth")
        assert not wide
        assert desk.errors == []


# Nobody else can


@pytest_asyncio.fixture(loop_scope="module")
async def page() -> AsyncIterator[Page]:
    async with started(Screen()) as demo, Page(demo, ON_THE_PAGE, port=0) as made:
        yield made


async def test_only_the_page_itself_can_drive_the_demo(page: Page) -> None:
    say = {"person": ANA.telegram_id, "language": "en", "text": "/help"}
    own = {"Origin": page.url.rstrip("/")}
    async with httpx.AsyncClient(trust_env=False, base_url=page.url) as http:
        for headers in (
            {},
            {"Origin": "http://example.org"},
            {"Origin": "null"},
            {**own, "Host": f"example.org:{page.port}"},
            {**own, "Sec-Fetch-Site": "cross-site"},
        ):
            assert (await http.post("/do/say", json=say, headers=headers)).status_code == 403
        for path in ("/", "/events"):
            assert (await http.get(path, headers={"Host": "example.org"})).status_code == 403
        assert page.demo.telegram.pending == []
        answer = await http.post("/do/say", json=say, headers=own)
        assert (answer.status_code, answer.json()["message_id"]) == (200, 1)
        assert "access-control-allow-origin" not in answer.headers
        policy = (await http.get("/")).headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in policy


@pytest.mark.parametrize(
    ("act", "asked"),
    [
        ("say", {"person": 1, "language": "en", "text": "x"}),
        ("say", {"person": ANA.telegram_id, "language": "tlh", "text": "x"}),
        ("say", {"person": ANA.telegram_id, "language": "en", "text": " "}),
        ("say", {"person": ANA.telegram_id, "language": "en", "text": "x" * 4097}),
        ("say", {"person": ANA.telegram_id, "language": "en", "text": "x", "reply_to": 99}),
        ("say", {"person": [], "language": {}, "text": "x"}),
        ("press", {"person": ANA.telegram_id, "language": "en", "message": 99, "data": "x"}),
        ("contact", {"person": ANA.telegram_id, "language": "en", "jid": "120363025246125486@g.us"}),
        ("switch", {"name": "slow", "on": "yes", "instance": "sales"}),
        ("switch", {"name": "slow", "on": True, "instance": "night"}),
        ("switch", {"name": "fire", "on": True, "instance": "sales"}),
        ("sing", {}),
        ("say", []),
    ],
)
async def test_what_makes_no_sense_is_refused(page: Page, act: str, asked: object) -> None:
    async with httpx.AsyncClient(trust_env=False, base_url=page.url) as http:
        answer = await http.post(f"/do/{act}", json=asked, headers={"Origin": page.url.rstrip("/")})
    assert answer.status_code == 400
    assert answer.json()["error"]


async def test_a_taken_port_is_left_to_its_owner(page: Page) -> None:
    async with Page(page.demo, ON_THE_PAGE, port=page.port) as other:
        assert other.port != page.port


# What the README shows


async def screenshots(folder: Path) -> None:
    """Writes `demo-en.png`, `demo-pt.png` and a phone's `demo-phone.png`."""
    async with chromium() as browser:
        for language, name, size, scheme in (
            ("en", "demo-en", {"width": 1280, "height": 820}, "light"),
            ("pt-BR", "demo-pt", {"width": 1280, "height": 820}, "light"),
            ("pt-BR", "demo-phone", PHONE, "dark"),
        ):
            async with desk_on(browser, viewport=size, color_scheme=scheme, reduced_motion="reduce") as desk:
                await desk.open(language)
                await desk.send("/pin +55 11 99999-9999")
                await expect(desk.tab.locator(".key")).to_have_count(1)
                await desk.tab.locator("#share").click()
                await desk.tab.get_by_role("dialog").get_by_role("button", name=re.compile("Lucía Fernández")).click()
                await expect(desk.tab.locator(".key")).to_have_count(3)
                await desk.tab.wait_for_timeout(500)
                await desk.tab.screenshot(path=folder / f"{name}.png")


if __name__ == "__main__":
    docs = ROOT / "docs"
    docs.mkdir(exist_ok=True)
    asyncio.run(screenshots(docs))
