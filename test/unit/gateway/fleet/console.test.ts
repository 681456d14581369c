// The console as browsers see it: headers of every response, files, sessions in cookies, logins, and reports.
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { suite, test } from "node:test";
import { FleetService } from "@claviger/proto/gen/claviger/fleet/v1/fleet_pb.ts";
import { tokenOperatorName } from "@claviger/proto/wire/names.ts";
import type { Operator } from "../../../../gateway/fleet/src/caller.ts";
import { type Role, rank } from "../../../../gateway/fleet/src/grants.ts";
import { type MethodName, needs } from "../../../../gateway/fleet/src/method.ts";
import { readAssets } from "../../../../gateway/fleet/src/pages/assets.ts";
import { cookieOf } from "../../../../gateway/fleet/src/pages/cookies.ts";
import { createSeal } from "../../../../gateway/fleet/src/pages/seal.ts";
import { violationsOf } from "../../../../gateway/fleet/src/pages/reports.ts";
import { consoleProblems } from "../../../../gateway/fleet/src/pages/config.ts";
import { goodTokens } from "./issuer.ts";
import { callersOf, startWorld, type World } from "./world.ts";

const hour = 3_600_000;
const names: Readonly<Record<Role, string>> = { viewer: "vera", operator: "olga", admin: "ada" };

/** As `standingOf` finds them: the role is looked up at each call. */
function operator(name: string, more: Partial<Operator> = {}): Operator {
  return {
    kind: "operator",
    operator: tokenOperatorName.parse(`oidc:corp:${name}`),
    until: Date.now() + hour,
    role: "viewer",
    clusters: "",
    mayTouch: () => true,
    ...more,
  };
}

/** What a browser keeps of a `set-cookie`. */
function kept(cookie: string): string {
  return cookie.split(";")[0] ?? "";
}

/** What a page of the console sends with a call. */
function fromPage(world: World, cookie: string, more: Readonly<Record<string, string>> = {}) {
  return {
    cookie: kept(cookie),
    origin: world.url,
    "sec-fetch-site": "same-origin",
    "connect-protocol-version": "1",
    ...more,
  };
}

suite("The console", () => {
  test("every response says what a browser may do with it", async (t) => {
    const world = await startWorld(t);
    const page = await world.page("GET", "/");
    assert.equal(page.status, 200);
    const policy = String(page.headers["content-security-policy"]);
    for (const part of [
      "default-src 'none'",
      "script-src 'self'",
      "style-src 'self'",
      "connect-src 'self'",
      "img-src 'self'",
      "font-src 'self'",
      "base-uri 'none'",
      "form-action 'self'",
      "frame-ancestors 'none'",
      "require-trusted-types-for 'script'",
      "trusted-types 'none'",
    ])
      assert.ok(policy.split("; ").includes(part), part);
    assert.doesNotMatch(policy, /unsafe|\*|http/);
    assert.equal(page.headers["cross-origin-opener-policy"], "same-origin");
    assert.equal(page.headers["cross-origin-embedder-policy"], "require-corp");
    assert.match(String(page.headers["permissions-policy"]), /camera=\(\), .*geolocation=\(\)/);
    const replies = [
      page,
      await world.page("GET", "/assets/main-ABCD1234.js"),
      await world.page("HEAD", "/"),
      await world.page("GET", "/nowhere"),
      await world.page("GET", "/../index.html"),
      await world.page("POST", "/nowhere"),
      await world.page("GET", "/console/access"),
      await world.page("GET", "/console/callback"),
      await world.page("POST", "/console/logout"),
      await world.page("POST", "/console/csp-report", { "content-type": "application/csp-report" }, "{}"),
      await world.page(
        "POST",
        "/claviger.fleet.v1.FleetService/GetTrustBundle",
        { "content-type": "application/json" },
        "{}",
      ),
      await world.page("POST", "/claviger.fleet.v1.FleetService/WhoAmI", { "content-type": "application/json" }, "{}"),
      await world.page("POST", "/claviger.fleet.v1.FleetService/WhoAmI", { "content-type": "text/plain" }, "{}"),
      await world.page("GET", "/claviger.fleet.v1.FleetService/WhoAmI"),
      await world.page("OPTIONS", "/claviger.fleet.v1.FleetService/WhoAmI", { origin: "https://evil.test" }),
    ];
    for (const [i, { status, headers }] of replies.entries()) {
      const of = `response ${i} (${status})`;
      assert.match(String(headers["content-security-policy"]), /default-src 'none'.*frame-ancestors 'none'/, of);
      assert.equal(headers["x-content-type-options"], "nosniff", of);
      assert.equal(headers["referrer-policy"], "no-referrer", of);
      assert.equal(headers["cross-origin-resource-policy"], "same-origin", of);
      assert.equal(headers["access-control-allow-origin"], undefined, of);
      assert.ok(headers["cache-control"] !== undefined, of);
    }
  });

  test("files are kept by browsers as long as they are good", async (t) => {
    const world = await startWorld(t);
    const page = await world.page("GET", "/");
    assert.deepEqual([page.text, page.headers["cache-control"]], ["<!doctype html>", "no-cache"]);
    const etag = String(page.headers.etag);
    const same = await world.page("GET", "/", { "if-none-match": `"x", ${etag}` });
    assert.deepEqual([same.status, same.text, same.headers.etag], [304, "", etag]);
    const script = "/assets/main-ABCD1234.js";
    const plain = await world.page("GET", script);
    assert.deepEqual([plain.text, plain.headers["content-type"]], ["script();", "text/javascript; charset=utf-8"]);
    assert.equal(plain.headers["cache-control"], "public, max-age=31536000, immutable");
    const squeezed = await world.page("GET", script, { "accept-encoding": "br, gzip" });
    assert.deepEqual(
      [squeezed.text, squeezed.headers["content-encoding"], squeezed.headers.vary],
      ["squeezed", "gzip", "accept-encoding"],
    );
    const head = await world.page("HEAD", script);
    assert.deepEqual([head.status, head.text, head.headers["content-length"]], [200, "", "9"]);
    assert.equal((await world.page("GET", "/assets/")).status, 404);
  });

  test("a session may what its operator's role may, in every method", async (t) => {
    const world = await startWorld(t);
    const methods = FleetService.methods.filter(
      ({ methodKind, localName }) => methodKind === "unary" && localName !== "enrollNode",
    );
    for (const [role, name] of Object.entries(names) as readonly (readonly [Role, string])[]) {
      const cookie = world.sessions.begin(operator(name));
      for (const { name: method, localName } of methods) {
        const need = needs[localName as MethodName];
        const isLet = need === "anybody" || need === "certificate" || (need !== "node" && rank[role] >= rank[need]);
        const { code, message } = await world.call(method, {}, undefined, undefined, fromPage(world, cookie));
        const of = `${method} as ${role}: ${code} ${message}`;
        if (isLet) assert.ok(!["unauthenticated", "permission_denied"].includes(code), of);
        else assert.equal(code, "permission_denied", of);
        assert.equal(world.records.at(-1)?.operator, `oidc:corp:${name}`, "it stands in the record");
      }
    }
    // Of some clusters.
    const bob = world.sessions.begin(operator("bob"));
    const { json } = await world.call("ListClusters", {}, undefined, undefined, fromPage(world, bob));
    assert.deepEqual(
      (json["clusters"] as readonly { readonly name: string }[]).map(({ name }) => name),
      ["blue"],
    );
  });

  test("what a page of another origin can make a browser send counts for nothing", async (t) => {
    const world = await startWorld(t);
    const callers = await callersOf(world.ca);
    const cookie = world.sessions.begin(operator("ada"));
    const change = { name: "red", state: "suspended", reason: "a test" };
    const good = fromPage(world, cookie);
    const { origin: _, ...withoutOrigin } = good;
    const { "connect-protocol-version": __, ...withoutVersion } = good;
    const wrong: readonly (readonly [why: RegExp, given: Readonly<Record<string, string>>])[] = [
      [/another origin/, { ...good, origin: "https://evil.test" }],
      [/another origin/, { ...good, origin: "null" }],
      [/another origin/, { ...good, origin: world.url.replace("https:", "http:") }],
      [/another origin/, { ...good, origin: `${world.url}.evil.test` }],
      [/another origin/, { ...good, "sec-fetch-site": "cross-site" }],
      [/another origin/, { ...good, "sec-fetch-site": "same-site" }],
      [/origin or connect-protocol-version is missing/, withoutOrigin],
      [/origin or connect-protocol-version is missing/, withoutVersion],
    ];
    for (const [why, given] of wrong) {
      const { code, message } = await world.call("SetClusterState", change, undefined, undefined, given);
      assert.equal(code, "permission_denied", message);
      assert.match(message, why);
      assert.deepEqual([world.records.at(-1)?.method, world.records.at(-1)?.outcome], ["setClusterState", "denied"]);
    }
    // What a form can send.
    for (const type of ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"]) {
      const { status } = await world.page(
        "POST",
        "/claviger.fleet.v1.FleetService/SetClusterState",
        { ...good, "content-type": type },
        JSON.stringify(change),
      );
      assert.equal(status, 415, type);
    }
    // A certificate that a browser shows is no better.
    const byCertificate = await world.call("SetClusterState", change, callers["admin"], undefined, {
      origin: "https://evil.test",
    });
    assert.deepEqual([byCertificate.code, /another origin/.test(byCertificate.message)], ["permission_denied", true]);
    assert.match(world.registry(), /name: red\n.*\n    state: active/);
    assert.equal((await world.call("SetClusterState", change, undefined, undefined, good)).code, "ok");
  });

  test("a session that is over, was ended, was changed, or stands beside something else counts for nothing", async (t) => {
    const time = { now: Date.now() };
    const world = await startWorld(t, { now: () => time.now });
    const callers = await callersOf(world.ca);
    const cookie = world.sessions.begin(operator("ada"));
    const who = async (given: Readonly<Record<string, string>>, as?: (typeof callers)[string]) => {
      const { code, message } = await world.call("WhoAmI", {}, as, undefined, given);
      return `${code} ${message}`;
    };
    const good = fromPage(world, cookie);
    assert.equal(await who(good), "ok ");
    const text = kept(cookie);
    for (const changed of [
      `${text}A`,
      text.slice(0, -4),
      text.replace(/=.{8}/, "=AAAAAAAA"),
      "__Host-claviger=",
      "__Host-claviger=AQ",
    ])
      assert.match(
        await who({ ...good, cookie: changed }),
        /^unauthenticated the session is over: log in again/,
        changed,
      );
    assert.match(await who({ ...good, cookie: `${text}; ${text}` }), /^unauthenticated/, "two of them are none");
    assert.match(
      await who(good, callers["viewer"]),
      /^unauthenticated the call comes with a client certificate and a session/,
    );
    // What was sealed for another use.
    const other = createSeal<object>(Buffer.alloc(32, 7), "login").seal({ operator: "oidc:corp:ada" }, time.now + hour);
    assert.match(await who({ ...good, cookie: `__Host-claviger=${other}` }), /^unauthenticated/);
    // Out of the configuration.
    const vera = world.sessions.begin(operator("vera"));
    world.dismiss("vera");
    assert.match(await who(fromPage(world, vera)), /^permission_denied operator oidc:corp:vera has no role any more/);
    // Over: at the end of the token that it began with, and at the latest after its own time.
    const short = world.sessions.begin(operator("ada", { until: time.now + 60_000 }));
    const long = world.sessions.begin(operator("ada", { until: time.now + 24 * hour }));
    assert.match(long, /^__Host-claviger=[\w-]+; Path=\/; Secure; HttpOnly; SameSite=Strict; Max-Age=3600$/);
    time.now += 60_000;
    assert.match(await who(fromPage(world, short)), /^unauthenticated/);
    assert.equal(await who(fromPage(world, long)), "ok ");
    time.now += hour;
    assert.match(await who(fromPage(world, long)), /^unauthenticated/);
  });

  test("a stream ends with its session", async (t) => {
    const world = await startWorld(t);
    const cookie = world.sessions.begin(operator("ada", { until: Date.now() + 2000 }));
    const stream = world.open("WatchEvents", {}, undefined, fromPage(world, cookie));
    assert.ok((await stream.next()) !== undefined);
    while ((await stream.next()) !== undefined);
    const { code } = await stream.end;
    assert.equal(code, "unauthenticated");
  });

  test("a logout ends the session for every replica, and a page of another origin can cause none", async (t) => {
    const world = await startWorld(t);
    const cookie = world.sessions.begin(operator("ada"));
    const good = fromPage(world, cookie);
    for (const given of [
      { ...good, origin: "https://evil.test" },
      { cookie: kept(cookie) },
      { cookie: kept(cookie), origin: world.url },
    ]) {
      const { status } = await world.page("POST", "/console/logout", given);
      assert.equal(status, 403);
    }
    assert.equal((await world.call("WhoAmI", {}, undefined, undefined, good)).code, "ok");
    const out = await world.page("POST", "/console/logout", good);
    assert.equal(out.status, 204);
    assert.match(String(out.headers["set-cookie"]), /^__Host-claviger=; .*Max-Age=0/);
    const { method, outcome, operator: name } = world.records.at(-1) ?? {};
    assert.deepEqual([method, outcome, name], ["consoleLogout", "ok", "oidc:corp:ada"]);
    assert.equal((await world.call("WhoAmI", {}, undefined, undefined, good)).code, "unauthenticated");
    assert.equal([...world.redis.entries.keys()].filter((key) => key.startsWith("console-ended:")).length, 1);
  });

  test("a login goes to the issuer and back, in the browser that began it, once", async (t) => {
    const begun = { verifier: "v", state: "s", nonce: "n" };
    const { "admin by token": token = "" } = await goodTokens();
    const seen: string[] = [];
    const world = await startWorld(t, {
      flow: {
        begin: () => Promise.resolve({ url: "https://issuer.test/authorize?state=s", begun }),
        finish: (callback, given) => {
          assert.deepEqual(given, begun);
          seen.push(callback.href);
          return Promise.resolve(token);
        },
      },
    });
    const start = await world.page("GET", "/console/login");
    assert.deepEqual([start.status, start.headers.location], [303, "https://issuer.test/authorize?state=s"]);
    const [login = ""] = start.headers["set-cookie"] ?? [];
    assert.match(login, /^__Host-claviger-login=[\w-]+; Path=\/; Secure; HttpOnly; SameSite=Lax; Max-Age=600$/);
    const stranger = await world.page("GET", "/console/callback?code=c&state=s");
    assert.deepEqual([stranger.status, /has not begun with a login/.test(stranger.text), seen], [401, true, []]);
    assert.deepEqual([world.records.at(-1)?.method, world.records.at(-1)?.outcome], ["consoleLogin", "denied"]);
    const back = await world.page("GET", "/console/callback?code=c&state=s", { cookie: kept(login) });
    assert.deepEqual([back.status, back.headers.location], [303, "/"], back.text);
    assert.deepEqual(seen, ["https://console.test/console/callback?code=c&state=s"]);
    const [session = "", forget = ""] = back.headers["set-cookie"] ?? [];
    assert.match(forget, /^__Host-claviger-login=; .*Max-Age=0/);
    assert.ok(!back.headers["set-cookie"]?.join("").includes(token), "no token reaches the browser");
    assert.equal(world.records.at(-1)?.outcome, "ok");
    const who = await world.call("WhoAmI", {}, undefined, undefined, fromPage(world, session));
    assert.match(String(who.json["identity"]), /^oidc:corp:/);
    const access = await world.page("GET", "/console/access");
    assert.deepEqual(JSON.parse(access.text), { by: "browser", login: "/console/login", logout: "/console/logout" });
  });

  test("browsers' reports are lines of the log, and few", async (t) => {
    const world = await startWorld(t);
    const report = {
      "csp-report": {
        "effective-directive": "script-src",
        "blocked-uri": "https://evil.test/\u001b[2J",
        "document-uri": world.url,
      },
    };
    for (let i = 0; i < 15; i += 1)
      await world.page(
        "POST",
        "/console/csp-report",
        { "content-type": "application/csp-report" },
        JSON.stringify(report),
      );
    const lines = world.log.filter(({ event }) => event === "console-policy");
    assert.equal(lines.length, 10);
    assert.deepEqual([lines[0]?.["directive"], lines[0]?.["blocked"]], ["script-src", "https://evil.test/?[2J"]);
    const long = await world.page(
      "POST",
      "/console/csp-report",
      { "content-type": "application/csp-report" },
      "x".repeat(20_000),
    );
    assert.equal(long.status, 413);
    const modern = [
      { type: "csp-violation", body: { effectiveDirective: "img-src", blockedURL: "x", documentURL: "y" } },
      { type: "deprecation" },
    ];
    assert.deepEqual(violationsOf(Buffer.from(JSON.stringify(modern))), [
      { directive: "img-src", blocked: "x", page: "y" },
    ]);
    for (const junk of ["", "[]", "null", "7", '{"csp-report":7}'])
      assert.ok(violationsOf(Buffer.from(junk)).length <= 1);
  });

  test("the files of a console are read as they are, and what is none is refused", (t) => {
    const dir = mkdtempSync(join(tmpdir(), "assets-"));
    t.after(() => rmSync(dir, { recursive: true }));
    assert.equal(readAssets(join(dir, "nowhere")), undefined);
    assert.throws(() => readAssets(dir), /is no console/);
    mkdirSync(join(dir, "assets"));
    writeFileSync(join(dir, "index.html"), "<!doctype html>");
    writeFileSync(join(dir, "assets", "main-0123ABCD.js"), "x;".repeat(1000));
    writeFileSync(join(dir, "assets", "main.exe"), "no");
    const assets = readAssets(dir);
    assert.deepEqual([...(assets ?? new Map<string, unknown>()).keys()].toSorted(), [
      "/assets/main-0123ABCD.js",
      "/index.html",
    ]);
    const script = assets?.get("/assets/main-0123ABCD.js");
    assert.deepEqual(
      [script?.isImmutable, script?.gzip !== undefined, assets?.get("/index.html")?.gzip],
      [true, true, undefined],
    );
  });

  test("cookies and seals say nothing that they were not given", () => {
    assert.equal(cookieOf("a=1; __Host-claviger=x=y ; b=2", "__Host-claviger"), "x=y");
    for (const none of [undefined, "", "__Host-claviger-login=x", "a=__Host-claviger=x; x__Host-claviger=y"])
      assert.equal(cookieOf(none, "__Host-claviger"), undefined);
    const seal = createSeal<string>(Buffer.alloc(32, 1), "session");
    const sealed = seal.seal("a secret", Date.now() + hour);
    assert.equal(seal.open(sealed), "a secret");
    assert.ok(!Buffer.from(sealed, "base64url").toString("latin1").includes("secret"));
    assert.notEqual(seal.seal("a secret", Date.now() + hour), sealed);
    assert.equal(createSeal<string>(Buffer.alloc(32, 2), "session").open(sealed), undefined);
    assert.equal(createSeal<string>(Buffer.alloc(32, 1), "login").open(sealed), undefined);
    assert.equal(seal.open(seal.seal("late", Date.now() - 1)), undefined);
  });

  test("a login needs an issuer that there is, and an address", () => {
    const login = { issuer: "corp", scopes: [], lifetime: hour } as never;
    assert.deepEqual(consoleProblems({ enabled: true, login, url: "https://x:1" }, ["corp"]), []);
    assert.deepEqual(consoleProblems({ enabled: true }, []), []);
    assert.equal(consoleProblems({ enabled: true, login }, ["other"]).length, 2);
  });
});
