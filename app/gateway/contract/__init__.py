"""What a payment, an inventory and a shipping service must offer: `services.yaml`, and the suite that checks it.

`SERVICES_YAML` is the contract's text, OpenAPI 3.1. `check` runs every case against a service over HTTP;
`checkout services check URL` prints what it finds.
"""

from pathlib import Path

from app.gateway.contract.cases import CASES, Case
from app.gateway.contract.suite import Finding, Grade, Report, Sample, check, offered

SERVICES_YAML = Path(__file__).with_name("services.yaml").read_text(encoding="utf-8")

__all__ = ["CASES", "SERVICES_YAML", "Case", "Finding", "Grade", "Report", "Sample", "check", "offered"]
