"""The saga's rules, as pure functions: what an event changes, what is due next, which event an answer makes."""
