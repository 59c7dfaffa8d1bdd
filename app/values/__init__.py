"""What single values mean: money, times, card numbers, JSON. Imports the standard library alone."""
