"""An attribute that is computed at its first use and then stored."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class cached_attribute(Generic[T]):  # noqa: N801 (used as `property` is)
    """`functools.cached_property` without the lock that it has before Python 3.12, which doubles its cost.

    The owner needs a `__dict__`, which stores the value. An error is raised, and not stored.
    """

    def __init__(self, compute: Callable[[Any], T]) -> None:
        self._compute = compute
        self.__doc__ = compute.__doc__

    def __get__(self, owner: Any, _kind: type) -> T:
        value = self._compute(owner)
        owner.__dict__[self._compute.__name__] = value
        return value
