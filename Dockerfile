# Modelwright's image for those who build with Docker:
#
#   docker build --tag registry.example.com/modelwright:0.1.0 .
#   docker build --build-arg VARIANT=cuda --tag registry.example.com/modelwright:0.1.0-cuda .
#
# `cargo xtask image` makes a smaller one without Docker, without a shell in it and with a list of its parts: docs/images.md.
# A test keeps the settings below equal to that one's.

# cpu, or cuda for NVIDIA GPUs.
ARG VARIANT=cpu

FROM rust:1.95-bookworm AS build
ARG VARIANT
RUN apt-get update \
 && apt-get install --yes --no-install-recommends cmake python3 python3-pip \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY . .
RUN cargo build --release --locked -p modelwright --bin modelwright --no-default-features
# ONNX Runtime, and for GPUs CUDA and cuDNN, each file pinned by its SHA-256.
RUN cargo xtask onnxruntime --variant "$VARIANT" --root /runtime
RUN install -D target/release/modelwright /runtime/usr/local/bin/modelwright \
 && install -D --mode=644 LICENSE /runtime/usr/share/doc/modelwright/LICENSE

# The same release as above: the program is linked with its glibc.
FROM debian:bookworm-slim AS cpu
# zlib is for cuDNN. ONNX Runtime wants the locale en_US.UTF-8 to change the case of text; its table of cases is that of C.UTF-8.
RUN apt-get update \
 && apt-get install --yes --no-install-recommends ca-certificates libstdc++6 tzdata zlib1g \
 && rm -rf /var/lib/apt/lists/* \
 && ln -s C.utf8 /usr/lib/locale/en_US.utf8 \
 && groupadd --gid 65532 modelwright \
 && useradd --uid 65532 --gid 65532 --home-dir /tmp --no-create-home --shell /usr/sbin/nologin modelwright
ENV ORT_DISABLE_TELEMETRY=1

FROM cpu AS cuda
ENV LD_LIBRARY_PATH=/usr/local/lib:/usr/local/nvidia/lib:/usr/local/nvidia/lib64
ENV NVIDIA_VISIBLE_DEVICES=all
ENV NVIDIA_DRIVER_CAPABILITIES=compute,utility
ENV NVIDIA_REQUIRE_CUDA=cuda>=13.0

FROM ${VARIANT}
COPY --from=build /runtime /
LABEL org.opencontainers.image.title="Modelwright"
LABEL org.opencontainers.image.description="Serve ONNX models from one manifest over the Open Inference Protocol"
LABEL org.opencontainers.image.version="0.1.0"
LABEL org.opencontainers.image.licenses="Apache-2.0"
EXPOSE 8080 9090
USER 65532:65532
ENTRYPOINT ["/usr/local/bin/modelwright"]
