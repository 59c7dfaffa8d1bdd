"""The commands by their names, each imported when it is run: all of them together take two seconds to import."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup

PLAIN: Mapping[str, Any] = {
    "rich_markup_mode": None,
    "pretty_exceptions_enable": False,
    "add_completion": False,
}
"""How all of them look."""


@dataclass(frozen=True)
class Place:
    """Where a command is: a function, or an application of further commands. `words` is its line in the list of commands."""

    module: str
    name: str
    words: str
    context: Mapping[str, Any] = field(default_factory=dict)


PLACES = {
    "serve": Place(
        "serving",
        "serve",
        "Serve the API on 127.0.0.1:8000.",
        {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []},
    ),
    "migrate": Place("migrating", "migrate", "Bring DATABASE_URL's schema up to date."),
    "demo": Place("demo", "demo", "Run twenty checkouts of which three in ten steps fail."),
    "doctor": Place("doctor", "doctor", "Find what is wrong, and say what to do."),
    "sagas": Place("sagas", "app", "Show sagas and act on them, over the service's API."),
    "keys": Place("keys", "app", "Create and revoke API keys. In the database that DATABASE_URL names."),
    "retention": Place(
        "retention",
        "app",
        "Erase old checkouts, or one customer's data. In the database that DATABASE_URL names.",
    ),
    "services": Place("services", "app", "Check a payment, inventory or shipping service of your own."),
}


class CommandsWhenRun(Mapping[str, Any]):
    """Each command by its name; it is imported when it is taken out."""

    def __init__(self) -> None:
        self._imported: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._imported:
            self._imported[name] = _imported(name, PLACES[name])
        return self._imported[name]

    def __contains__(self, name: object) -> bool:
        return name in PLACES

    def __iter__(self) -> Iterator[str]:
        return iter(PLACES)

    def __len__(self) -> int:
        return len(PLACES)


class CommandLine(TyperGroup):
    """The commands as typer runs them. Their list is shown without an import."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.commands = CommandsWhenRun()  # type: ignore[assignment]  # nobody adds one

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Show the list of commands, as typer calls it."""
        unimported = typer.Typer(**PLAIN)
        for name, place in PLACES.items():
            unimported.command(name, help=place.words)(_unimported)
        _group(unimported).format_commands(ctx, formatter)


def _imported(name: str, place: Place) -> Any:
    found = getattr(import_module(f"app.cli.{place.module}"), place.name)
    parent = typer.Typer(**PLAIN)
    if isinstance(found, typer.Typer):
        parent.add_typer(found, name=name, help=place.words)
    else:
        parent.command(name, context_settings=dict(place.context))(found)
    return _group(parent).commands[name]


def _group(of: typer.Typer) -> TyperGroup:
    of.callback()(_unimported)  # else typer makes an application of one command that command
    group: TyperGroup = typer.main.get_group(of)
    return group


def _unimported() -> None: ...
