"""One request header each: how it is read, when it is refused, and what the answer carries of it."""
