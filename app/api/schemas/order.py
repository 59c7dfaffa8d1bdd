"""What a caller sends to check an order out, and how strict the API is about it.

Nothing is guessed: `"5"`, `5.0` and `true` are not 5, an unknown member is a misspelt one, and a text
holds no control characters, so that whatever is accepted can be stored, logged and sent on.
"""

from __future__ import annotations

import math
import re
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from app.api.problems.validation import NO_SAGA, InvalidValue, field_errors, invalid
from app.saga.model.step import JSON
from app.values.money import CURRENCIES

LARGEST = 2**53 - 1
"""The largest integer that every JSON reader takes as it is (RFC 8259, 6)."""

LONGEST_REFERENCE = 128
"""Characters of a name by which somebody else knows a thing: an order, an article, a refund."""

MAY_BE_ABSENT = (
    "shipping_amount",
    "tax_amount",
    "discount_amount",
    "contact",
    "shipping_method",
    "weight_grams",
    "size_mm",
)
"""What an order, or a line of it, may lack: absent is absent, never null, in what is stored and sent on."""

_LONGEST_NOTE = 500
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
"""Control characters and lone surrogates."""


def _printable(text: str) -> str:
    if text.isascii() and text.isprintable():
        return text
    if _UNPRINTABLE.search(text):
        raise InvalidValue("control_character", "Remove the control characters and lone surrogates.")
    return text


def _trimmed(text: str) -> str:
    if text != text.strip():
        raise InvalidValue("surrounding_space", "Remove the white space around it.")
    return text


def _currency(code: str) -> str:
    if code not in CURRENCIES:
        raise InvalidValue("unknown_currency", "Give the code of an active ISO 4217 currency, such as EUR.")
    return code


def _scalar(value: Any) -> Any:
    match value:
        case None | bool():
            return value
        case int() if abs(value) <= LARGEST:
            return value
        case float() if math.isfinite(value):
            return value
        case str() if len(value) <= _LONGEST_NOTE:
            return _printable(value)
        case str():
            raise InvalidValue("too_long", f"Shorten it to at most {_LONGEST_NOTE} characters.")
        case int():
            raise InvalidValue("too_large", "Give an integer between -(2^53-1) and 2^53-1, or a string.")
    raise InvalidValue("not_a_scalar", "Give a string, a number, true, false or null.")


_NO_EDGE = r"[^\u0000-\u0020\u007F-\u00A0\u1680\u2000-\u200A\u2028\u2029\u202F\u205F\u3000]"
NAME_PATTERN = rf"^{_NO_EDGE}(?:[^\u0000-\u001F\u007F-\u009F]*{_NO_EDGE})?$"
"""What `PRINTED` and `TRIM` take, for the API's description."""

NO_CONTROLS = Field(json_schema_extra={"pattern": "^[^\\u0000-\\u001F\\u007F-\\u009F]*$"})
NAMED = Field(json_schema_extra={"pattern": NAME_PATTERN})
PRINTED = AfterValidator(_printable)
TRIM = AfterValidator(_trimmed)

Text = Annotated[str, StringConstraints(min_length=1, max_length=200), PRINTED, NO_CONTROLS]
PostalCode = Annotated[str, StringConstraints(min_length=1, max_length=20), PRINTED, NO_CONTROLS]
Reference = Annotated[
    str, StringConstraints(min_length=1, max_length=LONGEST_REFERENCE), PRINTED, TRIM, NO_CONTROLS
]
Email = Annotated[
    str,
    StringConstraints(min_length=3, max_length=254, pattern=r"^[^@\s]+@[^@\s]+$"),
    PRINTED,
    Field(description="An e-mail address; only its form is looked at."),
]
Phone = Annotated[
    str,
    StringConstraints(pattern=r"^\+?[0-9 ()./-]{3,32}$"),
    Field(description="A telephone number, best as E.164 has it: +33155550100."),
]
Part = Annotated[int, Field(ge=0, le=LARGEST)]
Token = Annotated[str, StringConstraints(min_length=1, max_length=255), PRINTED, TRIM, NAMED]
MetadataName = Annotated[str, StringConstraints(min_length=1, max_length=40), PRINTED, NO_CONTROLS]
MetadataValue = Annotated[
    Any,
    AfterValidator(_scalar),
    WithJsonSchema({"type": ["string", "number", "boolean", "null"], "maxLength": _LONGEST_NOTE}),
]


class Strict(BaseModel):
    """A JSON object of which nothing is guessed."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class Item(Strict):
    """One line of the order."""

    sku: Reference
    quantity: Annotated[int, Field(ge=1, le=100_000)]
    unit_price: Annotated[
        int, Field(ge=0, le=10**12, description="In the currency's minor unit: 1999 is €19.99.")
    ]
    weight_grams: Annotated[int | None, Field(ge=0, le=10**9, description="Of one piece.")] = None
    size_mm: Annotated[
        list[Annotated[int, Field(ge=1, le=10**6)]] | None,
        Field(min_length=3, max_length=3, description="Length, width and height of one piece."),
    ] = None


class Contact(Strict):
    """How the customer can be reached about the payment or the delivery."""

    email: Email | None = None
    phone: Phone | None = None


class Address(Strict):
    """Where the order goes."""

    name: Text
    line1: Text
    line2: Text | None = None
    city: Text
    region: Text | None = None
    postal_code: Annotated[
        PostalCode | None, Field(description="null or left out where there are none, as in Hong Kong.")
    ] = None
    country: Annotated[str, StringConstraints(pattern="^[A-Z]{2}$"), Field(description="ISO 3166-1 alpha-2.")]


class Order(Strict):
    """An order to check out.

    The amount charged is the sum of quantity times unit_price, plus shipping_amount and tax_amount, minus
    discount_amount.
    """

    order_id: Annotated[
        Reference, Field(description="Unique among the caller's sagas that aren't compensated.")
    ]
    customer_id: Reference
    currency: Annotated[
        str,
        StringConstraints(pattern="^[A-Z]{3}$"),
        AfterValidator(_currency),
        Field(description="The code of an active ISO 4217 currency."),
    ]
    items: Annotated[list[Item], Field(min_length=1)]
    payment_method: Annotated[
        Token, Field(description="A token of the payment service; a card number is refused.")
    ]
    shipping_address: Address
    shipping_amount: Annotated[
        Part | None, Field(description="What the delivery costs, in the minor unit.")
    ] = None
    tax_amount: Annotated[
        Part | None, Field(description="Tax that isn't in the prices, in the minor unit.")
    ] = None
    discount_amount: Annotated[
        Part | None, Field(description="What is taken off, in the minor unit, as a positive number.")
    ] = None
    contact: Contact | None = None
    shipping_method: Annotated[
        Reference | None, Field(description="The shipping service's own word, such as express.")
    ] = None
    metadata: Annotated[
        dict[MetadataName, MetadataValue],
        Field(
            max_length=50, description="Whatever the caller wants kept along and passed on to the services."
        ),
    ] = {}

    @field_validator("items", mode="before")
    @classmethod
    def _not_too_many(cls, value: object, info: ValidationInfo) -> object:
        most = (info.context or {}).get("max_items", math.inf)
        if isinstance(value, list) and len(value) > most:
            raise InvalidValue("too_many", f"Give at most {most}.")
        return value

    @property
    def amount(self) -> int:
        """What is charged, in the currency's minor unit."""
        lines = sum(item.quantity * item.unit_price for item in self.items)
        return lines + (self.shipping_amount or 0) + (self.tax_amount or 0) - (self.discount_amount or 0)

    @model_validator(mode="after")
    def _amount_is_exact(self) -> Order:
        if self.amount > LARGEST:
            raise InvalidValue(
                "amount_too_large", "Split the order: its amount must not exceed 2^53-1.", pointer="/items"
            )
        if self.amount < 0:
            raise InvalidValue(
                "amount_below_zero",
                "Lower the discount: it is more than the items, the shipping and the tax together.",
                pointer="/discount_amount",
            )
        return self

    @classmethod
    def of(cls, body: object, *, max_items: int) -> Order:
        """Return the order that a body says; raise an `invalid_request` problem that points at all that is wrong."""
        try:
            return cls.model_validate(body, context={"max_items": max_items})
        except ValidationError as error:
            raise invalid(field_errors(error), outcome=NO_SAGA) from None

    def saga_input(self) -> dict[str, JSON]:
        """Return what the saga begins with: the order's members, without those of `MAY_BE_ABSENT` that it has not."""
        given = self.model_dump()
        for members in (given, *given["items"]):
            for name in MAY_BE_ABSENT:
                if members.get(name, "") is None:
                    del members[name]
        return {**given, "amount": self.amount}
