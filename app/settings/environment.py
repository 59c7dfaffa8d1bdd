"""The settings as the environment gives them: read, or refused in sentences that an operator can act on.

    CHECKOUT_STEP_TIMEOUT_SECONDS isn't a number: write one above 0 and at most 86400, such as 5.

Nothing here repeats a value: it may be a password that was put into the wrong variable.
"""

from __future__ import annotations

import difflib
import multiprocessing
import os
import re
import sys
from collections.abc import Iterator, Mapping
from typing import Any, Literal, NoReturn, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic import ValidationError
from pydantic.fields import FieldInfo

from app.settings.deprecated import DEPRECATED, conflicts
from app.settings.settings import Settings

EXIT_MISCONFIGURED = 2
"""A restart with the same settings ends in the same way."""

EXIT_NOT_STARTED = 3
"""What uvicorn ends with where the start fails, and what ends all of its workers."""

_OTHERS = (
    "CHECKOUT_URL",
    "CHECKOUT_API_KEY",
    "CHECKOUT_SERVICE_TOKEN",
    "CHECKOUT_VERSION",
    "SANDBOX_LATE_SECONDS",
    "SANDBOX_HANG_SECONDS",
)
"""Variables of the command line and of the sandbox's own servers."""

_CLUSTERS = re.compile(r".*_(SERVICE_(HOST|PORT(_\w+)?)|PORT(_\d+_(TCP|UDP|SCTP)(_\w+)?)?)")
"""Kubernetes gives every container such variables of a service that is called `checkout`."""

_FAULTS = {
    "float_parsing": "isn't a number",
    "float_type": "isn't a number",
    "int_parsing": "isn't a whole number",
    "int_parsing_size": "isn't a whole number",
    "int_type": "isn't a whole number",
    "int_from_float": "isn't a whole number",
    "finite_number": "isn't a finite number",
    "bool_parsing": "is neither true nor false",
    "greater_than": "is too small",
    "greater_than_equal": "is too small",
    "less_than": "is too large",
    "less_than_equal": "is too large",
    "literal_error": "isn't one of its words",
}


class SettingsError(ValueError):
    """Settings can't be used: a line for each of them."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines


def read_settings() -> Settings:
    """Return the settings that the environment gives. Raise `SettingsError`."""
    lines = conflicts()
    try:
        settings = Settings()
    except ValidationError as error:
        raise SettingsError([*lines, *_lines(error)]) from None
    if lines:
        raise SettingsError(lines)
    return settings


def settings_or_exit() -> Settings:
    """Return the settings; where they can't be used, say so on standard error and end the process.

    The exit code is `EXIT_MISCONFIGURED`; in a worker of uvicorn's `EXIT_NOT_STARTED`, as it would start a worker
    that ended with anything else again and again.
    """
    try:
        return read_settings()
    except SettingsError as error:
        refuse(str(error))


def refuse(words: str) -> NoReturn:
    """Say what is wrong with the settings, and end the process."""
    sys.stderr.write(f"{words}\n")
    sys.exit(EXIT_NOT_STARTED if multiprocessing.parent_process() else EXIT_MISCONFIGURED)


def variable(name: str) -> str:
    """Return the environment variable of a setting, as it is spelt there: by its deprecated name if that is set."""
    field = Settings.model_fields.get(name)
    known = name if field is None else _variable(name, field)
    names = [known.upper(), *(old for old, new in DEPRECATED.items() if new == known)]
    return next((one for wanted in names for one in os.environ if one.upper() == wanted), known)


def unknown_variables(environment: Mapping[str, str] = os.environ) -> list[str]:
    """Return a sentence for each variable that looks like a setting and is none, such as a misspelt one."""
    known = {_variable(name, field) for name, field in Settings.model_fields.items()} | set(_OTHERS)
    accepted = known | DEPRECATED.keys()
    sentences = []
    for name in sorted(environment):
        upper = name.upper()
        if upper in accepted or not upper.startswith(("CHECKOUT_", "SANDBOX_")) or _CLUSTERS.fullmatch(upper):
            continue
        prefix, _, rest = upper.partition("_")
        rests = [one.removeprefix(f"{prefix}_") for one in known if one.startswith(f"{prefix}_")]
        near = difflib.get_close_matches(rest, rests, n=1, cutoff=0.7)
        meant = f": is {prefix}_{near[0]} meant?" if near else "."
        sentences.append(f"{name} isn't a setting, so it changes nothing{meant}")
    return sentences


def _variable(name: str, field: FieldInfo) -> str:
    alias: Any = field.validation_alias
    return f"CHECKOUT_{name.upper()}" if alias is None else str(alias.choices[0])


def _name(place: str) -> str:
    """Return the setting of a place in an error, which may name it by its variable."""
    for name, field in Settings.model_fields.items():
        if place in (name, _variable(name, field)):
            return name
    return place


def _lines(error: ValidationError) -> Iterator[str]:
    for one in error.errors(include_input=False, include_url=False):
        words = str(one.get("ctx", {}).get("error", "")) if one["type"] == "value_error" else ""
        if not one["loc"]:
            yield from words.splitlines()
            continue
        name = _name(str(one["loc"][0]))
        shown = variable(name)
        if words:
            yield words if shown in words else f"{shown}: {words}"
        else:
            yield f"{shown} {_FAULTS.get(one['type'], 'cannot be used')}: write {_wanted(name)}."


def _wanted(name: str) -> str:
    """Return what a setting takes, with an example."""
    field = Settings.model_fields[name]
    kinds = [one for one in (get_args(field.annotation) or (field.annotation,)) if one is not type(None)]
    example = field.default
    if get_origin(field.annotation) is Literal:
        return f"one of {', '.join(kinds)}, such as {example}"
    if bool in kinds:
        return "true or false"
    if int in kinds or float in kinds:
        example = 7 if example is None else example
        return f"{'a whole number' if int in kinds else 'a number'}{_bounds(field)}, such as {example:g}"
    return f"another value, such as {example}" if isinstance(example, str) and example else "another value"


def _bounds(field: FieldInfo) -> str:
    words = []
    for bound in field.metadata:
        match bound:
            case Gt(gt=value):
                words.append(f"above {value}")
            case Ge(ge=value):
                words.append(f"of at least {value}")
            case Lt(lt=value):
                words.append(f"below {value}")
            case Le(le=value):
                words.append(f"at most {value}")
    return f" {' and '.join(words)}" if words else ""
