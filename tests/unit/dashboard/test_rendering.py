"""Templates: compiled before anybody asks for a page."""

from __future__ import annotations

from app.dashboard import rendering


def test_no_first_answer_compiles_a_template() -> None:
    environment = rendering._environment
    assert environment.cache is not None
    environment.cache.clear()
    rendering.compile_templates()
    compiled = {name for _, name in environment.cache.keys()}  # noqa: SIM118 (it iterates otherwise)
    assert compiled == set(environment.list_templates())
    assert "list.html" in compiled
