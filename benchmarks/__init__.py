"""Five energy meters on the same known load: ``python -m benchmarks``."""
