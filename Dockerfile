# One image for every part of Truepenny: `docker run IMAGE api`, or money, scans, beat, flower,
# migrations. The final stage has no compiler, no package cache and no secret. It runs as an
# ordinary user on a read-only root file system, and writes only to $DATA_DIR/run.

ARG BASE=python:3.11-slim-bookworm
# With a base that has a C compiler and the same Python, the image gets gunicorn's C parser.
ARG BUILD_BASE=${BASE}

FROM ${BUILD_BASE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/truepenny
COPY requirements-app.txt requirements-fast.txt /tmp/
# Bytecode is compiled here, since the running image is read-only. Unchecked: Python does not
# compare it with the sources.
ENV COMPILE="/opt/truepenny/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash"
RUN /opt/truepenny/bin/pip install --quiet --no-compile --require-hashes --only-binary=:all: \
        --requirement /tmp/requirements-app.txt \
    && if command -v cc >/dev/null; then \
        /opt/truepenny/bin/pip install --quiet --no-compile --require-hashes \
            --no-build-isolation --requirement /tmp/requirements-fast.txt; \
    fi \
    && /opt/truepenny/bin/pip uninstall --quiet --yes pip setuptools \
    && $COMPILE /opt/truepenny/lib
COPY . /srv/truepenny
RUN chmod -R u=rwX,go=rX /srv/truepenny && $COMPILE /srv/truepenny

FROM ${BASE}
LABEL org.opencontainers.image.title="Truepenny" \
      org.opencontainers.image.description="A transfer engine that never loses a penny" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="1.0.0"
# The user number owns the mounted volumes, so it must stay the same from image to image.
RUN groupadd --gid 64738 truepenny \
    && useradd --uid 64738 --gid 64738 --no-create-home --home-dir /nonexistent \
        --shell /usr/sbin/nologin truepenny \
    && install --directory --owner 64738 --group 64738 --mode 0700 \
        /var/lib/truepenny /var/lib/truepenny/run /var/lib/truepenny/flower
COPY --from=build /opt/truepenny /opt/truepenny
COPY --from=build /srv/truepenny /srv/truepenny
ENV PATH=/opt/truepenny/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    DATA_DIR=/var/lib/truepenny \
    HOST=0.0.0.0
WORKDIR /srv/truepenny
USER 64738:64738
EXPOSE 8000 5555
STOPSIGNAL SIGTERM
ENTRYPOINT ["python", "-m", "runtime.entrypoint"]
CMD ["api"]
