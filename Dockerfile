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
COPY pyproject.toml hatch_build.py constraints.txt README.md LICENSE ./
COPY instrumentation instrumentation
COPY bridge bridge
COPY api api
COPY docs/definitions.md docs/definitions.md
COPY --from=web /src/api/tailtrace_api/static api/tailtrace_api/static
# No pip beside it; of babel's 900 languages those that reports are written in; no bytecode of what is read once, or never.
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /dist . \
    && python -m venv --without-pip /opt/tailtrace \
    && pip --python /opt/tailtrace/bin/python install --no-cache-dir --no-compile --constraint constraints.txt \
        "$(echo /dist/tailtrace-*.whl)[server]" \
    && find /opt/tailtrace -path '*/babel/locale-data/*' ! -name root.dat ! -name 'en*' ! -name 'es*' -delete \
    && find /opt/tailtrace -name '_cffi.*.so' -path '*/zstandard/*' -delete \
    && /opt/tailtrace/bin/python -m compileall -q -x '/(apprise/plugins|influxdb_client/(domain|service)|pygments)/' /opt/tailtrace

FROM build AS build-pdf
RUN pip --python /opt/tailtrace/bin/python install --no-cache-dir --no-compile --constraint constraints.txt \
        "$(echo /dist/tailtrace-*.whl)[server,pdf]" \
    && find /opt/tailtrace -path '*/pyphen/dictionaries/*' ! -name 'hyph_en*' ! -name 'hyph_es*' -delete

FROM python:3.13-slim-trixie AS base
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

# With what the monthly report needs to be a PDF: its libraries, and fonts for names of any script; 120 MB more.
FROM base AS pdf
USER 0:0
# One weight of each script, without serifs; bold too for Latin, Greek and Cyrillic letters.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends fontconfig libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz-subset0 \
        fonts-noto-core fonts-noto-cjk fonts-noto-color-emoji \
    && find /usr/share/fonts -type f -name 'Noto*' ! -name 'NotoColorEmoji*' ! -name 'NotoSans*-Regular.*' \
        ! -name 'NotoSans-Bold.*' -delete \
    && fc-cache && apt-get clean && rm -rf /var/lib/apt/lists/* /usr/share/doc
COPY --from=build-pdf /opt/tailtrace /opt/tailtrace
USER 10002:10002

# The last is what `docker build` makes unless told `--target pdf`.
FROM base AS plain
COPY --from=build /opt/tailtrace /opt/tailtrace
