"""Immutable data at the price of other data.

A frozen dataclass sets each member by `object.__setattr__`, which makes it three times as dear to make. A saga makes
some forty; so here the type checker alone holds them to be frozen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dataclasses import dataclass as record
else:
    from collections.abc import Callable
    from dataclasses import dataclass

    def record(*, frozen: bool, **options: bool) -> Callable[[type], type]:  # noqa: ARG001 (for the checker)
        """`dataclass(frozen=True, …)` without the check at run time: nothing may set its members all the same."""
        return dataclass(unsafe_hash=True, **options)


__all__ = ["record"]
