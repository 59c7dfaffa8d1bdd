"""Speed: `make bench`. Never part of a test."""
