# One image, three services: `broker` (the default), `scale-t run …`, `sim`. See docs/containers.md.
FROM python:3.11-slim AS build
WORKDIR /build
RUN python -m venv /opt/tickerbus
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY main ./main
RUN /opt/tickerbus/bin/pip install --no-cache-dir --disable-pip-version-check -c constraints.txt .

FROM python:3.11-slim
RUN useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin tickerbus \
 && install -d -o tickerbus -g tickerbus -m 700 /var/lib/tickerbus
COPY --from=build /opt/tickerbus /opt/tickerbus
ENV PATH=/opt/tickerbus/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
USER tickerbus
WORKDIR /tmp
# Asks the broker's heartbeat over Redis: a broker that hangs is unhealthy, not only one that ended.
HEALTHCHECK --interval=10s --timeout=8s --start-period=30s --retries=3 \
    CMD ["tickerbus", "status"]
ENTRYPOINT ["tickerbus"]
CMD ["broker"]
