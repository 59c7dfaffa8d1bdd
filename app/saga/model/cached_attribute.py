"""A property that is worked out at most once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class once(Generic[T]):  # noqa: N801 (used as `property` is)
    """`functools.cached_property` without the lock that it has before Python 3.12.

    The lock costs more than most of what is kept so. The owner needs a `__dict__`, as there the value is kept; an
    error is raised and not kept.
    """

    def __init__(self, make: Callable[[Any], T]) -> None:
        self._make = make
        self.__doc__ = make.__doc__

    def __get__(self, owner: Any, _kind: type) -> T:
        made = self._make(owner)
        owner.__dict__[self._make.__name__] = made
        return made
