"""The page in a real Chromium: its tests, and the screenshots of docs/screenshots. `make page` runs both."""
