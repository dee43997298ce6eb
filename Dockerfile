# syntax=docker/dockerfile:1.7
# The gateway on glibc and certificates alone: no shell, no package manager, not root.
#
#   docker build --build-arg VERSION=0.1.0 --tag antigravity-proxy:0.1.0 .
#   docker buildx build --platform linux/amd64,linux/arm64 …   # each built on, or emulated as, its own platform
ARG RUST_VERSION=1.95
ARG DEBIAN=bookworm
ARG DEBIAN_NUMBER=12

FROM rust:${RUST_VERSION}-${DEBIAN} AS build
WORKDIR /build
# Compiled again only when these change, not with every change of ours.
COPY Cargo.toml Cargo.lock ./
COPY scripts/image-build.sh scripts/
RUN scripts/image-build.sh dependencies
COPY public public
COPY src src
COPY docs/openapi.json docs/
RUN scripts/image-build.sh program /out
# The user's own, so that a volume mounted there becomes it.
RUN mkdir -p /state && chmod 0700 /state

FROM gcr.io/distroless/cc-debian${DEBIAN_NUMBER}:nonroot
ARG VERSION=0.0.0-dev
ARG REVISION=unknown
ARG CREATED=1970-01-01T00:00:00Z
LABEL org.opencontainers.image.title="antigravity-proxy" \
    org.opencontainers.image.description="Anthropic-compatible gateway for Claude Code over a pool of Google Cloud Code accounts" \
    org.opencontainers.image.licenses="MIT" \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.revision="${REVISION}" \
    org.opencontainers.image.created="${CREATED}" \
    org.opencontainers.image.base.name="gcr.io/distroless/cc-debian12:nonroot"
COPY --from=build /out/antigravity-proxy /usr/local/bin/antigravity-proxy
COPY --from=build --chown=65532:65532 /state /var/lib/antigravity-proxy
# Metrics and probes on all of the container's addresses: publish 9464 only where Prometheus is.
ENV DATA_DIR=/var/lib/antigravity-proxy \
    METRICS_ADDR=0.0.0.0:9464 \
    LOG_FORMAT=json
USER 65532:65532
EXPOSE 8080 9464
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=4s --start-period=30s --retries=3 CMD ["antigravity-proxy", "healthcheck"]
ENTRYPOINT ["antigravity-proxy"]
