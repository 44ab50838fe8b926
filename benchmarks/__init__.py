"""Measurements by name: `python -m benchmarks list`, `NAME [--json PATH] [--quick]`, `report`."""
