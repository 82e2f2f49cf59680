"""The course's own room: the lab contract, run records, exercises and notebooks."""
