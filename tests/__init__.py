"""The specification: what the service promises, as tests."""
