"""Makes docs/screenshots anew: every state of every page, at 390 and 1440 pixels, light and dark."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import httpx2 as httpx
from playwright.sync_api import Browser, Page

from tests.page.browser import a_browser, a_page
from tests.page.shop import LONG, a_shop, check_out, fill, give_it_a_past
from tests.processes import ROOT, Running

FOLDER = ROOT / "docs" / "screenshots"
WIDTHS = {"wide": 1440, "phone": 390}
MOST = 2000
"""Pixels of height; what a page has below isn't shown."""


def main() -> int:
    """Take them all."""
    FOLDER.mkdir(exist_ok=True)
    with a_browser() as browser, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "empty").mkdir()
        with a_shop(folder / "empty") as shop:
            shoot(browser, shop, "list-empty", "/")
        (folder / "slow").mkdir()
        with a_shop(
            folder / "slow", CHECKOUT_RETRY_CAP_SECONDS="600", CHECKOUT_RETRY_BASE_SECONDS="600"
        ) as shop:
            for order_id, (simulate, status) in LONG.items():
                saga = check_out(shop, order_id, simulate, wait=1)
                shoot(browser, shop, f"saga-{status}", f"/dashboard/sagas/{saga['id']}")
        with a_shop(folder, CHECKOUT_RETRY_CAP_SECONDS="4", CHECKOUT_RETRY_BASE_SECONDS="2") as shop:
            sagas = fill(shop)
            give_it_a_past(folder / "checkout.db")
            of_sagas(browser, shop, {order_id: str(saga["id"]) for order_id, saga in sagas.items()})
            of_signing_in(browser, shop)
    return 0


def of_sagas(browser: Browser, shop: Running, ids: dict[str, str]) -> None:
    """Take the list and each saga."""
    shoot(browser, shop, "list", "/", themes=(False, True))
    shoot(browser, shop, "list-day", "/?span=day")
    shoot(browser, shop, "list-needs-attention", "/?status=needs_attention")
    shoot(browser, shop, "list-nothing-fits", "/?q=nobody")
    shoot(browser, shop, "problem", "/dashboard/sagas/0193b3c8-5c5f-7a1e-8c31-8b0d9e7b0c55")
    for order_id, name in {
        "ord-2041": "completed",
        "ord-2042": "compensated",
        "ord-2043": "completed-after-trouble",
        "ord-2044": "compensated-after-trouble",
    }.items():
        shoot(browser, shop, f"saga-{name}", f"/dashboard/sagas/{ids[order_id]}")
    stuck = f"/dashboard/sagas/{ids['ord-2045']}"
    shoot(browser, shop, "saga-needs-attention", stuck, themes=(False, True))
    for width in WIDTHS.values():
        with a_page(browser, width=width) as page:
            page.goto(shop.url + stuck)
            page.get_by_text("Settle outside", exact=True).click()
            take(page, "saga-settle", width)
    with a_page(browser) as page:
        page.goto(shop.url + stuck)
        page.get_by_text("Settle outside", exact=True).click()
        page.get_by_label("Reference").fill("re_3Pq81xKz")
        page.get_by_label("Why").last.wait_for()
        page.locator("details[open] textarea").fill("Refunded in the provider's own console")
        page.get_by_role("button", name="Yes, it is settled").click()
        page.wait_for_url("**?done=resolve")
        take(page, "saga-settled", 1440)


def of_signing_in(browser: Browser, shop: Running) -> None:
    """Take what is shown to somebody who has to sign in: from the first key on."""
    new = {"caller": "ops", "who": "ada", "scopes": ["checkout", "operate", "keys"], "everyone": True}
    made = httpx.post(f"{shop.url}/keys", json=new, trust_env=False, verify=False)
    shoot(browser, shop, "sign-in", "/")
    with a_page(browser) as page:
        page.goto(shop.url)
        page.get_by_label("API key").fill(made.json()["key"])
        page.get_by_role("button", name="Sign in").click()
        page.get_by_role("button", name="Sign out").wait_for()
        take(page, "list-signed-in", 1440)


def shoot(
    browser: Browser, shop: Running, name: str, path: str, *, themes: tuple[bool, ...] = (False,)
) -> None:
    """Take one page at both widths."""
    for width in WIDTHS.values():
        for dark in themes:
            context = browser.new_context(
                viewport={"width": width, "height": 900}, color_scheme="dark" if dark else "light"
            )
            page = context.new_page()
            page.goto(shop.url + path)
            take(page, f"{name}-dark" if dark else name, width)
            context.close()


def take(page: Page, name: str, width: int) -> None:
    """Take one screenshot, of the whole page."""
    height = min(MOST, page.evaluate("document.documentElement.scrollHeight"))
    page.set_viewport_size({"width": width, "height": height})
    page.screenshot(path=FOLDER / f"{name}-{width}.png", animations="disabled")
    sys.stdout.write(f"{name}-{width}.png\n")


if __name__ == "__main__":
    sys.exit(main())
