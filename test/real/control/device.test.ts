// Logins at an issuer with what OpenBao has not: the device code grant, sessions that are renewed and ended, and
// access tokens for an audience. (docs/architecture.md #control-plane.)
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { after, before, suite, test } from "node:test";
import { createPki, type Pki, writeRegistry } from "../../lab/fleet.ts";
import { type LabFleetService, startFleetService } from "../../lab/fleet-service.ts";
import { fillIn, type LabProvider, startProvider } from "../../lab/oidc-provider.ts";
import { createProcessGroup, type ProcessGroup, until } from "../../lab/process-group.ts";
import { claviger, type CliResult } from "../cli/claviger.ts";

const main = join(import.meta.dirname, "..", "..", "..", "gateway", "cli", "src", "main.ts");

suite("operators log in at an issuer with device codes", () => {
  let dir: string;
  let processes: ProcessGroup;
  let pki: Pki;
  let provider: LabProvider;
  let fleet: LabFleetService;
  let config: string;
  let tokenSeconds = 600;

  before(async () => {
    dir = await mkdtemp(join(tmpdir(), "claviger-"));
    processes = createProcessGroup(dir);
    pki = await createPki(dir);
    provider = await startProvider(await pki.gateway("issuer"), () => tokenSeconds);
    const { issuer, clientId, resource } = provider;
    const one = (audience: string) => ({ issuer, audience, ca: pki.ca, operators: { ada: { role: "admin" } } });
    fleet = await startFleetService({
      processes,
      dir,
      pki,
      settings: {
        gateways: ["https://gateway.test:8443"],
        registry: { kind: "file", file: writeRegistry(dir, [{ name: "cluster-1", key: "cluster-1" }]) },
        oidc: { people: one(clientId), api: one(resource) },
      },
    });
    config = join(dir, "contexts.yaml");
    const contextOf = (oidc: object) => ({
      fleet: { url: fleet.url, ca: pki.ca, oidc: { issuer, clientId, ca: pki.ca, ...oidc } },
    });
    const contexts = {
      once: contextOf({}),
      renewed: contextOf({ scopes: ["offline_access"] }),
      api: contextOf({ audience: resource }),
      opaque: contextOf({ audience: "fleet" }),
    };
    writeFileSync(config, JSON.stringify({ current: "once", contexts }));
  });
  after(async () => {
    provider.close();
    await processes.stopAll();
    await rm(dir, { recursive: true, force: true });
  });

  const homeOf = (name: string): string => {
    const home = join(dir, name);
    mkdirSync(home, { recursive: true });
    return home;
  };
  const at = (context: string, ...args: readonly string[]): Promise<CliResult> =>
    claviger([...args, "--config", config, "--context", context], { HOME: homeOf(context) });

  /** Runs a login, and does what it says on the way. */
  async function login(context: string, args: readonly string[], onLine: (line: string) => void): Promise<CliResult> {
    const child = spawn(process.execPath, [main, "login", ...args, "--config", config, "--context", context], {
      env: { PATH: process.env["PATH"], HOME: homeOf(context) },
      stdio: ["ignore", "pipe", "pipe"],
    });
    const lines: string[] = [];
    createInterface(child.stderr).on("line", (line) => {
      lines.push(line);
      onLine(line);
    });
    const status = await new Promise<number | null>((resolve) => child.once("close", resolve));
    return { status, out: "", err: lines.join("\n") };
  }
  const byDevice = async (context: string, user: string): Promise<CliResult> => {
    const pages: Promise<string>[] = [];
    const ended = await login(context, ["--device"], (line) => {
      const page = /or open (https:\S+) and compare/.exec(line)?.[1];
      if (page !== undefined) pages.push(fillIn(page, user, pki.ca));
    });
    assert.match((await Promise.all(pages)).join(""), /Sign-in Success/);
    return ended;
  };
  const fileOf = (context: string): string => {
    const tokens = join(dir, context, ".config", "claviger", "tokens");
    const [name, ...others] = readdirSync(tokens);
    assert.ok(name !== undefined && others.length === 0, String(others));
    return join(tokens, name);
  };
  type Stored = { readonly token: string; readonly expiresAt: number; readonly refreshToken?: string };
  const storedAt = (context: string): Stored => JSON.parse(readFileSync(fileOf(context), "utf8")) as Stored;
  /** As it is some time before the token ends. */
  const age = (context: string, leftMs: number): void => {
    const times = { obtainedAt: Date.now() + leftMs - 600_000, expiresAt: Date.now() + leftMs };
    writeFileSync(fileOf(context), JSON.stringify({ ...storedAt(context), ...times }));
  };

  test("by a code that is entered elsewhere", async () => {
    const { status, err } = await byDevice("once", "ada");
    assert.equal(status, 0, err);
    assert.match(err, /enter the code [A-Z]{4}-[A-Z]{4}, or open https:\S+ and compare it\. This command waits\./);
    const who = await at("once", "whoami");
    assert.match(who.out, /oidc:people:ada\nrole +admin/, who.err);
    assert.equal(storedAt("once").refreshToken, undefined);
  });

  test("by a page that is printed, and what comes from somebody else does not end the login", async () => {
    const pages: Promise<unknown>[] = [];
    const { status, err } = await login("once", ["--no-browser"], (line) => {
      if (!line.startsWith("https:")) return;
      const back = new URL(line).searchParams.get("redirect_uri") ?? "";
      pages.push(
        (async () => {
          for (const [query, method] of [
            ["?state=other&code=1"],
            ["?error=access_denied"],
            ["?state=x", "POST"],
          ] as const)
            assert.equal((await fetch(`${back}${query}`, { method: method ?? "GET" })).status, 404);
          assert.match(await fillIn(line, "ada", pki.ca), /You are logged in\. This window can be closed\./);
        })(),
      );
    });
    await Promise.all(pages);
    assert.equal(status, 0, err);
    assert.match(err, /^Open this page:\nhttps:/);
  });

  test("somebody without a role is logged in, and may nothing", async () => {
    assert.equal((await byDevice("once", "eve")).status, 0);
    const { status, err } = await at("once", "whoami");
    assert.equal(status, 1);
    assert.match(err, /operator oidc:people:eve has no role; see 'oidc\.people'/);
  });

  test("an access token for an audience is shown where the context asks for one", async () => {
    assert.equal((await byDevice("api", "ada")).status, 0);
    const who = await at("api", "whoami");
    assert.match(who.out, /oidc:api:ada\nrole +admin/, who.err);
  });

  test("an issuer whose access tokens are none that the service could read is named", async () => {
    const { status, err } = await byDevice("opaque", "ada");
    assert.equal(status, 1);
    assert.match(err, /the access tokens of https:\S+ are no JWTs: take 'audience' out of the context/);
  });

  test("who says no at the issuer is not logged in", async () => {
    const pages: Promise<unknown>[] = [];
    const { status, err } = await login("api", ["--no-browser"], (line) => {
      if (!line.startsWith("https:")) return;
      const asked = new URL(line).searchParams;
      const back = new URL(asked.get("redirect_uri") ?? "");
      back.search = new URLSearchParams({
        error: "access_denied",
        state: asked.get("state") ?? "",
        iss: provider.issuer,
      }).toString();
      pages.push(fetch(back).then(async (reply) => assert.match(await reply.text(), /The login has failed/)));
    });
    await Promise.all(pages);
    assert.equal(status, 1);
    assert.match(err, /the issuer https:\S+ refuses \(access_denied\)$/);
  });

  test("a session is renewed before its token ends, once, however many commands need it", async () => {
    const { status, err } = await byDevice("renewed", "ada");
    assert.equal(status, 0, err);
    assert.match(err, /You are logged in at \S+ for as long as it renews the session/);
    const first = storedAt("renewed");
    assert.equal((await at("renewed", "whoami")).status, 0);
    assert.equal(provider.refreshes(), 0, "not while the token is good");
    age("renewed", 30_000);
    // A refresh token that is used twice ends the session at this issuer.
    const all = await Promise.all([1, 2, 3].map(() => at("renewed", "whoami")));
    for (const one of all) assert.equal(one.status, 0, one.err);
    assert.equal(provider.refreshes(), 1);
    const second = storedAt("renewed");
    assert.notEqual(second.token, first.token);
    assert.notEqual(second.refreshToken, first.refreshToken);
    assert.ok(second.expiresAt > Date.now() + 500_000);
    age("renewed", -1000);
    assert.equal((await at("renewed", "whoami")).status, 0, "and after it has ended, too");
    assert.equal(provider.refreshes(), 2);
  });

  test("who follows the fleet goes on with the next token when one ends", async () => {
    tokenSeconds = 15;
    age("renewed", -1000);
    const child = spawn(
      process.execPath,
      [main, "fleet", "watch", "-o", "json", "--config", config, "--context", "renewed"],
      {
        env: { PATH: process.env["PATH"], HOME: homeOf("renewed") },
        stdio: ["ignore", "pipe", "pipe"],
      },
    );
    const closed = new Promise((resolve) => child.once("close", resolve));
    const errors: string[] = [];
    createInterface(child.stderr).on("line", (line) => errors.push(line));
    const watched = () =>
      readFileSync(fleet.audit, "utf8")
        .split("\n")
        .filter((line) => line.includes('"method":"watchEvents"'))
        .map((line) => JSON.parse(line) as Readonly<Record<string, unknown>>);
    const before = provider.refreshes();
    try {
      await until("two tokens to be followed by a third", fleet.proc, () =>
        Promise.resolve(watched().filter(({ cause }) => cause === "begins").length >= 2 ? true : undefined),
      );
    } finally {
      tokenSeconds = 600;
      child.kill();
      await closed;
    }
    assert.deepEqual(errors, []);
    assert.ok(provider.refreshes() >= before + 2);
    const ends = watched().filter(({ cause }) => cause !== "begins");
    assert.deepEqual([ends[0]?.["outcome"], ends[0]?.["cause"]], ["denied", "the token has expired; get another"]);
  });

  test("logging out ends the session at the issuer", async () => {
    const file = fileOf("renewed");
    const copy = readFileSync(file, "utf8");
    const { status, err } = await at("renewed", "logout");
    assert.equal(status, 0, err);
    assert.match(
      err,
      /^You are logged out at \S+, and the session there is ended\. Copies of the token are good until/,
    );
    writeFileSync(file, copy, { mode: 0o600 });
    age("renewed", 30_000);
    const still = await at("renewed", "whoami");
    assert.equal(still.status, 0, "the token itself is good until it ends");
    age("renewed", -1000);
    const over = await at("renewed", "whoami");
    assert.equal(over.status, 1);
    assert.match(over.err, /the session at \S+ is over \(invalid_grant.*\): run 'claviger login'/);
  });
});
