"""How the pressure of a pool's cgroup is shown. Pure."""

from __future__ import annotations


def show_pressure(hundredths: int | None) -> int | None:
    """Round hundredths of a percent to percent, half of one up."""
    return None if hundredths is None else (hundredths + 50) // 100


def measure_pressure(hundredths: int | None) -> float | None:
    """Turn hundredths of a percent into a number from 0 to 1."""
    return None if hundredths is None else hundredths / 10_000
