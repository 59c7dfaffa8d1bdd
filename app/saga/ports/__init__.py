"""What the engine needs from outside: the saga log, queries and clocks. `memory_log` keeps them in memory."""
