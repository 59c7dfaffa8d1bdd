"""The bundled saga: a checkout."""
