# The action's image: one static program, the CA certificates, and Debian's word on which ones; nothing else.
#
#     docker build -t autotag-deploy .
#
# And the server's program, as a file: it is built here too, so that a release of both has one toolchain.
#
#     docker build --target receiver --output . .
#
# Needs BuildKit (the cache mounts). Written for amd64 and arm64: the build stage runs on the platform that
# is asked for, so the program is always built for the stage's own machine.

# A tag and not a digest: a digest names one registry's bytes, and where no registry can be reached
# `scripts/images/base-image` makes a stand-in, which has this name and can never have that digest. What ships is
# one static program, built from locked crates; nothing of this image but its CA bundle goes along.
ARG RUST_IMAGE=rust:1.95-bookworm

FROM ${RUST_IMAGE} AS source
WORKDIR /src
# action.yml is part of the program: it answers `--help` from it.
COPY Cargo.toml Cargo.lock action.yml ./
COPY scripts/release/build-program scripts/release/
# A member of the workspace that no program needs: Cargo wants to read what it is, and no more.
COPY testkit/Cargo.toml testkit/
COPY crates crates
COPY src src

FROM source AS build
# The version that the program reports; the action gives it with every release it builds.
ARG VERSION
# Crates and their compiled results outlive the layer in cache mounts, so a change of the source compiles
# this project alone. `touch`, because Cargo compares times and a context may carry older ones than the cache.
RUN --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=cache,id=autotag-deploy-target,target=/src/target,sharing=locked \
    find src crates -name "*.rs" -exec touch {} + && scripts/release/build-program action /autotag-deploy
# All that the image has, with one time on everything: the commit's where it is given, so that two builds
# of a commit are the same layer. The CA bundle is where rustls looks on Debian; a user's own CAs come by
# SSL_CERT_FILE. The package's entry lies where scanners of images look for what came from Debian.
ARG SOURCE_DATE_EPOCH=0
RUN mkdir -p /image/etc/ssl/certs /image/var/lib/dpkg/status.d \
    && cp /etc/ssl/certs/ca-certificates.crt /image/etc/ssl/certs/ \
    && dpkg-query --status ca-certificates >/image/var/lib/dpkg/status.d/ca-certificates \
    && cp /autotag-deploy /image/ \
    && find /image -exec touch --date="@$SOURCE_DATE_EPOCH" {} +

FROM source AS build-receiver
ARG VERSION
RUN --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=cache,id=autotag-deploy-target,target=/src/target,sharing=locked \
    find src crates -name "*.rs" -exec touch {} + && scripts/release/build-program receiver /autotag-receiver

FROM scratch AS receiver
COPY --from=build-receiver /autotag-receiver /

FROM scratch
LABEL org.opencontainers.image.title="autotag-deploy" \
      org.opencontainers.image.description="From a merge to a running, verified, reversible release in one step" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0"
COPY --from=build /image /
# No USER: GitHub wants container actions to run as root. The runner's files (outputs, summary) and the
# Docker socket that it mounts belong to users whose numbers the image cannot know.
ENTRYPOINT ["/autotag-deploy"]
