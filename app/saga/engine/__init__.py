"""What runs sagas: the orchestrator, the runner, recovery and the lease."""
