# tailtrace in a container: `tailtrace serve`, or `bridge` and `api`, as docker-compose.yml starts them.
# Several stages, so that neither npm and pip nor the sources are in the image. It runs as user 10002, which owns
# /var/lib/tailtrace and nothing else. docs/deployment.md has it run by itself: "One container".
FROM node:24.11-slim AS web
WORKDIR /src/api/web
COPY api/web ./
COPY bridge/tailtrace_bridge/texts /src/bridge/tailtrace_bridge/texts
RUN npm ci --ignore-scripts --no-audit --no-fund && node build.mjs

FROM python:3.13-slim-trixie AS build
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY instrumentation instrumentation
COPY bridge bridge
COPY api api
COPY docs/definitions.md docs/definitions.md
COPY --from=web /src/api/tailtrace_api/static api/tailtrace_api/static
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /dist . \
    && python -m venv /opt/tailtrace \
    && wheel="$(echo /dist/tailtrace-*.whl)" \
    && /opt/tailtrace/bin/pip install --no-cache-dir --constraint constraints.txt "${wheel}[server,pdf]"

FROM python:3.13-slim-trixie AS plain
COPY --from=build /opt/tailtrace /opt/tailtrace
# A read-only container cannot keep bytecode, and what it prints should be seen at once.
ENV PATH=/opt/tailtrace/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
# `serve` keeps its store in the folder that it starts in; a new volume that is mounted there takes over its owner.
WORKDIR /var/lib/tailtrace
RUN chown 10002:10002 /var/lib/tailtrace
VOLUME /var/lib/tailtrace
USER 10002:10002
# Where it listens: TAILTRACE_LISTEN, and on loopback where that is every address.
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s \
    CMD ["python", "-c", "import os, urllib.request as r; host, _, port = os.environ.get('TAILTRACE_LISTEN', '127.0.0.1:8470').rpartition(':'); r.urlopen(f\"http://{ {'0.0.0.0': '127.0.0.1', '[::]': '[::1]'}.get(host, host) }:{port}/health\", timeout=4)"]
ENTRYPOINT ["tailtrace"]
CMD ["serve"]

# With what the monthly report needs to be a PDF: its libraries, and fonts for names of any script; 150 MB more.
FROM plain AS pdf
USER 0:0
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends fontconfig libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz-subset0 \
        fonts-noto-core fonts-noto-cjk fonts-noto-color-emoji \
    && rm -rf /var/lib/apt/lists/*
USER 10002:10002

# The last is what `docker build` makes unless told `--target pdf`.
FROM plain
