# A hub in a container. Not built where it was written, for want of a container engine: try it before you rely on it.
#
#   docker build -t ssb-rtc-hub .
#   docker run -p 8000:8000 --ulimit nofile=65536:65536 --stop-timeout 30 ssb-rtc-hub --trusted-proxy 172.17.0.1
FROM python:3.12-slim

WORKDIR /opt/ssb-rtc
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY docs/man ./docs/man
COPY src ./src
RUN pip install --no-cache-dir -c constraints.txt '.[hub,redis]' \
    && useradd --system --no-create-home hub
USER hub

EXPOSE 8000
# It drains: 10 s for the streams and 10 s for the last answers at most, which is more than the 10 s that engines wait.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=5s CMD \
    ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/healthz', timeout=4)"]
ENTRYPOINT ["ssb-rtc", "hub", "serve", "--host", "0.0.0.0", "--port", "8000", "--log", "json"]
