"""A pool's checked configuration as JSON, for the next program of an upgrade, and back. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields, is_dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any

from fpm.config.addresses import parse_address
from fpm.config.model import AbstractAddress, Identity, PoolConfig, ReloadCheck, TcpAddress, UnixAddress
from fpm.frozen import known_fields


def pack_pool(config: PoolConfig) -> dict[str, Any]:
    """Make the values of JSON, by the names of the fields."""
    return {field.name: _pack(getattr(config, field.name)) for field in fields(config)}


def unpack_pool(values: Mapping[str, Any], base: PoolConfig) -> PoolConfig:
    """Make the configuration again.

    Args:
        base: has the values of fields that the packing program did not know; what this one does not know is ignored.

    Raises:
        ValueError, KeyError, TypeError: a value is none that `pack_pool` makes.
    """
    read = {
        field.name: _unpack(values[field.name]) if field.name in values else getattr(base, field.name)
        for field in fields(PoolConfig)
    }
    return PoolConfig(**read)


def _pack(value: Any) -> Any:
    if isinstance(value, UnixAddress | AbstractAddress | TcpAddress):
        return {"address": str(value)}
    if isinstance(value, IPv4Network | IPv6Network):
        return {"network": str(value)}
    if isinstance(value, tuple):
        return [_pack(one) for one in value]
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else value


def _unpack(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(_unpack(one) for one in value)
    if not isinstance(value, dict):
        return value
    if "network" in value:
        return ip_network(value["network"])
    if "address" in value:
        return parse_address(value["address"])
    kind = Identity if "uid" in value else ReloadCheck
    return kind(**{name: _unpack(one) for name, one in known_fields(kind, value).items()})
