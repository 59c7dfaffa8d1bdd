"""Three services to try a checkout on: they keep real records and fail on demand."""

from app.sandbox.faults import Fault, SimulationError, parse
from app.sandbox.gateway import SandboxGateway
from app.sandbox.ledger import Ledger
from app.sandbox.records import Record, ReferenceState
from app.sandbox.sandbox import Sandbox

__all__ = [
    "Fault",
    "Ledger",
    "Record",
    "ReferenceState",
    "Sandbox",
    "SandboxGateway",
    "SimulationError",
    "parse",
]
