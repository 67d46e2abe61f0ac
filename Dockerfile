# The action's image: one static program and the CA certificates, nothing else.
#
#     docker build -t autotag-deploy .
#
# Needs BuildKit (the cache mounts). Written for amd64 and arm64: the build stage runs on the platform that
# is asked for, so the program is always built for the stage's own machine.

# A tag and not a digest: a digest names one registry's bytes, and where no registry can be reached
# `scripts/base-image` makes a stand-in, which has this name and can never have that digest. What ships is
# one static program, built from locked crates; nothing of this image but its CA bundle goes along.
ARG RUST_IMAGE=rust:1.95-bookworm

FROM ${RUST_IMAGE} AS build
WORKDIR /src
# The C library is linked in, and so is zlib where a crate asks for the system's: the last stage has neither.
ENV RUSTFLAGS="-C target-feature=+crt-static" LIBZ_SYS_STATIC=1
# action.yml is part of the program: it answers `--help` from it.
COPY Cargo.toml Cargo.lock action.yml ./
COPY src src
# The version that the program reports; the action gives it with every release it builds.
ARG VERSION
# Crates and their compiled results outlive the layer in cache mounts, so a change of the source compiles
# this crate alone. `touch`, because Cargo compares times and a context may carry older ones than the cache;
# `--target`, because Cargo would otherwise link build scripts and procedural macros statically as well.
RUN --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=cache,id=autotag-deploy-target,target=/src/target,sharing=locked \
    touch src/lib.rs src/main.rs \
    && host="$(rustc --print host-tuple)" \
    && cargo build --locked --release --no-default-features --features action --bin autotag-deploy --target "$host" \
    && cp "target/$host/release/autotag-deploy" /autotag-deploy

FROM scratch
LABEL org.opencontainers.image.title="autotag-deploy" \
      org.opencontainers.image.description="From a merge to a running, verified, reversible release in one step" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0"
# Where rustls looks on Debian; a user's own CAs come by SSL_CERT_FILE.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /autotag-deploy /autotag-deploy
# No USER: GitHub wants container actions to run as root. The runner's files (outputs, summary) and the
# Docker socket that it mounts belong to users whose numbers the image cannot know.
ENTRYPOINT ["/autotag-deploy"]
