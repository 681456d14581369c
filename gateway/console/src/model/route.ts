// The addresses of the pages: behind the #, so that each page can be linked to and the service serves one file.

export const pageNames = ["attention", "overview", "fleet", "keys", "gateways", "audit", "changes"] as const;
export type PageName = (typeof pageNames)[number];

export type Route =
  | { readonly kind: "page"; readonly page: PageName; readonly params: URLSearchParams }
  | { readonly kind: "cluster"; readonly cluster: string }
  | { readonly kind: "node"; readonly cluster: string; readonly node: string }
  | { readonly kind: "gateway"; readonly gateway: string }
  | { readonly kind: "change"; readonly id: string }
  | { readonly kind: "nowhere" };

function isPage(name: string): name is PageName {
  return (pageNames as readonly string[]).includes(name);
}

function decode(text: string): string | undefined {
  try {
    return decodeURIComponent(text);
  } catch {
    return undefined;
  }
}

/** @param hash with or without its # */
export function parseRoute(hash: string): Route {
  const [path = "", query = ""] = hash.replace(/^#/, "").split("?");
  const parts = path.split("/").filter((part) => part !== "");
  const names = parts.map(decode);
  const [head = "", first, second, ...more] = names;
  if (parts.length === 0) return { kind: "page", page: "attention", params: new URLSearchParams() };
  if (more.length > 0 || names.includes(undefined)) return { kind: "nowhere" };
  if (first === undefined)
    return isPage(head) ? { kind: "page", page: head, params: new URLSearchParams(query) } : { kind: "nowhere" };
  if (second === undefined) {
    if (head === "cluster") return { kind: "cluster", cluster: first };
    if (head === "gateway") return { kind: "gateway", gateway: first };
    if (head === "change") return { kind: "change", id: first };
    return { kind: "nowhere" };
  }
  return head === "node" ? { kind: "node", cluster: first, node: second } : { kind: "nowhere" };
}

function path(...parts: readonly string[]): string {
  return `#/${parts.map(encodeURIComponent).join("/")}`;
}

export const hrefs = {
  page: (page: PageName, params: Readonly<Record<string, string>> = {}) => {
    const query = new URLSearchParams(params).toString();
    return `${path(page)}${query === "" ? "" : `?${query}`}`;
  },
  cluster: (cluster: string) => path("cluster", cluster),
  node: (cluster: string, node: string) => path("node", cluster, node),
  gateway: (gateway: string) => path("gateway", gateway),
  change: (id: string) => path("change", id),
} as const;

/** Which entry of the menu a route belongs to. */
export function pageOf(route: Route): PageName | undefined {
  switch (route.kind) {
    case "page":
      return route.page;
    case "cluster":
    case "node":
      return "fleet";
    case "gateway":
      return "gateways";
    case "change":
      return "changes";
    case "nowhere":
      return undefined;
  }
}

/** Where the target of an item of attention or of a record is shown; undefined for what has no page. */
export function hrefOfTarget(target: string, kind = ""): string | undefined {
  if (target === "" || target === "fleet") return undefined;
  if (kind.startsWith("gateway_")) return hrefs.gateway(target);
  if (kind === "backend_down") return hrefs.page("gateways");
  const [cluster = "", node, ...more] = target.split("/");
  if (more.length > 0 || cluster.includes(",")) return undefined;
  return node === undefined ? hrefs.cluster(cluster) : hrefs.node(cluster, node);
}
