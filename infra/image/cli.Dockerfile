# syntax=docker/dockerfile:1
# The image of the CLI: for jobs in a cluster and pipelines that have no Node.js
# Nothing but the Node.js binary, its libraries and one file. No shell, no package manager; runs as 65532 on a read-only root.
FROM docker.io/library/node:24.20.0-bookworm-slim AS build
WORKDIR /src
COPY . .
RUN npm ci --ignore-scripts --no-audit --no-fund
RUN node infra/build.ts --outdir /out --only claviger
RUN node infra/image/rootfs.ts --bundle /out/claviger.mjs --out /rootfs --node "$(command -v node)"

FROM scratch
COPY --from=build /rootfs/ /
ENV NODE_COMPILE_CACHE=/app/cache
# Fills the compile cache, with the flags of the entry point: V8 refuses a cache made with others. Later starts only read it.
RUN ["/usr/bin/node", "/app/main.mjs", "--help"]
USER 65532:65532
ENTRYPOINT ["/usr/bin/node", "/app/main.mjs"]
CMD ["--help"]
