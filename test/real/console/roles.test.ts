// What each role is offered by the pages, and what the service says to a page that asks for more all the same.
import assert from "node:assert/strict";
import { after, before, suite, test } from "node:test";
import type { Page } from "../../lab/chromium.ts";
import { type ConsoleSite, startConsoleSite, type Watched } from "./site.ts";

const pages = {
  active: { hash: "#/cluster/cluster-1", heading: "cluster-1" },
  suspended: { hash: "#/cluster/cluster-2", heading: "cluster-2" },
  node: { hash: "#/node/cluster-1/node-1", heading: "cluster-1/node-1" },
  changes: { hash: "#/changes", heading: "Changes and approvals" },
} as const;

/** `ada` has asked to resume cluster-2; `scope` is an operator of clusters with `team=blue`, which cluster-1 is. */
const offered: Readonly<Record<string, Readonly<Record<keyof typeof pages, readonly string[]>>>> = {
  vera: { active: [], suspended: [], node: [], changes: [] },
  olga: {
    active: ["Change labels", "Decrypt only", "Rotate", "Suspend"],
    suspended: ["Change labels", "Rotate"],
    node: ["Revoke"],
    changes: [],
  },
  scope: {
    active: ["Change labels", "Decrypt only", "Rotate", "Suspend"],
    suspended: [],
    node: ["Revoke"],
    changes: [],
  },
  ada: {
    active: ["Change labels", "Decrypt only", "Rotate", "Suspend"],
    suspended: ["Change labels", "Decrypt only", "Resume", "Rotate"],
    node: ["Revoke"],
    changes: ["Take back"],
  },
  anna: {
    active: ["Change labels", "Decrypt only", "Rotate", "Suspend"],
    suspended: ["Change labels", "Decrypt only", "Resume", "Rotate"],
    node: ["Revoke"],
    changes: ["Approve", "Reject"],
  },
};

const reason = "a test";
const own = { cluster: "cluster-1", node: "node-1", reason };
/** What a page of theirs asks for without a button, and the code that it gets. */
const refused: Readonly<Record<string, readonly (readonly [method: string, message: object, code: string])[]>> = {
  vera: [
    ["SetClusterState", { name: "cluster-1", state: "suspended", reason }, "permission_denied"],
    ["UpdateCluster", { name: "cluster-1", setLabels: { a: "b" }, reason }, "permission_denied"],
    ["RotateKey", { name: "cluster-1", reason }, "permission_denied"],
    ["RevokeNode", own, "permission_denied"],
    ["CreateNodeToken", own, "permission_denied"],
  ],
  olga: [
    ["SetClusterState", { name: "cluster-2", state: "active", reason }, "permission_denied"],
    ["SetClusterState", { name: "cluster-2", state: "decrypt-only", reason }, "permission_denied"],
    ["AllowNode", own, "permission_denied"],
    ["UnretireKey", { name: "cluster-1", fromVersion: 1, reason }, "permission_denied"],
    ["RemoveCluster", { name: "cluster-1", reason }, "permission_denied"],
  ],
  scope: [
    ["SetClusterState", { name: "cluster-2", state: "suspended", reason }, "not_found"],
    ["RevokeNode", { ...own, cluster: "cluster-2" }, "not_found"],
    ["GetCluster", { name: "cluster-2" }, "not_found"],
    ["RotateKey", { name: "cluster-2", reason }, "not_found"],
  ],
};

/** As a script of the page would. @returns the code of the answer */
async function ask(page: Page, method: string, message: object): Promise<string> {
  return await page.evaluate<string>(`fetch("/claviger.fleet.v1.FleetService/${method}", {
    method: "POST",
    headers: { "content-type": "application/json", "connect-protocol-version": "1" },
    body: ${JSON.stringify(JSON.stringify(message))},
  }).then((reply) => reply.json()).then(({ code }) => code ?? "ok")`);
}

suite("roles in the console", () => {
  let site: ConsoleSite;
  let approval: string;
  const consoles = new Map<string, Watched>();

  before(async () => {
    site = await startConsoleSite();
    site.ask();
    const run = async (wanted: number, ...args: readonly string[]): Promise<string> => {
      const [operator = "", ...rest] = args;
      const { status, out, err } = await site.run(operator, ...rest);
      assert.equal(status, wanted, err);
      return out;
    };
    await run(0, "ada", "cluster", "label", "cluster-1", "team=blue", "--reason", reason);
    await run(0, "olga", "cluster", "suspend", "cluster-2", "--reason", reason);
    await run(3, "ada", "cluster", "resume", "cluster-2", "--reason", reason);
    const [one] = JSON.parse(await run(0, "anna", "approvals", "list", "-o", "json")) as readonly { id: string }[];
    approval = one?.id ?? "";
    for (const operator of Object.keys(offered)) consoles.set(operator, await site.consoles.open(operator));
  });
  after(() => site.stop());

  const consoleOf = (operator: string): Watched => {
    const found = consoles.get(operator);
    assert.ok(found !== undefined);
    return found;
  };

  for (const [operator, table] of Object.entries(offered))
    test(`${operator} is offered what their role may do, and nothing else`, async () => {
      const { page, wrong } = consoleOf(operator);
      for (const [name, { hash, heading }] of Object.entries(pages)) {
        await page.evaluate(`location.hash = ${JSON.stringify(hash)}`);
        await page.getByRole("heading", { level: 1, name: heading, exact: true }).waitFor();
        const wanted = table[name as keyof typeof pages];
        for (const button of wanted)
          await page.getByRole("button").getByText(button, { exact: true }).first().waitFor();
        await page.getByText("Reading …").first().waitFor({ state: "detached" });
        const found = await page.getByRole("group", { name: "Actions" }).getByRole("button").allTextContents();
        assert.deepEqual(found.toSorted(), wanted, `${operator} at ${hash}`);
      }
      assert.deepEqual(wrong, []);
    });

  test("somebody who is for some clusters sees no other one, nor what waits for it", async () => {
    const { page } = consoleOf("scope");
    await page.evaluate("location.hash = '#/fleet'");
    await page.getByText("1 of 1 cluster").waitFor();
    await page.evaluate("location.hash = '#/changes'");
    await page.getByText("Nothing waits.").waitFor();
    await page.evaluate("location.hash = '#/cluster/cluster-2'");
    await page
      .getByText(/there is no cluster|not found|no such/i)
      .first()
      .waitFor();
    assert.equal(await page.getByText("node-2").count(), 0);
  });

  test("a page that asks for more all the same is refused, and nothing has changed", async () => {
    const before = site.registry();
    for (const [operator, calls] of Object.entries(refused))
      for (const [method, message, code] of [
        ...calls,
        ["ApproveChange", { id: approval }, operator === "scope" ? "" : "permission_denied"] as const,
      ]) {
        const found = await ask(consoleOf(operator).page, method, message);
        if (code === "") assert.notEqual(found, "ok");
        else assert.equal(found, code, `${operator} ${method}`);
      }
    assert.equal(await ask(consoleOf("ada").page, "ApproveChange", { id: approval }), "permission_denied", "her own");
    assert.equal(site.registry(), before);
  });

  test("a link that was opened, and what it has opened, are of no use to another browser", async () => {
    const { page, link } = consoleOf("ada");
    const context = await site.consoles.browser.newContext();
    const other = await context.newPage();
    assert.equal((await other.goto(link))?.status(), 410);
    assert.deepEqual(await context.cookies(), []);
    assert.equal((await other.goto(new URL("/", page.url()).href))?.status(), 401);
    assert.equal(await other.getByRole("heading", { name: "Attention" }).count(), 0);
    // A page that another program of this machine serves: the same site, and another origin.
    const [cookie] = await page.context().cookies();
    assert.deepEqual([cookie?.httpOnly, cookie?.sameSite], [true, "Strict"]);
    const elsewhere = await page.context().newPage();
    await elsewhere.route("http://127.0.0.1:1/", (route) => route.fulfill({ contentType: "text/html", body: "<p>hi" }));
    await elsewhere.goto("http://127.0.0.1:1/");
    const before = site.registry();
    const got = await elsewhere.evaluate<readonly string[]>(`(async () => {
      const target = ${JSON.stringify(new URL("/", page.url()).href)};
      const body = JSON.stringify({ name: "cluster-1", state: "suspended", reason: "of another origin" });
      const send = (path, init) => fetch(target + path, { credentials: "include", ...init })
        .then((reply) => reply.type + " " + reply.status, () => "nothing");
      const path = "claviger.fleet.v1.FleetService/SetClusterState";
      return [
        await send(path, { method: "POST", mode: "no-cors", headers: { "content-type": "text/plain" }, body }),
        await send(path, { method: "POST", headers: { "content-type": "application/json", "connect-protocol-version": "1" }, body }),
        await send("console/access", {}),
        document.cookie,
      ];
    })()`);
    assert.deepEqual(got, ["nothing", "nothing", "nothing", ""]);
    assert.equal(site.registry(), before);
    await elsewhere.close();
    await context.close();
  });
});
