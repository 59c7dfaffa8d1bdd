"""The proof: what a run left behind, and the invariants that it is held against."""
