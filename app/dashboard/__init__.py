"""The page for operators: what stands how, why, and what can be done about it. It works without JavaScript."""
