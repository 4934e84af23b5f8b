# syntax=docker/dockerfile:1
# A static binary on an empty base: no shell, no package manager, nothing else to update.
#   docker build --build-arg REVISION=$(git rev-parse HEAD) -t sockdiag-exporter .
#   docker run --network host sockdiag-exporter
# Without --network host it counts the sockets of its own, empty network namespace: see deploy/README.md.

FROM rust:1.95-slim-bookworm AS build
ARG REVISION=unknown
ENV SOCKDIAG_EXPORTER_REVISION=${REVISION}
WORKDIR /src
COPY . .
# Linked with the C library of the build image. Naming the target keeps the flag off build scripts and macros, which
# cannot be static. No name is ever looked up, which a static C library could not do.
RUN RUSTFLAGS="-C target-feature=+crt-static -C strip=symbols" \
    cargo build --release --locked --bin sockdiag-exporter --target x86_64-unknown-linux-gnu

FROM scratch
ARG REVISION=unknown
ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="sockdiag-exporter" \
      org.opencontainers.image.description="Prometheus exporter for Linux sockets: states, peers, ephemeral port use and conntrack" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.source="https://github.com/sockdiag-exporter/sockdiag-exporter" \
      org.opencontainers.image.documentation="https://github.com/sockdiag-exporter/sockdiag-exporter/blob/main/deploy/README.md" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=build /src/target/x86_64-unknown-linux-gnu/release/sockdiag-exporter /sockdiag-exporter
COPY config.example.toml /etc/sockdiag-exporter.toml
COPY LICENSE /LICENSE
# Nobody: a dump of one's own network namespace needs no privilege. A number, since there is no /etc/passwd.
USER 65534:65534
EXPOSE 10061
STOPSIGNAL SIGTERM
ENTRYPOINT ["/sockdiag-exporter"]
CMD ["serve", "--config", "/etc/sockdiag-exporter.toml"]
