# syntax=docker/dockerfile:1
# The image of the fleet service: the control plane, whose absence no node notices
# Nothing but the Node.js binary, its libraries, one file and the pages of the console. No shell, no package manager; runs as 65532 on a read-only root.
FROM docker.io/library/node:24.20.0-bookworm-slim AS build
WORKDIR /src
COPY . .
RUN npm ci --ignore-scripts --no-audit --no-fund
RUN node infra/build.ts --outdir /out --only claviger-fleet
RUN node infra/image/rootfs.ts --bundle /out/claviger-fleet.mjs --console /out/console --out /rootfs --node "$(command -v node)"

FROM scratch
COPY --from=build /rootfs/ /
ENV NODE_COMPILE_CACHE=/app/cache
# Fills the compile cache, with the flags of the entry point: V8 refuses a cache made with others. Later starts only read it.
RUN ["/usr/bin/node", "--max-semi-space-size=8", "/app/main.mjs", "--help"]
USER 65532:65532
ENTRYPOINT ["/usr/bin/node", "--max-semi-space-size=8", "/app/main.mjs"]
CMD ["--config", "/etc/claviger/fleet.yaml"]
