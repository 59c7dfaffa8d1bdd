"""What the outside sees of a saga beside the API: logs, metrics and traces listen to its events."""
