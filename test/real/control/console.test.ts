// The console at a real fleet service: the pages in what `npm run build` makes, and logins at OpenBao with sessions that
// two replicas share. (docs/architecture.md #console.)
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { authorize } from "../../lab/authorize.ts";
import { password } from "../../lab/oidc.ts";
import { startFleetService } from "../../lab/fleet-service.ts";
import { createProcessGroup, freePorts, logOf, type ProcessGroup } from "../../lab/process-group.ts";
import { type LoginSite, type Headers, kept, recordsOf, type Reply, startLoginSite } from "./login-site.ts";

suite("the console of a fleet service", () => {
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

  const sessionOf = ({ headers }: Reply): string => kept([headers["set-cookie"]?.[0] ?? ""]);

  test("the pages are there for everybody, as they were built", async () => {
    const page = await site.ask(`${site.urls[0]}/`, "GET");
    assert.equal(page.status, 200);
    const assets = [...page.text.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, path = ""]) => path);
    assert.ok(
      assets.some((path) => path.startsWith("/assets/")),
      page.text,
    );
    for (const path of assets) {
      // The name of a file in assets/ changes with its content; that of any other does not.
      const wanted = path.startsWith("/assets/") ? "public, max-age=31536000, immutable" : "no-cache";
      const asset = await site.ask(`${site.urls[0]}${path}`, "GET");
      assert.deepEqual([asset.status, asset.headers["cache-control"]], [200, wanted], path);
    }
    assert.doesNotMatch(
      page.text,
      /<script(?![^>]*\ssrc=)|<style|\son\w+=|style=|https?:/,
      "nothing is inline or from elsewhere",
    );
  });

  test("somebody who logs in at the issuer has a session at every replica, with the role of their groups", async () => {
    const back = await site.login("alice");
    assert.deepEqual([back.status, back.headers.location], [303, "/"], back.text);
    const cookie = sessionOf(back);
    assert.ok(cookie.length < 4096 && !cookie.includes("eyJ"), "no token");
    for (const url of site.urls) {
      const { json } = await site.call(url, "WhoAmI", {}, cookie);
      assert.deepEqual([json["identity"], json["role"]], ["oidc:bao:alice", "admin"]);
    }
    assert.deepEqual(
      recordsOf(site.replicas[0])
        .filter(({ method }) => method === "consoleLogin")
        .map(({ outcome, operator }) => `${String(outcome)} ${String(operator)}`),
      ["ok oidc:bao:alice"],
    );
  });

  test("a viewer's changes are refused, and so is who has no role", async () => {
    const vera = sessionOf(await site.login("vera"));
    const refused = await site.call(
      site.urls[0],
      "SetClusterState",
      { name: "cluster-1", state: "suspended", reason: "a test" },
      vera,
    );
    assert.deepEqual([refused.code, /is viewer/.test(refused.text)], ["permission_denied", true], refused.text);
    assert.equal((await site.call(site.urls[0], "ListClusters", {}, vera)).code, "ok");
    const nobody = await site.login("zoe");
    assert.deepEqual([nobody.status, nobody.headers["set-cookie"]?.length], [403, 1], nobody.text);
    assert.match(nobody.text, /^You are not logged in: operator oidc:bao:zoe has no role/);
    const last = recordsOf(site.replicas[0]).findLast(({ method }) => method === "consoleLogin");
    assert.equal(last?.["outcome"], "denied");
  });

  test("a client with a secret logs people in with what its file has, and says why not with another", async () => {
    const { bao, settings, issuer, pki } = site;
    const [port = 0] = await freePorts(1);
    const url = `https://127.0.0.1:${port}`;
    await bao.call("POST", "identity/oidc/client/web", {
      key: "claviger",
      assignments: ["claviger"],
      redirect_uris: [`${url}/console/callback`],
      id_token_ttl: "30m",
    });
    const { data } = await bao.call<{ data: { client_id: string; client_secret: string } }>(
      "GET",
      "identity/oidc/client/web",
    );
    const { client_id: audience, client_secret: secret } = data;
    for (const path of ["identity/oidc/key/claviger", "identity/oidc/provider/claviger"])
      await bao.call("POST", path, { allowed_client_ids: [issuer.clientId, audience] });
    const clientSecretFile = join(dir, "client-secret");
    writeFileSync(clientSecretFile, `${secret}\n`, { mode: 0o600 });
    const { bao: own } = settings["oidc"] as { readonly bao: object };
    const { login, ...pages } = settings["console"] as { readonly login: object };
    const service = await startFleetService({
      processes,
      dir,
      pki,
      settings: {
        ...settings,
        listen: { address: "127.0.0.1", port },
        oidc: { bao: { ...own, audience } },
        console: { ...pages, url, login: { ...login, clientSecretFile } },
      },
      name: "fleet-3",
    });
    const back = await site.login("alice", url);
    assert.deepEqual([back.status, back.headers.location], [303, "/"], back.text);
    const who = await site.call(url, "WhoAmI", {}, sessionOf(back), { origin: url });
    assert.deepEqual([who.json["identity"], who.json["role"]], ["oidc:bao:alice", "admin"], who.text);
    const wrong = "hvo_secret_of_another_client";
    writeFileSync(clientSecretFile, wrong);
    const refused = await site.login("alice", url);
    assert.equal(refused.status, 401, refused.text);
    assert.match(refused.text, /does not take this service for its client: .*clientSecretFile/);
    const said = [logOf(service.proc), readFileSync(service.audit, "utf8"), refused.text, back.text].join();
    for (const one of [secret, wrong]) assert.ok(!said.includes(one), "the secret stays where it is");
    await processes.stop(service.proc);
  });

  test("an answer of the issuer counts in the browser that asked, once", async () => {
    const start = await site.ask(`${site.urls[0]}/console/login`, "GET");
    const back = await authorize(String(start.headers.location), "alice", password, site.pki.ca);
    const path = `${site.urls[0]}${back.pathname}${back.search}`;
    const cookie = kept(start.headers["set-cookie"]);
    const other = kept((await site.ask(`${site.urls[0]}/console/login`, "GET")).headers["set-cookie"]);
    assert.equal((await site.ask(path, "GET")).status, 401, "no browser that has begun");
    assert.equal((await site.ask(path, "GET", { cookie: other })).status, 401, "another login's");
    assert.equal(
      (await site.ask(path.replace(/code=[^&]*/, "code=wrong"), "GET", { cookie })).status,
      401,
      "another code",
    );
    const again = await site.ask(path, "GET", { cookie });
    // The issuer may have taken the first wrong code as a theft; what it has given is good once in any case.
    if (again.status === 303)
      assert.equal((await site.ask(path, "GET", { cookie })).status, 401, "a code is good once");
  });

  test("a session from elsewhere, changed, or ended at another replica counts for nothing", async () => {
    const [one, two] = site.urls;
    const cookie = sessionOf(await site.login("alice"));
    const change = { name: "cluster-1", state: "suspended", reason: "a test" };
    for (const given of [
      { origin: "https://evil.test" },
      { "sec-fetch-site": "cross-site" },
      { origin: two },
      { "connect-protocol-version": "2" },
    ] as readonly Headers[]) {
      const { code, text: said } = await site.call(one, "SetClusterState", change, cookie, given);
      assert.equal(code, "permission_denied", `${JSON.stringify(given)} ${said}`);
    }
    assert.equal((await site.call(one, "WhoAmI", {}, "")).code, "unauthenticated");
    assert.equal((await site.call(one, "WhoAmI", {}, `${cookie.slice(0, -6)}AAAAAA`)).code, "unauthenticated");
    assert.equal((await site.call(two, "WhoAmI", {}, cookie)).code, "ok");
    const out = await site.ask(`${two}/console/logout`, "POST", {
      cookie,
      origin: one,
      "connect-protocol-version": "1",
    });
    assert.equal(out.status, 204);
    for (const url of site.urls)
      assert.equal((await site.call(url, "WhoAmI", {}, cookie)).code, "unauthenticated", url);
    for (const { outcome, cause } of recordsOf(site.replicas[0]).filter(({ method }) => method === "setClusterState"))
      assert.deepEqual([outcome, typeof cause], ["denied", "string"]);
  });
});
