"""Money: the currencies there are (ISO 4217), and an amount of minor units as people write it.

The table is list one as of 2026-01-01. Codes without a minor unit (gold, XXX, XTS, special drawing rights)
are not in it: nothing can be charged in them. A newer list is a change of the constants below.
"""

from __future__ import annotations

from collections.abc import Mapping

ISSUED = "2026-01-01"
"""When the maintenance agency (SIX) published the list that the table is taken from."""

_ACTIVE: Mapping[int, str] = {
    0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF",
    2: """
        AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF
        CHE CHF CHW CNY COP COU CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD
        GTQ GYD HKD HNL HTG HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL
        MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR
        PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TOP
        TRY TTD TWD TZS UAH USD USN UYU UZS VED VES WST XAD XCD XCG YER ZAR ZMW ZWG
    """,
    3: "BHD IQD JOD KWD LYD OMR TND",
    4: "CLF UYW",
}
_WITHDRAWN: Mapping[int, str] = {2: "ANG BGN CUC HRK SLL ZWL"}
"""What an order from before the check may be in."""


def _digits(table: Mapping[int, str]) -> dict[str, int]:
    return {code: digits for digits, codes in table.items() for code in codes.split()}


CURRENCIES: Mapping[str, int] = _digits(_ACTIVE)
"""Each active currency, and how many digits its minor unit has."""

_SHOWN = {**CURRENCIES, **_digits(_WITHDRAWN)}


def money(amount: int, currency: str) -> str:
    """Return an amount of minor units as people write it: 4890, EUR is `48.90 EUR`.

    For a code that was never a currency nobody knows where the point goes, which is then said.
    """
    digits = _SHOWN.get(currency)
    if digits is None:
        return f"{amount:,} {currency} (minor units)"
    whole, part = divmod(abs(amount), 10**digits)
    return f"{'-' if amount < 0 else ''}{whole:,}{f'.{part:0{digits}}' if digits else ''} {currency}"
