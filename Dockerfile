# One image for development, tests (target: test), staging and production.

# The registry of the base image, with a slash at the end; empty means Docker Hub
ARG BASES=""

FROM ${BASES}python:3.13-slim-trixie AS packages
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
# hadolint ignore=DL3008  # build tools are not shipped, so any version will do
RUN apt-get update && apt-get install -y --no-install-recommends binutils make tini && rm -rf /var/lib/apt/lists/*
RUN python -m venv --without-pip /opt/venv
COPY requirements/main.txt /requirements.txt
RUN --mount=type=cache,target=/root/.cache/pip \
    pip --python /opt/venv/bin/python install --require-hashes --only-binary=:all: -r /requirements.txt
# Debugging symbols and the packages' own tests are a tenth of the size
RUN find /opt/venv -name '*.so*' -exec strip --strip-unneeded {} + \
    && find /opt/venv -path '*/site-packages/*' -type d \( -name tests -o -name testing \) -prune -exec rm -rf {} +

FROM packages AS test
# hadolint ignore=DL3008  # some tests need these, in any version
RUN apt-get update && apt-get install -y --no-install-recommends git && rm -rf /var/lib/apt/lists/*
COPY requirements/build.txt requirements/dev.txt /
RUN --mount=type=cache,target=/root/.cache/pip \
    pip --python /opt/venv/bin/python install --require-hashes -r /build.txt \
    && pip --python /opt/venv/bin/python install --require-hashes --no-build-isolation --use-pep517 -r /dev.txt
ENV PATH=/opt/venv/bin:$PATH
WORKDIR /app
COPY . .
CMD ["python", "-m", "pytest", "-n", "auto", "-m", "not docker and not faults and not browser"]

FROM ${BASES}python:3.13-slim-trixie
ARG APP_VERSION=dev
LABEL org.opencontainers.image.title="birthday-greetings" \
      org.opencontainers.image.description="Saves dates of birth and greets people with the days until their birthday" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="$APP_VERSION"
# pip is not needed, because nothing is installed at run time
RUN rm -rf /usr/local/bin/pip* /usr/local/lib/python3.13/site-packages/pip* /usr/local/lib/python3.13/ensurepip \
    && useradd --system --uid 10001 --no-create-home app
COPY --from=packages /opt/venv /opt/venv
COPY --from=packages /usr/bin/tini /usr/bin/tini
WORKDIR /app
# Whatever the builder's umask was, the user below must be able to read it
COPY --chmod=755 web web
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    FLASK_APP=web \
    HOST=0.0.0.0 \
    APP_VERSION=$APP_VERSION
USER 10001
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --start-interval=1s \
    CMD ["python", "-Sc", "import http.client as h, os; c = h.HTTPConnection('127.0.0.1', int(os.environ.get('PORT') or 8000), 4); c.request('GET', '/livez'); raise SystemExit(c.getresponse().status != 200)"]
# The first process of a container ignores SIGTERM until it installs a handler, which takes Python
# most of a second; tini has one immediately. -s: also where it is not the first (docker run --init)
ENTRYPOINT ["tini", "-s", "--"]
CMD ["python", "-m", "web"]
