"""What a proxy in front changes: where a request comes from, and under which path clients reach the service."""
