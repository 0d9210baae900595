"""The demonstration: real training jobs, the same arrivals under three strategies, one table."""
