"""The groups of settings, one module for each owner."""
