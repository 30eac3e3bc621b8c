# The bot on a slim Python. The root may be read-only; the state, and in config/ the configuration, are in /data:
#
#     docker build -t ryze-pin-bot .
#     docker run --read-only --env-file .env -v ryze-pin-bot:/data -v "$PWD/config:/data/config:ro" ryze-pin-bot

FROM python:3.13-slim AS build
COPY requirements.txt /
RUN python -m venv --without-pip /venv \
    && python -m pip --python /venv/bin/python install --no-cache-dir --no-deps --require-hashes -r /requirements.txt \
    && python -m pip --python /venv/bin/python check
COPY bot /app/bot
RUN python -m compileall -q /app && chmod -R a+rX /app

FROM python:3.13-slim
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /data --shell /usr/sbin/nologin bot \
    && install -d -o bot -g bot /data
COPY --from=build /venv /venv
COPY --from=build /app /app
# The working folder is /data, which the bot can write to: PYTHONSAFEPATH keeps Python from importing what lies there.
ENV PATH=/venv/bin:$PATH PYTHONPATH=/app PYTHONSAFEPATH=1 PYTHONDONTWRITEBYTECODE=1
USER 10001
WORKDIR /data
VOLUME /data
ENTRYPOINT ["python", "-m", "bot"]
CMD ["run"]
HEALTHCHECK --interval=60s --timeout=10s --start-period=60s CMD ["python", "-m", "bot", "health"]
