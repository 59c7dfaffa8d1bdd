"""What can go wrong, as problem details (RFC 9457): the catalogue, and how errors become answers."""
