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
# cannot be static. No name is ever looked up, which a static C library could not do. The modes are set here: those of
# the context are the builder's, and another user must read these files.
RUN target=$(rustc -vV | sed -n 's/^host: //p') && \
    RUSTFLAGS="-C target-feature=+crt-static -C strip=symbols" \
    cargo build --release --locked --bin sockdiag-exporter --target "$target" && \
    install -D -m 0755 "target/$target/release/sockdiag-exporter" /image/sockdiag-exporter && \
    install -D -m 0644 config.example.toml /image/etc/sockdiag-exporter.toml && \
    install -m 0644 LICENSE /image/LICENSE

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
COPY --from=build /image/ /
# Nobody: a dump of one's own network namespace needs no privilege. A number, since there is no /etc/passwd.
USER 65534:65534
EXPOSE 10061
STOPSIGNAL SIGTERM
ENTRYPOINT ["/sockdiag-exporter"]
CMD ["serve", "--config", "/etc/sockdiag-exporter.toml"]
