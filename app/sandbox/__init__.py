"""Three services that a checkout can be tried on: real ones, with books of their own, that fail on demand."""

from app.sandbox.faults import Fault, SimulationError, parse
from app.sandbox.gateway import SandboxGateway
from app.sandbox.ledger import Ledger
from app.sandbox.records import Record, Standing
from app.sandbox.sandbox import Sandbox

__all__ = ["Fault", "Ledger", "Record", "Sandbox", "SandboxGateway", "SimulationError", "Standing", "parse"]
