# The app, with pretrained networks and all exports: docker compose up --build
FROM python:3.11-slim-bookworm

# Compiled once, for the user that runs it; Numba, Keras and Matplotlib keep theirs with the jobs.
ENV PYTHONUNBUFFERED=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    HOME=/data/home \
    NUMBA_CACHE_DIR=/data/cache/numba \
    MPLCONFIGDIR=/data/cache/matplotlib

WORKDIR /srv/knn-slicing
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY slicing slicing
COPY evolve evolve
COPY experiments experiments
COPY conf conf
RUN pip install --constraint constraints.txt --editable '.[app,inspect,onnx,litert,pretrained,postgres]' \
    && useradd --uid 10001 --no-create-home app \
    && mkdir -p /data/home /data/cache /data/app \
    && chown -R app /data

USER 10001
VOLUME /data
EXPOSE 8080
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8080/api/health', timeout=4)"]
CMD ["python", "-m", "experiments.app", "host=0.0.0.0", "port=8080", "folder=/data/app"]
