"""What is measured: each side is a program of its own, so that its processor time and memory are its own too.

    python -m tests.bench.sides.NAME --url … --clients N --seconds S --outcome completed|compensated

It prints one JSON object: `rate` (checkouts a second), `p50`, `p99` (ms), `cpu` (µs of its own a checkout),
`postgres` (µs of every PostgreSQL on the machine a checkout), `memory` (MiB at its largest).
"""
