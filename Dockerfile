# Eigenserve: `serving` answers over HTTP and has neither torch nor a compiler; `training` adds what fitting needs.
#   docker build --target serving -t eigenserve .
ARG PYTHON=python:3.11-slim

FROM ${PYTHON} AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 NUMBA_CACHE_DIR=/opt/kernels
RUN python -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH
# The dependencies alone first: a change of the code does not install them again.
WORKDIR /empty
COPY pyproject.toml README.md LICENSE ./
RUN mkdir app model training && touch app/__init__.py model/__init__.py training/__init__.py \
    && pip install . && pip uninstall -y eigenserve
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY model model
COPY app app
COPY training training
RUN pip install --no-deps . && pip uninstall -y pip setuptools
# Kernels are compiled here, so that a container answers seconds after its start.
WORKDIR /
RUN python -c "from model.eigensolvers import warm_up; warm_up()" && python -m app.warm_kernels

FROM ${PYTHON} AS base
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin eigenserve \
    && mkdir /models && chown 10001:10001 /models
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    NUMBA_CACHE_DIR=/opt/kernels EIGENSERVE_STORE=/models EIGENSERVE_HOST=0.0.0.0
WORKDIR /
VOLUME /models

FROM build AS build-training
ENV PIP_NO_CACHE_DIR=1
# A package index with the CPU build of torch, a tenth of the size of the one with CUDA, if you name one.
ARG TORCH_INDEX=
RUN python -m ensurepip --upgrade >/dev/null \
    && python -m pip install ${TORCH_INDEX:+--extra-index-url ${TORCH_INDEX}} "torch==2.13.0" \
    && cd /src && python -m pip install ".[train]"

FROM base AS training
COPY --from=build-training --chown=10001:10001 /opt/kernels /opt/kernels
COPY --from=build-training /opt/venv /opt/venv
COPY examples/data /data
USER 10001
ENTRYPOINT ["python", "-m", "training"]
CMD ["--help"]

FROM base AS serving
COPY --from=build --chown=10001:10001 /opt/kernels /opt/kernels
COPY --from=build /opt/venv /opt/venv
USER 10001
EXPOSE 8000
HEALTHCHECK --interval=5s --timeout=3s --start-period=60s --start-interval=1s --retries=3 \
    CMD ["python", "-S", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/readyz', timeout=2)"]
ENTRYPOINT ["python", "-m", "app"]
CMD ["serve"]
