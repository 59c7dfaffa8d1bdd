# The checkout service, and the sandbox's three services: one image, several commands.
FROM python:3.13-slim AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
COPY requirements-image.lock /
RUN python -m venv /venv && /venv/bin/pip install --require-hashes -r /requirements-image.lock

FROM python:3.13-slim
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    DATABASE_URL=sqlite:////data/checkout.db SANDBOX_DATABASE=/data/sandbox.db
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin checkout \
    && install --directory --owner checkout --group checkout /data \
    && printf '#!/bin/sh\ncd /srv && exec python -m app "$@"\n' > /usr/local/bin/checkout \
    && chmod +x /usr/local/bin/checkout
COPY --from=build /venv /venv
WORKDIR /srv
COPY alembic.ini ./
COPY alembic alembic
COPY app app
ARG VERSION=
ENV CHECKOUT_VERSION=$VERSION
USER 10001
VOLUME /data
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s --timeout=3s --start-period=10s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request; urllib.request.urlopen('http://127.0.0.1:' + os.environ.get('PORT', '8000') + os.environ.get('HEALTH_PATH', '/readyz'), timeout=2)"]
CMD ["python", "-m", "app", "serve", "--host", "0.0.0.0", "--port", "8000"]
