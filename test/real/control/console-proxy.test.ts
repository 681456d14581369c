// `claviger console` at a real fleet service: a link that is good once, for one browser of one user, and what passes.
// (docs/architecture.md #console.)
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { request as httpRequest } from "node:http";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { after, before, suite, test } from "node:test";
import { type ConsoleProxy, startConsoleProxy } from "../../lab/console-proxy.ts";
import { trustDomain, writeRegistry } from "../../lab/fleet.ts";
import { startFleetService } from "../../lab/fleet-service.ts";
import { createProcessGroup, type ProcessGroup } from "../../lab/process-group.ts";
import { claviger } from "../cli/claviger.ts";
import { type LoginSite, type Headers, kept, startLoginSite } from "./login-site.ts";

suite("claviger console", () => {
  let dir: string;
  let processes: ProcessGroup;
  let site: LoginSite;

  before(async () => {
    dir = await mkdtemp(join(tmpdir(), "claviger-"));
    processes = createProcessGroup(dir);
    site = await startLoginSite(processes, dir);
  });
  after(async () => {
    await processes.stopAll();
    await rm(dir, { recursive: true, force: true });
  });

  const openProxy = (...args: readonly string[]): Promise<ConsoleProxy> => startConsoleProxy(args, dir);

  test("`claviger console` opens the pages by a link that is good once, with the operator's certificate, until it ends", async () => {
    const options = (await site.replicas[1]?.options("vera")) ?? [];
    const proxy = await openProxy(...options);
    const { link, err } = proxy;
    const { origin } = new URL(link);
    assert.match(link, /^http:\/\/127\.0\.0\.1:\d+\/open\/[\w-]{43}$/);
    assert.equal((await site.ask(`${origin}/`, "GET")).status, 401, "nothing without the link");
    const opened = await site.ask(link, "GET");
    assert.deepEqual([opened.status, opened.headers.location], [303, "/"]);
    assert.match(String(opened.headers["set-cookie"]), /; HttpOnly; SameSite=Strict$/);
    const cookie = kept(opened.headers["set-cookie"]);
    assert.equal((await site.ask(link, "GET")).status, 410, "once");
    assert.equal((await site.ask(link, "GET", { cookie })).status, 410);
    assert.match(err(), /the link was opened once more, which was refused/);

    const page = await site.ask(`${origin}/`, "GET", { cookie });
    assert.equal(page.status, 200);
    for (const name of [
      "content-security-policy",
      "cross-origin-opener-policy",
      "cross-origin-embedder-policy",
      "x-content-type-options",
    ])
      assert.ok(page.headers[name] !== undefined, name);
    const who = await site.call(origin, "WhoAmI", {}, cookie);
    assert.deepEqual([who.json["identity"], who.json["role"]], [`spiffe://${trustDomain}/operator/vera`, "viewer"]);
    const refused = await site.call(
      origin,
      "SetClusterState",
      { name: "cluster-1", state: "suspended", reason: "a test" },
      cookie,
    );
    assert.equal(refused.code, "permission_denied", refused.text);
    assert.deepEqual(JSON.parse((await site.ask(`${origin}/console/access`, "GET", { cookie })).text), {
      by: "proxy",
      fleet: site.urls[1],
    });

    const refusals: readonly (readonly [status: number, Headers])[] = [
      [403, { origin: "https://evil.test" }],
      [403, { "sec-fetch-site": "cross-site" }],
      [421, { host: "evil.test" }],
      [401, { cookie: "" }],
      [403, { "connect-protocol-version": "" }],
    ];
    for (const [status, given] of refusals)
      assert.equal((await site.call(origin, "WhoAmI", {}, cookie, given)).status, status, JSON.stringify(given));
    assert.equal((await site.ask(`${origin}/console/login`, "GET", { cookie })).status, 404);
    await proxy.end();
    await assert.rejects(site.ask(`${origin}/`, "GET", { cookie }), "it ends with the command");
  });

  test("events come through it as they happen", async () => {
    const proxy = await openProxy(...((await site.replicas[0]?.options("ada")) ?? []));
    const { link } = proxy;
    const cookie = kept((await site.ask(link, "GET")).headers["set-cookie"]);
    const { origin } = new URL(link);
    const body = Buffer.concat([Buffer.from([0, 0, 0, 0, 2]), Buffer.from("{}")]);
    const outgoing = httpRequest(`${origin}/claviger.fleet.v1.FleetService/WatchEvents`, {
      method: "POST",
      headers: {
        cookie,
        origin,
        "connect-protocol-version": "1",
        "content-type": "application/connect+json",
        "content-length": body.length,
      },
    });
    outgoing.end(body);
    const [reply] = (await once(outgoing, "response")) as [NodeJS.ReadableStream];
    let said = "";
    const seen = Promise.withResolvers<void>();
    reply.on("data", (chunk) => {
      said += String(chunk);
      if (said.includes("cluster-changed")) seen.resolve();
    });
    await once(reply, "data");
    const change = { name: "cluster-1", setLabels: { team: "blue" }, reason: "a test" };
    assert.equal((await site.call(origin, "UpdateCluster", change, cookie)).code, "ok");
    await seen.promise;
    outgoing.destroy();
    await proxy.end();
  });

  test("another user of the machine can neither use the link nor use it up", async () => {
    assert.equal(process.getuid?.(), 0, "this takes another user: run it as root");
    const proxy = await openProxy(...((await site.replicas[0]?.options("ada")) ?? []));
    const { link } = proxy;
    const script = "fetch(process.argv[1]).then(async (reply) => console.log(reply.status, await reply.text()))";
    const asNobody = spawn(process.execPath, ["-e", script, link], {
      uid: 65_534,
      gid: 65_534,
      stdio: ["ignore", "pipe", "inherit"],
    });
    assert.match(await text(asNobody.stdout), /^403 This console is another user's/);
    assert.equal((await site.ask(link, "GET")).status, 303, "it is still good for whoever it is for");
    await proxy.end();
  });

  test("what is wrong is said with what to do", async () => {
    const options = (await site.replicas[0]?.options("ada")) ?? [];
    const taken = createServer();
    await new Promise<void>((resolve) => taken.listen(0, "127.0.0.1", resolve));
    const { port } = taken.address() as { readonly port: number };
    const { status, err } = await claviger(["console", "--port", String(port), ...options]);
    taken.close();
    assert.equal(status, 1);
    assert.match(
      err,
      /^claviger: port \d+ of this machine cannot be listened at \(EADDRINUSE\); give another --port\n$/,
    );
    mkdirSync(join(dir, "plain"));
    const plain = await startFleetService({
      processes,
      dir: join(dir, "plain"),
      pki: site.pki,
      settings: {
        gateways: ["https://gateway.test:8443"],
        registry: { kind: "file", file: writeRegistry(join(dir, "plain"), [{ name: "cluster-1", key: "cluster-1" }]) },
        certificates: { ca: { kind: "directory", directory: join(dir, "pki") }, trustBundle: site.pki.ca },
      },
    });
    assert.equal((await site.ask(`${plain.url}/`, "GET")).status, 404);
    const none = await claviger(["console", ...(await plain.options("ada"))]);
    assert.deepEqual(
      [none.status, /serves no console: its log says why \(console-missing\)/.test(none.err)],
      [1, true],
      none.err,
    );
  });

  test("a token as identity ends where it ends, in words for the page", async () => {
    const home = join(dir, "home");
    mkdirSync(home);
    const contexts = join(dir, "contexts.yaml");
    const { clientId } = site.issuer;
    const fleet = {
      url: site.urls[0],
      ca: site.pki.ca,
      oidc: { issuer: site.issuer.issuer, clientId, scopes: ["operator"], ca: site.pki.ca },
    };
    writeFileSync(contexts, JSON.stringify({ current: "prod", contexts: { prod: { fleet } } }));
    const logged = await claviger(["login", "--config", contexts], {
      HOME: dir,
      BROWSER: site.issuer.browser("alice"),
    });
    assert.equal(logged.status, 0, logged.err);
    const proxy = await openProxy("--config", contexts);
    const { link, err } = proxy;
    const cookie = kept((await site.ask(link, "GET")).headers["set-cookie"]);
    const { origin } = new URL(link);
    assert.equal((await site.call(origin, "WhoAmI", {}, cookie)).json["identity"], "oidc:bao:alice");
    assert.equal((await claviger(["logout", "--config", contexts], { HOME: dir })).status, 0);
    const over = await site.call(origin, "WhoAmI", {}, cookie);
    assert.deepEqual([over.status, over.code], [401, "unauthenticated"]);
    assert.match(over.text, /you are not logged in at .*: run 'claviger login'/);
    assert.match(err(), /run 'claviger login'/);
    await proxy.end();
  });
});
