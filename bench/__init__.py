"""Benchmarks: `python -m bench NAME`. They measure and never judge: no timed assertion anywhere."""
