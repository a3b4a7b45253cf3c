# Eigenserve's images.
#   docker build -t eigenserve .                     serve: answers over HTTP; neither torch nor a compiler in it
#   docker build --target fit -t eigenserve-fit .    fit: also trains models
#   docker build --target train --build-arg TORCH_INDEX=... .    train: fit and PyTorch's build for CPUs
#   docker build --target cuda -t eigenserve-cuda .  cuda: fit, serve, and PyTorch and Triton for NVIDIA GPUs
#   docker build --target sbom --output build .      build/sbom.cdx.json: what the serving image contains (CycloneDX)
# All dependencies are pinned and hashed in requirements/; `make lock` renews them.
ARG PYTHON=python:3.11-slim

# The project as one wheel.
FROM ${PYTHON} AS wheel
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
COPY requirements/build.txt requirements/
RUN pip install --require-hashes --only-binary :all: -r requirements/build.txt
COPY pyproject.toml README.md LICENSE ./
COPY src src
COPY model model
COPY app app
COPY training training
RUN pip wheel --no-deps --no-build-isolation --wheel-dir /wheels .

# An environment: the dependencies first, so that a change of the code does not install them again.
FROM ${PYTHON} AS venv
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_REQUIRE_VIRTUALENV=1 PATH=/opt/venv/bin:$PATH
RUN python -m venv /opt/venv
WORKDIR /build
COPY requirements requirements

FROM venv AS serve-venv
RUN apt-get update && apt-get install -y --no-install-recommends binutils
RUN pip install --require-hashes --only-binary :all: -r requirements/serve.txt
COPY --from=wheel /wheels /wheels
RUN pip install --no-deps --no-index /wheels/*.whl && pip uninstall -qy pip setuptools \
    && find /opt/venv/lib -type d -name tests -prune -exec rm -rf {} + \
    && find /opt/venv/lib -path '*/botocore/data/*' -prune -type d ! -name s3 ! -name 'sso*' ! -name sts ! -name signin \
      -exec rm -rf {} + \
    && find /opt/venv/lib -type f \( -name '*.a' -o -name '*.pyi' -o -name '*.pxd' -o -name '*.pyx' -o -name '*.h' \) -delete \
    && find /opt/venv/lib -name 'libllvmlite*.so' -exec strip --strip-unneeded {} +

# Kernels for every CPU level, compiled without being run: neither this machine nor the one that serves matters.
FROM serve-venv AS kernels
WORKDIR /
RUN case "$(uname -m)" in x86_64) levels="x86-64-v2 x86-64-v3 x86-64-v4" ;; *) levels=generic ;; esac \
    && python -m eigenserve kernels /opt/kernels $levels && chmod -R a+rX /opt/kernels

FROM serve-venv AS sbom-maker
RUN python -m venv --clear /opt/sbom && /opt/sbom/bin/python -m pip install -q --require-hashes --only-binary :all: \
      -r requirements/sbom.txt \
    && /opt/sbom/bin/cyclonedx-py environment --output-reproducible --output-format JSON \
      --output-file /sbom.cdx.json /opt/venv/bin/python

FROM scratch AS sbom
COPY --from=sbom-maker /sbom.cdx.json /

FROM venv AS fit-venv
RUN pip install --require-hashes --only-binary :all: -r requirements/fit.txt
COPY --from=wheel /wheels /wheels
RUN pip install --no-deps --no-index /wheels/*.whl

FROM fit-venv AS train-venv
# The index of PyTorch's builds for CPUs, unless pip is configured in another way: see pytorch.org.
ARG TORCH_INDEX=
RUN pip install --require-hashes --only-binary :all: ${TORCH_INDEX:+--extra-index-url ${TORCH_INDEX}} \
    -r requirements/torch-cpu.txt

FROM venv AS cuda-venv
RUN pip install --require-hashes --only-binary :all: -r requirements/train.txt
COPY --from=wheel /wheels /wheels
RUN pip install --no-deps --no-index /wheels/*.whl

FROM ${PYTHON} AS tini
RUN apt-get update && apt-get install -y --no-install-recommends tini

# What all images have: a user, an init that passes signals on, the entry point and the kernels.
FROM ${PYTHON} AS base
RUN useradd --uid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin eigenserve \
    && mkdir /models /records && chown 10001:10001 /models /records
COPY --from=tini /usr/bin/tini-static /usr/local/bin/tini
# The modes are set, as those of a checkout depend on the umask of whoever made it.
# Found before the environment's program of the same name, which knows nothing of the kernels that are compiled here.
COPY --chmod=755 deploy/container/entrypoint.sh /opt/eigenserve/bin/eigenserve
COPY --chmod=755 deploy/container/healthcheck.py /opt/eigenserve/
COPY --from=kernels /opt/kernels /opt/kernels
ENV PATH=/opt/eigenserve/bin:/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HOME=/tmp \
    EIGENSERVE_STORE=/models EIGENSERVE_HOST=0.0.0.0
ARG VERSION=0.1.0
ARG REVISION=unknown
ARG CREATED=1970-01-01T00:00:00Z
LABEL org.opencontainers.image.title="Eigenserve" \
      org.opencontainers.image.description="Tabular models whose prediction is an eigenvalue, explained by its eigenvector" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.vendor="Eigenserve" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}"
WORKDIR /
STOPSIGNAL SIGTERM

FROM base AS fit
COPY --chmod=755 examples/data /data
COPY --from=fit-venv /opt/venv /opt/venv
USER 10001:10001
ENTRYPOINT ["tini", "--", "eigenserve"]
CMD ["--help"]

FROM base AS train
COPY --chmod=755 examples/data /data
COPY --from=train-venv /opt/venv /opt/venv
USER 10001:10001
ENTRYPOINT ["tini", "--", "eigenserve"]
CMD ["--help"]

# The wheels bring CUDA; the host has the driver and NVIDIA's container toolkit. Triton compiles its launchers with gcc.
FROM base AS cuda
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/*
COPY --chmod=755 examples/data /data
COPY --from=cuda-venv /opt/venv /opt/venv
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility CC=gcc TRITON_CACHE_DIR=/tmp/triton
USER 10001:10001
EXPOSE 8000
ENTRYPOINT ["tini", "--", "eigenserve"]
CMD ["serve"]

FROM base AS serve
COPY --from=serve-venv /opt/venv /opt/venv
USER 10001:10001
EXPOSE 8000
HEALTHCHECK --interval=5s --timeout=3s --start-period=60s --start-interval=500ms --retries=3 \
    CMD ["python", "-S", "/opt/eigenserve/healthcheck.py"]
ENTRYPOINT ["tini", "--", "eigenserve"]
CMD ["serve"]
