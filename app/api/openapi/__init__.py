"""The API's description: `python -m app.api.openapi.__main__ > docs/openapi.json`."""
