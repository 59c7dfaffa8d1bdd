"""What the groups of settings share: how they are read, and how they are checked together."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Annotated, Self

from pydantic import AliasChoices, Field, model_validator
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from app.settings.deprecated import DEPRECATED

Seconds = Annotated[float, Field(gt=0, le=86_400, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1, le=1_000_000)]
Days = Annotated[int, Field(ge=0, le=36_500)]


def named(name: str) -> AliasChoices:
    """Return the alias of a setting whose variable doesn't begin with `CHECKOUT_`."""
    return AliasChoices(name)


class _Environment(EnvSettingsSource):
    """The environment's variables, without the blanks and line ends around a value.

    An empty variable counts as not set: compose files and charts pass them on. A deprecated name stands in for the
    new one where that is not set.
    """

    def _load_env_vars(self) -> Mapping[str, str | None]:
        found = {name.lower(): value.strip() for name, value in os.environ.items() if value and value.strip()}
        for old, new in DEPRECATED.items():
            if old.lower() in found:
                found.setdefault(new.lower(), found[old.lower()])
        return dict(found)


class SettingsGroup(BaseSettings):
    """Settings of one owner. Each is an environment variable: `CHECKOUT_` and its name, unless it has an alias."""

    model_config = SettingsConfigDict(
        env_prefix="CHECKOUT_", frozen=True, extra="ignore", validate_by_name=True, hide_input_in_errors=True
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read what the caller gives, then the environment; no file."""
        del env_settings, dotenv_settings, file_secret_settings
        return init_settings, _Environment(settings_cls)

    def faults(self) -> Iterator[str]:
        """Yield a sentence for each set of settings that don't fit together. A group calls its `super` too."""
        yield from ()

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if found := list(self.faults()):
            raise ValueError("\n".join(found))
        return self
