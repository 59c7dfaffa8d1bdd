"""What the engine needs from outside: the saga log, queries and clocks. `memory_log` is a log in memory."""
