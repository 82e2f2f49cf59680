"""What authors of the course use: notebooks, records, coverage, calculators, the first result."""
