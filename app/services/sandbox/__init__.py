"""Three services that a checkout can be tried on: real ones, with books of their own, that fail on demand."""

from app.services.sandbox.faults import Fault, SimulationError, parse
from app.services.sandbox.gateway import SandboxGateway
from app.services.sandbox.ledger import Ledger
from app.services.sandbox.records import Record, Standing
from app.services.sandbox.sandbox import Sandbox

__all__ = ["Fault", "Ledger", "Record", "Sandbox", "SandboxGateway", "SimulationError", "Standing", "parse"]
