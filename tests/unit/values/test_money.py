"""Amounts as people write them, and which currencies there are."""

from __future__ import annotations

import pytest

from app.values.money import CURRENCIES, money


@pytest.mark.parametrize(
    ("amount", "currency", "written"),
    [
        (4994, "EUR", "49.94 EUR"),
        (5, "EUR", "0.05 EUR"),
        (0, "EUR", "0.00 EUR"),
        (123456789, "USD", "1,234,567.89 USD"),
        (500, "JPY", "500 JPY"),
        (1234, "KWD", "1.234 KWD"),
        (12345, "CLF", "1.2345 CLF"),
        (-4994, "EUR", "-49.94 EUR"),
        (2**53 - 1, "EUR", "90,071,992,547,409.91 EUR"),
        (1999, "HRK", "19.99 HRK"),
        (4994, "ZZZ", "4,994 ZZZ (minor units)"),
    ],
)
def test_an_amount_is_written_with_the_digits_of_its_currency(
    amount: int, currency: str, written: str
) -> None:
    assert money(amount, currency) == written


def test_what_has_no_minor_unit_is_no_currency_to_charge_in() -> None:
    """Nor is one that has been withdrawn; three letters and digits are all that a code is."""
    assert not CURRENCIES.keys() & {"ZZZ", "XXX", "XTS", "XAU", "XDR", "HRK", "BGN", "eur"}
    assert len(CURRENCIES) == 165
    assert all(len(code) == 3 and code.isupper() and code.isascii() for code in CURRENCIES)
    assert {CURRENCIES[code] for code in ("JPY", "EUR", "KWD", "UYW")} == {0, 2, 3, 4}
