"""The page as people use it: in a real Chromium, with and without JavaScript, on a phone and on a wide screen."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx2 as httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from app.api.problems.catalogue import PROBLEMS
from tests.page.browser import a_browser, a_page
from tests.page.shop import a_shop, check_out, fill
from tests.processes import Running

STUCK = "shipping.execute=rejected, payment.compensate=not_reversible"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with a_browser() as browser:
        yield browser


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with a_shop(tmp_path_factory.mktemp("shop")) as shop:
        yield shop


@pytest.fixture(scope="module")
def ids(shop: Running) -> dict[str, str]:
    return {order_id: saga["id"] for order_id, saga in fill(shop).items()}


def the_trail(shop: Running, saga_id: str) -> list[dict[str, str]]:
    body = httpx.get(
        f"{shop.url}/sagas/{saga_id}", headers={"Prefer": "wait=10"}, trust_env=False, verify=False
    ).json()
    trail: list[dict[str, str]] = body["trail"]
    return trail


def test_a_new_checkout_appears_by_itself_and_a_pause_holds_the_page_still(
    browser: Browser, shop: Running, ids: dict[str, str]
) -> None:
    """Live, until somebody wants to read in peace; then live again, with what came meanwhile."""
    assert ids
    with a_page(browser) as page:
        page.goto(shop.url)
        live = page.get_by_role("button", name="Live")
        expect(live).to_have_attribute("data-state", "on")
        check_out(shop, "ord-live-1")
        expect(page.get_by_role("link", name="ord-live-1")).to_be_visible()
        live.click()
        paused = page.get_by_role("button", name="Paused")
        expect(paused).to_have_attribute("aria-pressed", "false")
        check_out(shop, "ord-live-2")
        page.wait_for_timeout(2500)  # longer than it takes the page to hear of it
        expect(page.get_by_role("link", name="ord-live-2")).to_have_count(0)
        paused.click()
        expect(page.get_by_role("link", name="ord-live-2")).to_be_visible()


def test_a_saga_moves_before_ones_eyes_until_it_is_finished(browser: Browser, tmp_path: Path) -> None:
    """Its page shows each event as it becomes durable, and then holds no stream any more."""
    with a_shop(tmp_path, CHECKOUT_RETRY_BASE_SECONDS="1", CHECKOUT_RETRY_CAP_SECONDS="1") as shop:
        saga = check_out(
            shop, "ord-slow", "inventory.execute=unavailable:3, shipping.execute=rejected", wait=0
        )
        with a_page(browser) as page:
            page.goto(f"{shop.url}/dashboard/sagas/{saga['id']}")
            expect(page.locator(".title .badge")).to_contain_text("Running")
            expect(page.locator(".title .badge")).to_contain_text("Compensated", timeout=20_000)
            expect(page.locator(".trail li").last).to_contain_text("Everything done was compensated")
            expect(page.locator("#live")).to_be_hidden()


@pytest.mark.parametrize("javascript", [True, False])
def test_a_refund_that_can_never_succeed_is_found_understood_and_settled(
    browser: Browser, shop: Running, *, javascript: bool
) -> None:
    """Through the page alone, with and without JavaScript; its trail says who and why."""
    order_id = f"ord-refund-{javascript}"
    saga_id = check_out(shop, order_id, STUCK)["id"]
    with a_page(browser, javascript=javascript) as page:
        page.goto(shop.url)
        page.locator(".alarm").get_by_role("link", name=order_id).click()
        expect(page.locator(".now")).to_contain_text("payment step took effect and can't be compensated")
        expect(page.locator(".steps li").nth(1)).to_contain_text("compensated")
        page.get_by_text("Settle outside", exact=True).click()
        form = page.locator("details[open] form")
        form.get_by_role("button").click()  # without a reason the browser doesn't send it
        expect(form.locator("textarea:invalid")).to_have_count(1)
        form.get_by_label("Reference").fill("re_81")
        form.get_by_label("Why").fill("Refunded in the provider's console")
        form.get_by_role("button").click()
        page.wait_for_url("**?done=resolve")
        expect(page.get_by_role("status").first).to_contain_text("settled outside")
    acts = [event for event in the_trail(shop, saga_id) if "who" in event]
    assert [(one["event"], one["who"], one["reason"], one["reference"]) for one in acts] == [
        ("step_resolved", "local", "Refunded in the provider's console", "re_81")
    ]


def test_what_somebody_types_is_not_taken_from_under_their_hands(browser: Browser, shop: Running) -> None:
    """While a form is open the page says that the saga has moved, and leaves the form alone."""
    saga_id = check_out(shop, "ord-typing", STUCK)["id"]
    with a_page(browser, refused=409) as page:
        page.goto(f"{shop.url}/dashboard/sagas/{saga_id}")
        expect(page.locator("#live")).to_have_attribute("data-state", "on")
        page.get_by_text("Try again", exact=True).click()
        page.locator("details[open] textarea").fill("The provider is back")
        seen = page.locator("details[open] input[name=seen]").input_value()
        body = {"reason": "somebody else was first"}
        httpx.post(
            f"{shop.url}/sagas/{saga_id}/retry", json=body, trust_env=False, verify=False
        ).raise_for_status()
        expect(page.locator("#moved")).to_be_visible()
        expect(page.locator("details[open] textarea")).to_have_value("The provider is back")
        assert page.locator("details[open] input[name=seen]").input_value() == seen
        page.locator("details[open]").get_by_role("button").click()
        expect(page.get_by_role("heading", level=1)).to_have_text(PROBLEMS["saga_moved"].title)


def test_one_who_uses_the_keyboard_alone_gets_there(browser: Browser, shop: Running) -> None:
    """From the top of the list to the form's button, each stop visible."""
    check_out(shop, "ord-keyboard", STUCK)
    with a_page(browser) as page:
        page.goto(shop.url)
        page.keyboard.press("Tab")
        expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
        page.keyboard.press("Enter")
        _tab_to(page, "ord-keyboard")
        page.keyboard.press("Enter")
        page.wait_for_url("**/dashboard/sagas/*")
        _tab_to(page, "Try again")
        page.keyboard.press("Enter")
        expect(page.locator("details[open]")).to_have_count(1)
        page.keyboard.press("Tab")
        expect(page.locator("details[open] textarea")).to_be_focused()


def _tab_to(page: Page, words: str) -> None:
    for _ in range(60):
        page.keyboard.press("Tab")
        focused = page.evaluate(
            "[document.activeElement.textContent, getComputedStyle(document.activeElement).outlineStyle]"
        )
        assert focused[1] != "none", f"Nobody sees that {focused[0]!r} has the focus."
        if words in focused[0]:
            return
    raise AssertionError(f"The keyboard doesn't reach {words}.")


@pytest.mark.parametrize("width", [320, 390, 768, 1440, 2560])
@pytest.mark.parametrize("dark", [False, True])
def test_every_page_fits_and_can_be_read(
    browser: Browser, shop: Running, ids: dict[str, str], width: int, *, dark: bool
) -> None:
    """Nothing sticks out sideways, every text has a contrast of 4.5, every field a label (WCAG 2.2 AA)."""
    paths = ["/", "/?status=needs_attention", "/?q=nobody", "/dashboard/sign-in", "/?span=day"]
    paths += [f"/dashboard/sagas/{saga_id}" for saga_id in ids.values()]
    with a_page(browser, width=width, dark=dark) as page:
        for path in paths:
            page.goto(shop.url + path)
            for details in page.locator("details").all():
                details.evaluate("each => { each.open = true }")
            assert page.evaluate("document.documentElement.scrollWidth") <= width, path
            assert page.evaluate(_UNLABELLED) == [], path
            assert page.evaluate(_PALE) == [], path
            assert page.locator("h1").count() == 1
            assert page.title()


_UNLABELLED = """[...document.querySelectorAll('input:not([type=hidden]), select, textarea, button')]
  .filter(each => !(each.labels?.length || each.textContent.trim() || each.ariaLabel)).map(each => each.outerHTML)"""

_PALE = """(() => {
  const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
  const rgba = colour => {
    canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data; return [r, g, b, a / 255];
  };
  const over = (top, below) => top.slice(0, 3).map((each, i) => each * top[3] + below[i] * (1 - top[3]));
  const ground = each => {
    if (!each) return [255, 255, 255];
    const own = rgba(getComputedStyle(each).backgroundColor);
    return own[3] === 1 ? own.slice(0, 3) : over(own, ground(each.parentElement));
  };
  const light = colour => colour.map(each => each / 255)
    .map(each => each <= 0.04045 ? each / 12.92 : ((each + 0.055) / 1.055) ** 2.4)
    .reduce((sum, each, i) => sum + each * [0.2126, 0.7152, 0.0722][i], 0);
  const pale = [];
  for (const each of document.querySelectorAll('body *')) {
    const words = [...each.childNodes].filter(one => one.nodeType === 3).map(one => one.textContent.trim()).join('');
    if (!words || !each.checkVisibility({ opacityProperty: true }) || each.closest('svg, .hidden, .skip')) continue;
    const below = ground(each);
    const [a, b] = [light(over(rgba(getComputedStyle(each).color), below)), light(below)].sort((x, y) => y - x);
    if ((a + 0.05) / (b + 0.05) < 4.5) pale.push(`${words.slice(0, 40)}: ${((a + 0.05) / (b + 0.05)).toFixed(2)}`);
  }
  return pale;
})()"""


def test_the_id_is_copied_whole(browser: Browser, shop: Running, ids: dict[str, str]) -> None:
    """And so is the command that asks for it."""
    with a_page(browser) as page:
        page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        page.goto(f"{shop.url}/dashboard/sagas/{ids['ord-2041']}")
        page.get_by_role("button", name="Copy").first.click()
        assert page.evaluate("navigator.clipboard.readText()") == ids["ord-2041"]
        page.locator("[data-copies='#curl']").click()
        assert page.evaluate("navigator.clipboard.readText()") == f"curl {shop.url}/sagas/{ids['ord-2041']}"


def test_a_replica_that_comes_back_is_found_again(browser: Browser, tmp_path: Path) -> None:
    """The page says that it has lost its stream, and takes it up again by itself."""
    with a_shop(tmp_path) as shop:
        port = int(shop.url.rpartition(":")[2])
        context = browser.new_context()
        page = context.new_page()
        page.goto(shop.url)
        expect(page.locator("#live")).to_have_attribute("data-state", "on")
        shop.kill()
        expect(page.locator("#live .words")).to_have_text("Reconnecting")
        with a_shop(tmp_path, port=port) as again:
            expect(page.locator("#live")).to_have_attribute("data-state", "on", timeout=30_000)
            check_out(again, "ord-after")
            expect(page.get_by_role("link", name="ord-after")).to_be_visible(timeout=10_000)
        context.close()


def test_signing_in_and_out(browser: Browser, tmp_path: Path) -> None:
    """What was asked for is shown after it; afterwards nothing is."""
    with a_shop(tmp_path) as shop:
        saga_id = check_out(shop, "ord-1")["id"]
        new = {"caller": "ops", "who": "ada", "scopes": ["checkout", "operate", "keys"], "everyone": True}
        key = httpx.post(f"{shop.url}/keys", json=new, trust_env=False, verify=False).json()["key"]
        with a_page(browser) as page:
            page.goto(f"{shop.url}/dashboard/sagas/{saga_id}")
            expect(page.get_by_label("API key")).to_be_focused()
            page.keyboard.type(key)
            page.keyboard.press("Enter")
            page.wait_for_url(f"**/dashboard/sagas/{saga_id}")
            expect(page.get_by_role("heading", level=1)).to_have_text("ord-1")
            page.get_by_role("button", name="Sign out").click()
            page.wait_for_url("**/dashboard/sign-in")
            page.goto(f"{shop.url}/dashboard/sagas/{saga_id}")
            expect(page.get_by_label("API key")).to_be_visible()


def test_the_api_can_be_read_and_tried_with_nothing_from_elsewhere(browser: Browser, shop: Running) -> None:
    """Also offline, and under a policy that lets no other script in."""
    with a_page(browser) as page:
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.goto(f"{shop.url}/docs")
        page.locator("#docs .opblock-summary", has_text="/livez").click()
        page.get_by_role("button", name="Try it out").click()
        page.get_by_role("button", name="Execute").click()
        expect(page.locator(".live-responses-table tbody .response-col_status").first).to_contain_text("200")
        assert [url for url in asked if not url.startswith((shop.url, "data:"))] == []
