# Two images of one checkout: `web` collects votes and is small, `ml` trains, scores and generates.

FROM python:3.11-slim AS web

ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HPS_SITE_HOME=/data \
    STATIC_ROOT=/app/collected

RUN groupadd --gid 10001 hps \
    && useradd --uid 10001 --gid hps --home-dir /data --no-create-home --shell /usr/sbin/nologin hps \
    && install --directory --owner hps --group hps --mode 0750 /data \
    && python -m venv /opt/venv

WORKDIR /app
COPY . .
RUN pip install --no-cache-dir -c requirements.lock -e '.[s3]' \
    # The key signs nothing here.
    && SECRET_KEY=while-building python manage.py collectstatic --no-input

USER hps
VOLUME /data
EXPOSE 8000
HEALTHCHECK --interval=15s --timeout=5s --start-period=30s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/healthz', timeout=4)"]
CMD ["python", "-m", "gunicorn", "hps_site.wsgi", "--bind", "0.0.0.0:8000", "--workers", "4", "--worker-class", "gthread", \
     "--threads", "8", "--keep-alive", "75", "--no-control-socket", "--access-logfile", "-"]


FROM web AS ml

USER root
# Linux gets the CUDA build of torch (about 7 GB). For CPUs alone, name the index of torch's CPU builds, which pip reads
# from the environment: --build-arg PIP_EXTRA_INDEX_URL=...
ARG PIP_EXTRA_INDEX_URL
RUN pip install --no-cache-dir -c requirements.lock -e '.[ml,s3]'
USER hps
# A worker has no port; compose asks it by name.
HEALTHCHECK NONE
CMD ["celery", "--app", "hps_site", "worker", "--queues", "gpu", "--concurrency", "1", "--max-tasks-per-child", "1"]
