"""Crash at every boundary: the product is stopped at each call that it makes through a port, and must end well."""
