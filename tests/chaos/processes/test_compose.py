"""docker-compose.yml, proven without an engine: its own commands as plain processes on a real PostgreSQL.

The proxy's image is the one thing that isn't run here: both replicas are asked directly. The migration, one service
and one replica are fresh processes, as in production; the others are forked (`tests/fork_server.py`).
"""

from __future__ import annotations

import re
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx2 as httpx
import yaml

from tests.docs.test_readme import README, as_curl_prints_it
from tests.processes import ROOT, Running, free_port, running

COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]
DATABASE = "postgresql://checkout:demo-only@postgres:5432/checkout"


def _command(service: str, port: int) -> list[str]:
    """Return the service's own command, on loopback and a port of the test's."""
    words = [str(word) for word in SERVICES[service]["command"]]
    words = ["127.0.0.1" if word == "0.0.0.0" else word for word in words]  # noqa: S104
    words = [str(port) if word == "8000" else word for word in words]
    return [sys.executable, *words[1:]] if words[0] == "python" else [sys.executable, "-m", *words]


def _environment(service: str, ports: dict[str, int], database: str, directory: Path) -> dict[str, str]:
    """Return the service's own environment, with the names of hosts and volumes resolved."""
    resolved = {}
    for name, value in SERVICES[service]["environment"].items():
        text = re.sub(r"\$\{\w+:-(.*?)\}", r"\1", str(value)).replace(DATABASE, database)
        text = re.sub(r"http://([\w-]+):8000", lambda m: f"http://127.0.0.1:{ports[m[1]]}", text)
        resolved[name] = text.replace("/data/", f"{directory}/{service}-")
    return resolved


def test_what_the_compose_file_starts_serves_the_readme(empty_postgres_url: str, tmp_path: Path) -> None:
    """Migration first, then the services, then two replicas, each of which completes and undoes a checkout."""
    ports = {name: free_port() for name in SERVICES}
    migration = subprocess.run(
        _command("migrate", 0),
        cwd=ROOT,
        env=_environment("migrate", ports, empty_postgres_url, tmp_path),
        capture_output=True,
        text=True,
        check=False,
    )
    assert migration.returncode == 0, migration.stderr

    with ExitStack() as stack:

        def start(service: str, ready: str) -> Running:
            return stack.enter_context(
                running(
                    _command(service, ports[service]),
                    port=ports[service],
                    env=_environment(service, ports, empty_postgres_url, tmp_path),
                    log=tmp_path / f"{service}.log",
                    ready=ready,
                    fresh=service in {"payment", "checkout-a"},
                )
            )

        services = [start(name, "/livez") for name in ("payment", "inventory", "shipping")]
        replicas = [start(name, "/readyz") for name in ("checkout-a", "checkout-b")]
        curls = re.findall(r"```bash\n(curl .*?)```", README, re.DOTALL)
        for number, (curl, replica) in enumerate(zip(curls, replicas, strict=True)):
            answer = as_curl_prints_it(curl, replica.url)
            assert answer.startswith(["HTTP/1.1 201", "HTTP/1.1 422"][number]), answer
        repeated = as_curl_prints_it(curls[0], replicas[1].url)
        assert repeated.startswith("HTTP/1.1 201"), "the other replica answers a repeat too"
        standing = [
            sum(
                any(row["effect"].values())
                for row in httpx.get(f"{s.url}/standing", trust_env=False, verify=False).json()
            )
            for s in services
        ]
        assert standing == [1, 1, 1]


def test_the_containers_are_locked_down() -> None:
    """Read-only, without capabilities, healthy before others depend on them, and reached through the proxy alone."""
    ours = {name: service for name, service in SERVICES.items() if "build" in service}
    assert set(ours) == {"migrate", "payment", "inventory", "shipping", "checkout-a", "checkout-b"}
    for service in ours.values():
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert "ports" not in service
    assert [name for name, service in SERVICES.items() if "ports" in service] == ["proxy"]
    assert SERVICES["proxy"]["ports"] == ["127.0.0.1:8000:8080"], "the demo opens on loopback alone"
    assert SERVICES["checkout-a"]["depends_on"]["migrate"] == {"condition": "service_completed_successfully"}
    dockerfile = (ROOT / "Dockerfile").read_text()
    assert "\nUSER 10001\n" in dockerfile
    assert "HEALTHCHECK" in dockerfile
