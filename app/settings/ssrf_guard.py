"""The guard against server-side request forgery (SSRF): webhooks are sent to public addresses only.

A receiver's URL must not reach what only this machine or its network can: loopback, private and link-local
networks, a cloud's metadata. IPv6 has several ways to write an IPv4 address; the address inside decides.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address

_NAT64 = IPv6Network("64:ff9b::/96")
_COMPATIBLE = IPv6Network("::/96")
_CLOSED = tuple(map(ip_network, ("168.63.129.16/32", "192.0.0.0/24", "100.64.0.0/10", "64:ff9b:1::/48")))
"""Clouds keep services for their machines here (the first is Azure's); not every Python knows them as private."""


def is_address(host: str) -> bool:
    """Whether a URL's host is an IP address, and not a name."""
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def is_public_address(address: str) -> bool:
    """Whether it is an address of the public internet; False for anything that isn't an address."""
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    return all(
        one.is_global
        and not one.is_multicast
        and not one.is_reserved
        and not any(one in network for network in _CLOSED)
        for one in _within(found)
    )


def _within(address: Address) -> list[Address]:
    """Return the address, or the IPv4 address that an IPv6 one maps to."""
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
