"""Measurements, one file a subject: `python -m benchmarks NAME [--json PATH] [--quick]`."""
