// A fleet service of two replicas with a console, an issuer that people log in at, and what a browser does there.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { type IncomingHttpHeaders, request as httpRequest } from "node:http";
import { request } from "node:https";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { buildConsole } from "../../../infra/console.ts";
import { authorize } from "../../lab/authorize.ts";
import { createPki, type Pki, writeRegistry } from "../../lab/fleet.ts";
import { fleetLogin, type LabFleetService, operators, startFleetService } from "../../lab/fleet-service.ts";
import { type BaoIssuer, password, setUpIssuer } from "../../lab/oidc.ts";
import { integrityKey, type OpenBao, setUpTransit, startOpenBao, transitMount } from "../../lab/openbao.ts";
import { freePorts, type ProcessGroup } from "../../lab/process-group.ts";
import { startRedis } from "../../lab/redis.ts";

export type Reply = { readonly status: number; readonly headers: IncomingHttpHeaders; readonly text: string };
export type Headers = Readonly<Record<string, string>>;
export type Called = {
  readonly status: number;
  /** `ok`, or a code of Connect. */
  readonly code: string;
  readonly text: string;
  readonly json: Readonly<Record<string, unknown>>;
};

export type LoginSite = {
  readonly pki: Pki;
  readonly bao: OpenBao;
  readonly issuer: BaoIssuer;
  /** Of the replicas, but for where they listen. */
  readonly settings: Parameters<typeof startFleetService>[0]["settings"];
  /** Of both replicas, which are one service at the address of the first. */
  readonly urls: readonly [string, string];
  readonly replicas: readonly LabFleetService[];
  ask(url: string, method: string, headers?: Headers, body?: string): Promise<Reply>;
  /** A page of the console calls a method. @param at where its calls go: a replica, or a proxy */
  call(at: string, method: string, message: object, cookie: string, given?: Headers): Promise<Called>;
  /** Logs in as a person with a browser does, at the first replica or another. @returns what it says at the end */
  login(user: string, at?: string): Promise<Reply>;
};

/** What a browser keeps of `set-cookie`. */
export function kept(cookies: readonly string[] = []): string {
  return cookies.map((one) => one.split(";")[0]).join("; ");
}

/** The records of a replica. */
export function recordsOf(replica: LabFleetService | undefined): readonly Readonly<Record<string, unknown>>[] {
  const lines = readFileSync(replica?.audit ?? "", "utf8")
    .trim()
    .split("\n");
  return lines.map((line) => JSON.parse(line) as Readonly<Record<string, unknown>>);
}

export async function startLoginSite(processes: ProcessGroup, dir: string): Promise<LoginSite> {
  const pki = await createPki(dir);
  const [issuerPort = 0, ...ports] = await freePorts(3);
  const { cert, key } = await pki.gateway("openbao");
  const listener = `listener "tcp" { address = "127.0.0.1:${issuerPort}"  tls_cert_file = "${cert}"  tls_key_file = "${key}" }`;
  const [bao, redis] = await Promise.all([startOpenBao(processes, dir, listener), startRedis(processes, dir)]);
  await setUpTransit(bao, ["cluster-1"], [], dir);
  const issuer = await setUpIssuer(bao, {
    addr: `https://127.0.0.1:${issuerPort}`,
    ca: pki.ca,
    dir,
    // The issuer gives tokens to these two groups alone; the service has no role for the second.
    users: { alice: ["fleet-admins"], vera: ["everybody", "fleet-operators"], zoe: ["fleet-operators"] },
  });
  const pages = join(dir, "console");
  await buildConsole(pages);
  // Both replicas are one service behind one address: that of the first.
  const urls = ports.map((port) => `https://127.0.0.1:${port}`);
  const [url = ""] = urls;
  await bao.call("POST", "identity/oidc/client/claviger", {
    redirect_uris: ["http://127.0.0.1/callback", `${url}/console/callback`],
  });
  const sessionKeyFile = join(dir, "session.key");
  writeFileSync(sessionKeyFile, randomBytes(32), { mode: 0o600 });
  const none = { registry: undefined, tokens: undefined, approvals: undefined, pki: undefined };
  const settings = {
    gateways: ["https://gateway.test:8443"],
    registry: { kind: "file", file: writeRegistry(dir, [{ name: "cluster-1", key: "cluster-1" }]) },
    operators: { ...operators, lab: { role: "admin" } },
    backends: { main: await fleetLogin(bao, dir, ["cluster-1"], none) },
    redis: { kind: "standalone", node: `${redis.host}:${redis.port}`, passwordFile: redis.passwordFile },
    integrity: { backend: "main", mount: transitMount, key: integrityKey, version: 1 },
    oidc: {
      bao: {
        issuer: issuer.issuer,
        audience: issuer.clientId,
        ca: pki.ca,
        claims: { name: "username" },
        groups: { "fleet-admins": { role: "admin" }, everybody: { role: "viewer" } },
      },
    },
    console: { directory: pages, url, login: { issuer: "bao", scopes: ["operator"], sessionKeyFile } },
  };
  const replicas = await Promise.all(
    ports.map((port, i) =>
      startFleetService({
        processes,
        dir,
        pki,
        settings: { ...settings, listen: { address: "127.0.0.1", port } },
        name: `fleet-${i + 1}`,
      }),
    ),
  );

  const ask: LoginSite["ask"] = (address, method, headers = {}, body = "") =>
    new Promise((resolve, reject) => {
      const send = address.startsWith("https:") ? request : httpRequest;
      const outgoing = send(address, { method, agent: false, headers, ca: readFileSync(pki.ca) }, (reply) => {
        void text(reply).then(
          (said) => resolve({ status: reply.statusCode ?? 0, headers: reply.headers, text: said }),
          reject,
        );
      });
      outgoing.on("error", reject);
      outgoing.end(body);
    });
  const call: LoginSite["call"] = async (at, method, message, cookie, given = {}) => {
    const origin = at.startsWith("https:") ? url : new URL(at).origin;
    const page = {
      "content-type": "application/json",
      origin,
      "sec-fetch-site": "same-origin",
      "connect-protocol-version": "1",
    };
    const body = JSON.stringify(message);
    const headers = { ...page, cookie, "content-length": String(Buffer.byteLength(body)), ...given };
    const reply = await ask(`${at}/claviger.fleet.v1.FleetService/${method}`, "POST", headers, body);
    const isJson = String(reply.headers["content-type"]).startsWith("application/json");
    const json = (isJson ? JSON.parse(reply.text) : {}) as Readonly<Record<string, unknown>>;
    return { status: reply.status, code: reply.status === 200 ? "ok" : String(json["code"]), text: reply.text, json };
  };
  return {
    pki,
    bao,
    issuer,
    settings,
    urls: [url, urls[1] ?? ""],
    replicas,
    ask,
    call,
    async login(user, at = url) {
      const start = await ask(`${at}/console/login`, "GET");
      assert.equal(start.status, 303, start.text);
      const back = await authorize(String(start.headers.location), user, password, pki.ca);
      assert.equal(back.origin, at);
      return await ask(`${at}${back.pathname}${back.search}`, "GET", { cookie: kept(start.headers["set-cookie"]) });
    },
  };
}
