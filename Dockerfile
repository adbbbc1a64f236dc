FROM python:3.13-slim AS packages

COPY requirements-runtime.lock /tmp/requirements.lock
RUN python -m venv /opt/indostar \
    && /opt/indostar/bin/pip install --no-cache-dir --require-hashes --requirement /tmp/requirements.lock


FROM python:3.13-slim

RUN useradd --system --uid 10001 --no-create-home indostar
COPY --from=packages /opt/indostar /opt/indostar
WORKDIR /srv/indostar
# .dockerignore leaves out .env, tests and whatever else an image has no use for.
COPY . .
RUN printf '#!/bin/sh\nexec python -m app "$@"\n' > /usr/local/bin/indostar \
    && chmod 755 /usr/local/bin/indostar \
    && python -m compileall -q /srv/indostar

# PYTHONPATH: `indostar` and `arq` work from any folder of the container.
ENV PATH=/opt/indostar/bin:$PATH \
    PYTHONPATH=/srv/indostar \
    PYTHONUNBUFFERED=1 \
    ENVIRONMENT=production
USER 10001
CMD ["arq", "worker.WorkerSettings"]
