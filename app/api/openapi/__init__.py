"""The API's description: `python -m app.api.openapi > docs/openapi.json`."""
