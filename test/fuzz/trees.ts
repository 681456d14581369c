// Values as trees, and changes to them: what is changed here and written again gets past the first check of its
// form, which few changes of bytes do.
import { below, changeBytes, pick, type Random } from "./mutate.ts";

export type Tree = null | boolean | number | string | Buffer | readonly Tree[] | { readonly [key: string]: Tree };

/** How the inputs of a target are read into a tree, and written. */
export type Format = {
  /** Undefined for what is none of this form. */
  readonly decode: (input: Buffer) => Tree | undefined;
  /** Writes any tree, also one that means nothing in this form. */
  readonly encode: (tree: Tree) => Buffer;
};

type Path = readonly (string | number)[];

export function isList(tree: Tree | undefined): tree is readonly Tree[] {
  return Array.isArray(tree);
}
export function isMap(tree: Tree | undefined): tree is { readonly [key: string]: Tree } {
  return typeof tree === "object" && tree !== null && !Buffer.isBuffer(tree) && !Array.isArray(tree);
}

/** The bytes of a tree that stands where bytes are wanted. */
export function bytesOf(tree: Tree | undefined): Buffer {
  if (tree === undefined || tree === null) return Buffer.alloc(0);
  if (Buffer.isBuffer(tree)) return tree;
  if (isList(tree)) return Buffer.concat(tree.map(bytesOf));
  if (isMap(tree)) return Buffer.concat(Object.values(tree).map(bytesOf));
  return Buffer.from(String(tree));
}

/** The number that stands in a tree where one is wanted, as 32 bits. */
export function numberOf(tree: Tree | undefined): number {
  return (typeof tree === "number" ? tree : bytesOf(tree).length) >>> 0;
}

function keysOf(tree: Tree): readonly (string | number)[] {
  if (isList(tree)) return [...tree.keys()];
  return isMap(tree) ? Object.keys(tree) : [];
}

/** Somewhere in a tree: each branch is as likely as the others beside it, however much is on it. */
function somewhere(tree: Tree, random: Random): Path {
  const path: (string | number)[] = [];
  for (let node = tree; ; ) {
    const keys = keysOf(node);
    if (keys.length === 0 || below(random, 6) === 0) return path;
    const key = pick(random, keys);
    path.push(key);
    node = nodeAt(node, [key]);
  }
}

function nodeAt(tree: Tree, path: Path): Tree {
  let node: Tree | undefined = tree;
  for (const key of path) node = isList(node) ? node[Number(key)] : isMap(node) ? node[String(key)] : undefined;
  return node ?? null;
}

/** @param change gives what stands there instead: one, none, or several where it is a list */
function changedAt(tree: Tree, [key, ...rest]: Path, change: (node: Tree) => readonly Tree[]): Tree {
  if (key === undefined) return change(tree)[0] ?? null;
  const below = (child: Tree): readonly Tree[] =>
    rest.length === 0 ? change(child) : [changedAt(child, rest, change)];
  if (isList(tree)) return tree.flatMap((child, at) => (at === key ? below(child) : [child]));
  if (!isMap(tree)) return tree;
  return Object.fromEntries(
    Object.entries(tree).flatMap(([name, child]) =>
      name === key ? below(child).map((next) => [name, next]) : [[name, child]],
    ),
  );
}

function nested(levels: number): Tree {
  let tree: Tree = [];
  for (let i = 0; i < levels; i += 1) tree = [tree];
  return tree;
}

const strange: readonly Tree[] = [
  null,
  true,
  0,
  -1,
  0.5,
  255,
  65_536,
  2 ** 31,
  2 ** 32 - 1,
  2 ** 53,
  1e300,
  "",
  "0",
  "null",
  "__proto__",
  "a\u0000b",
  "\ud800",
  "../../etc",
  "a".repeat(5000),
  [],
  {},
  { constructor: {} },
  nested(500),
  Buffer.alloc(0),
  Buffer.alloc(3, 255),
];

function changedLeaf(tree: Tree, random: Random): Tree {
  if (typeof tree === "number") return pick(random, [tree + 1, tree - 1, -tree, tree * 2, tree ^ 1, tree | 128]);
  if (typeof tree === "string") return changeBytes(Buffer.from(tree), random).toString();
  if (Buffer.isBuffer(tree)) return changeBytes(tree, random);
  return pick(random, strange);
}

/** One change of a tree: of a leaf, or of where something stands, and how often. */
export function mutateTree(tree: Tree, random: Random): Tree {
  const path = somewhere(tree, random);
  const from = somewhere(tree, random);
  switch (below(random, 8)) {
    case 0:
      return changedAt(tree, path, () => []);
    case 1:
      return changedAt(tree, path, (node) => [node, node]);
    case 2:
      return changedAt(tree, path, (node) => Array.from({ length: 2 + below(random, 99) }, () => node));
    case 3:
      return changedAt(tree, path, () => [nodeAt(tree, from)]);
    case 4:
      return changedAt(tree, path, (node) => [nodeAt(tree, from), node]);
    case 5:
      return changedAt(tree, path, () => [pick(random, strange)]);
    default:
      return changedAt(tree, path, (node) => [isList(node) || isMap(node) ? node : changedLeaf(node, random)]);
  }
}
