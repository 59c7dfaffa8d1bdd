"""Which addresses may be asked from here: the public ones, however an address is written.

A receiver's URL must not reach what only this machine or its network can: loopback, private and link-local
networks, a cloud's metadata. IPv6 has ways to write an IPv4 address; what is inside is what counts.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

Address = IPv4Address | IPv6Address

_NAT64 = IPv6Network("64:ff9b::/96")
_COMPATIBLE = IPv6Network("::/96")
_CLOUDS_OWN = frozenset({ip_address("168.63.129.16")})
"""Public by number, yet a cloud's own service for its machines (Azure's)."""


def is_public(address: str) -> bool:
    """Whether it is an address of the public internet; what isn't an address is not."""
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    return all(
        one.is_global and not one.is_multicast and not one.is_reserved and one not in _CLOUDS_OWN
        for one in _within(found)
    )


def _within(address: Address) -> list[Address]:
    """Return the address or, of one that stands for an IPv4 address, that one."""
    if isinstance(address, IPv4Address):
        return [address]
    if address.ipv4_mapped is not None:
        return [address.ipv4_mapped]
    if address.sixtofour is not None:
        return [address.sixtofour]
    if address in _NAT64 or (address in _COMPATIBLE and int(address) > 1):
        return [IPv4Address(int(address) & 0xFFFFFFFF)]
    if address.teredo is not None:
        return [address, *address.teredo]
    return [address]
