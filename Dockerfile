# One image for development, tests (target: test), staging and production.

# The registry of the base image, with a slash at the end; empty means Docker Hub
ARG BASES=""

FROM ${BASES}python:3.13-slim-trixie AS packages
# hadolint ignore=DL3008  # build tools are not shipped, so any version will do
RUN apt-get update && apt-get install -y --no-install-recommends binutils tini && rm -rf /var/lib/apt/lists/*
WORKDIR /app
COPY tools/install.py tools/
COPY requirements/build.txt requirements/main.txt requirements/uv.txt requirements/
RUN --mount=type=cache,target=/root/.cache python tools/install.py /opt/venv requirements/main.txt
# Debugging symbols and the packages' own tests are 9 of 66 MB (27 November 2026, `du -s` before and after).
# Compiled, because at run time nothing can be written
RUN find /opt/venv -name '*.so*' -exec strip --strip-unneeded {} + \
    && find /opt/venv -path '*/site-packages/*' -type d \( -name tests -o -name testing \) -prune -exec rm -rf {} + \
    && python -m compileall -q -j 0 /opt/venv

FROM packages AS test
# hadolint ignore=DL3008  # some tests need these, in any version
RUN apt-get update && apt-get install -y --no-install-recommends git make && rm -rf /var/lib/apt/lists/*
COPY requirements/dev.txt requirements/
RUN --mount=type=cache,target=/root/.cache python tools/install.py /opt/venv requirements/dev.txt
ENV PATH=/opt/venv/bin:$PATH
COPY . .
CMD ["python", "-m", "pytest", "-n", "auto"]

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
# The base image has no bytecode (github.com/docker-library/python deletes it), and a running container cannot write any,
# so without this each start would compile all modules again: it would take 2.8 s instead of 1.3 until a container is
# healthy, and 1.9 s of CPU instead of 1.0 (28 November 2026). A version that cannot be imported fails here
RUN /opt/venv/bin/python -c "import web.__main__, flask_migrate.cli" && /opt/venv/bin/python -m compileall -q web
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
# The first process of a container ignores SIGTERM until it installs a handler, which Python does only
# after its imports; tini has one immediately. -s: also where it is not the first (docker run --init)
ENTRYPOINT ["tini", "-s", "--"]
CMD ["python", "-m", "web"]
