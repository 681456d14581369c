// What the loopback proxy of `claviger console` lets through, and whose program has connected.
import assert from "node:assert/strict";
import { test } from "node:test";
import { uidOf } from "../../../../gateway/cli/src/console/peer.ts";
import { judge } from "../../../../gateway/cli/src/console/proxy.ts";
import { createTicket } from "../../../../gateway/cli/src/console/ticket.ts";

const port = 40_123;
const origin = `http://127.0.0.1:${port}`;
const call = "/claviger.fleet.v1.FleetService/ListClusters";

function world() {
  const ticket = createTicket(port);
  const cookie = ticket.cookie.split(";")[0] ?? "";
  const host = `127.0.0.1:${port}`;
  const ask = (
    method: string,
    url: string,
    headers: Readonly<Record<string, string>> = {},
    user: number | undefined = 1000,
  ) => {
    const verdict = judge({ method, url, headers: { host, ...headers } }, ticket, { port, user, own: 1000 });
    return verdict.kind === "refuse" ? verdict.status : verdict.kind;
  };
  const page = {
    cookie,
    origin,
    "sec-fetch-site": "same-origin",
    "connect-protocol-version": "1",
    "content-length": "2",
  };
  return { ticket, cookie, ask, page };
}

test("a link opens the console once, and no other link does", () => {
  const { ticket, ask } = world();
  assert.match(ticket.path, /^\/open\/[\w-]{43}$/);
  assert.match(ticket.cookie, /^claviger-console-40123=[\w-]{43}; Path=\/; HttpOnly; SameSite=Strict$/);
  assert.equal(ask("GET", "/open/nothing"), 404);
  assert.equal(ask("GET", createTicket(port).path), 404, "another console's");
  assert.equal(ask("HEAD", ticket.path), 401, "a look at it does not use it");
  assert.equal(ask("GET", ticket.path, {}, 1001), 403, "another user's program does not use it");
  assert.equal(ask("GET", ticket.path), "open");
  assert.equal(ask("GET", ticket.path), 410);
});

test("pages and calls pass for the browser that has opened the link, and for nobody else", () => {
  const { cookie, ask, page } = world();
  assert.equal(ask("GET", "/", { cookie }), "pass");
  assert.equal(ask("GET", "/assets/main-ABCD1234.js", { cookie, "sec-fetch-site": "same-origin" }), "pass");
  assert.equal(ask("HEAD", "/", { cookie, "sec-fetch-site": "none" }), "pass");
  assert.equal(ask("GET", "/console/access", { cookie }), "access");
  assert.equal(ask("POST", call, page), "pass");
  assert.equal(ask("POST", "/console/csp-report", { cookie, origin, "content-length": "9" }), "pass");
  assert.equal(ask("POST", call, page, 0), "pass", "root may do that in any case");
  assert.equal(ask("POST", call, page, undefined), "pass", "where nobody can say who it is, the cookie does");
  const others: readonly (readonly [
    status: number,
    method: string,
    url: string,
    headers: Readonly<Record<string, string>>,
    user?: number,
  ])[] = [
    [401, "GET", "/", {}],
    [401, "GET", "/", { cookie: `${cookie}x` }],
    [401, "GET", "/", { cookie: cookie.replace("=", "=x") }],
    [401, "POST", call, { ...page, cookie: "claviger-console-40123=" }],
    [403, "POST", call, page, 1001],
    [421, "GET", "/", { cookie, host: `localhost:${port}` }],
    [421, "GET", "/", { cookie, host: `evil.test:${port}` }],
    [421, "POST", call, { ...page, host: "127.0.0.1" }],
    [403, "POST", call, { ...page, origin: "https://evil.test" }],
    [403, "POST", call, { ...page, origin: "null" }],
    [403, "POST", call, { ...page, origin: `http://127.0.0.1:${port + 1}` }],
    [403, "POST", call, { ...page, "sec-fetch-site": "cross-site" }],
    [403, "POST", call, { ...page, "sec-fetch-site": "same-site" }],
    [403, "GET", "/", { cookie, "sec-fetch-site": "cross-site" }],
  ];
  for (const [status, method, url, headers, user] of others)
    assert.equal(ask(method, url, headers, user), status, JSON.stringify([url, headers]));
});

test("only calls of FleetService and pages pass", () => {
  const { cookie, ask, page } = world();
  const { origin: _, ...withoutOrigin } = page;
  const { "connect-protocol-version": __, ...withoutVersion } = page;
  const { "content-length": ___, ...withoutLength } = page;
  const wrong: readonly (readonly [
    status: number,
    method: string,
    url: string,
    headers: Readonly<Record<string, string>>,
  ])[] = [
    [403, "POST", call, withoutOrigin],
    [403, "POST", call, withoutVersion],
    [413, "POST", call, withoutLength],
    [413, "POST", call, { ...page, "content-length": "65537" }],
    [405, "POST", "/claviger.fleet.v1.FleetService/Nothing", page],
    [405, "POST", `${call}/`, page],
    [405, "POST", call.replace("F", "%46"), page],
    [405, "POST", `/${call}`, page],
    [405, "POST", "/", page],
    [405, "PUT", call, page],
    [405, "DELETE", "/", page],
    [405, "CONNECT", "fleet:443", page],
    [405, "OPTIONS", call, page],
    [404, "GET", "/console/login", { cookie }],
    [404, "GET", "/console/callback?code=x", { cookie }],
  ];
  for (const [status, method, url, headers] of wrong)
    assert.equal(ask(method, url, headers), status, `${method} ${url}`);
});

test("the system says whose program a connection of this machine is", () => {
  const table = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:9CBB 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0 100 0 0 10 0
   1: 0100007F:C001 0100007F:9CBB 01 00000000:00000000 00:00000000 00000000  1001        0 2 1 0 20 4 30 10 -1
   2: 0100007F:9CBB 0100007F:C001 01 00000000:00000000 00:00000000 00000000  1000        0 3 1 0 20 4 30 10 -1
`;
  assert.equal(uidOf(table, 0xc001, 0x9cbb), 1001);
  assert.equal(uidOf(table, 0x9cbb, 0xc001), 1000);
  assert.equal(uidOf(table, 0xc002, 0x9cbb), undefined);
  assert.equal(uidOf("", 1, 2), undefined);
});
