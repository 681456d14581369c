// Operators by OpenID Connect: what is said of each token that is refused, how long keys count, and how they are
// found. (docs/architecture.md #control-plane.)
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:https";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { suite, test, type TestContext } from "node:test";
import * as fc from "fast-check";
import { createCa, issueGateway } from "@claviger/gateway-core/src/pki/authority.ts";
import { checkConfig, ConfigError } from "@claviger/proto/runtime/config.ts";
import { issuerName } from "@claviger/proto/wire/names.ts";
import {
  type IssuerConfig,
  type OidcConfig,
  oidcProblems,
  oidcSchema,
} from "../../../../gateway/fleet/src/oidc/config.ts";
import { createDiscovery } from "../../../../gateway/fleet/src/oidc/discovery.ts";
import { createTokenOperators } from "../../../../gateway/fleet/src/oidc/operators.ts";
import { Refusal } from "../../../../gateway/fleet/src/refusal.ts";
import { audience, badTokens, type Claims, claimsOf, ec, goodTokens, issuerUrl, keySet, rsa, sign } from "./issuer.ts";
import { pemOf, startWorld, tokenCallersOf } from "./world.ts";

const minute = 60_000;

function settings(others: object = {}): IssuerConfig {
  const one = { issuer: issuerUrl, audience, operators: { ada: { role: "admin" } }, ...others };
  const parsed = checkConfig("test", { corp: one }, oidcSchema)[issuerName.parse("corp")];
  assert.ok(parsed !== undefined);
  return parsed;
}

/** Operators of one issuer, with a clock and keys of the test's own. */
function operatorsOf(t: TestContext, others: object = {}, failure?: Error) {
  const oidc: OidcConfig = { [issuerName.parse("corp")]: settings(others) };
  const issuer = { keys: keySet(rsa) as unknown, reads: 0, failure, skew: 0, oidc };
  const failed: string[] = [];
  const start = performance.now();
  t.mock.method(performance, "now", () => start + issuer.skew);
  const operator = createTokenOperators({
    oidc: () => issuer.oidc,
    discover: () => async () => {
      issuer.reads += 1;
      await Promise.resolve();
      if (issuer.failure !== undefined) throw issuer.failure;
      return issuer.keys;
    },
    onFailure: (name, error) => failed.push(`${name}: ${(error as Error).message}`),
    now: () => Date.now() + issuer.skew,
  });
  const until = (skew: number, claims: Claims = {}) =>
    claimsOf("ada", {
      iat: Math.floor((Date.now() + skew) / 1000),
      exp: Math.floor((Date.now() + skew) / 1000) + 60,
      ...claims,
    });
  return { issuer, failed, operator, until };
}

async function refusalOf(promise: Promise<unknown>): Promise<Refusal> {
  const error: unknown = await promise.then(
    () => assert.fail("it was let in"),
    (thrown: unknown) => thrown,
  );
  assert.ok(error instanceof Refusal, String(error));
  return error;
}

/** What each bad token is told. */
const said: Readonly<Record<string, RegExp>> = {
  "token of somebody without a role": /^operator oidc:corp:zoe has no role; see 'oidc\.corp' in fleet\.yaml$/,
  "token for another audience": /^the token is not for the audience claviger$/,
  "token of another issuer": /^the token is of an issuer that 'oidc' in fleet\.yaml does not have$/,
  "token of a foreign issuer in this one's name": /^the token's signature is wrong$/,
  "token that has expired": /^the token has expired; get another$/,
  "token that is not valid yet": /^the token is not valid yet \(nbf\); do the clocks differ\?$/,
  "token that will be issued": /^the token is not valid yet \(iat\)/,
  "token that lives too long": /^the token has been issued too long ago; get another$/,
  "token without a signature": /^the token is signed by an algorithm that 'algorithms' in fleet\.yaml does not list$/,
  "token without a signature, in other letters": /^the token is signed by an algorithm/,
  "token signed with the public key as a secret": /^the token is signed by an algorithm/,
  "token signed with the public key as a secret, as it is published": /^the token is signed by an algorithm/,
  "token under the name of another key": /^the token is signed by none of the keys of the issuer https:/,
  "token of an algorithm that is not listed": /^the token is signed by an algorithm/,
  "token under a key that nobody publishes": /^the token is signed by none of the keys of the issuer/,
  "token with a key of its own": /^the token's signature is wrong$/,
  "token that was altered": /^the token's signature is wrong$/,
  "token without an expiry": /^the token has no claim exp$/,
  "token without a time of issue": /^the token has no claim iat$/,
  "token without a name": /^the token has no claim sub$/,
  "token whose name is a list": /^the token's claim sub is no text$/,
  "token whose name has a line break": /^the token's claim sub must be 1 to 256 characters that can be seen/,
  "token whose groups are a mapping": /^the token's claim groups is no list of texts$/,
  "token of a logout": /^the token is for another use \(typ\)$/,
  "token that needs what nobody knows": /^the token is no signed JWT$/,
  "token of a type that is no text": /^the token is for another use \(typ\)$/,
  "token that names its key by a number": /^the token is signed by none of the keys/,
  "no token at all": /^the token is no signed JWT$/,
};

suite("operators by OpenID Connect", () => {
  test("each token that counts for nothing is told why, and none of it stands in the answer or in the record", async (t) => {
    const world = await startWorld(t);
    const bad = await badTokens();
    assert.deepEqual(Object.keys(said).toSorted(), Object.keys(bad).toSorted());
    for (const [name, token] of Object.entries(bad)) {
      const { code, message } = await world.call("WhoAmI", {}, { token });
      assert.equal(code, name === "token of somebody without a role" ? "permission_denied" : "unauthenticated", name);
      assert.match(message, said[name] ?? /^$/, name);
      const record = world.records.at(-1);
      assert.equal(record?.outcome, "denied", name);
      assert.equal(record.cause, message);
      for (const part of token.split(".").filter((piece) => piece.length > 15))
        assert.ok(!JSON.stringify([message, record]).includes(part), name);
    }
    assert.equal(world.records.length, Object.keys(bad).length);
  });

  test("a certificate beside a token is refused, and so is a header of another form", async (t) => {
    const world = await startWorld(t);
    const callers = await tokenCallersOf(world.ca);
    for (const name of ["admin with a certificate and a token", "node with a token"]) {
      const { code, message } = await world.call("ListClusters", {}, callers[name]);
      assert.deepEqual([code, message.includes("show one of the two")], ["unauthenticated", true], name);
    }
    for (const token of ["", "a b", "a, Bearer b", "ä"]) {
      const { code, message } = await world.call("ListClusters", {}, { token });
      assert.equal(code, "unauthenticated");
      assert.equal(message, "authorization: must be Bearer and a token");
    }
  });

  test("WhoAmI says who, with which role, for which clusters and for how long", async (t) => {
    const world = await startWorld(t);
    const tokens = await goodTokens();
    const who = async (name: string) => (await world.call("WhoAmI", {}, { token: tokens[name] ?? "" })).json;
    const { expiresAt, ...admin } = await who("admin by token");
    assert.deepEqual(admin, { identity: "oidc:corp:ada", role: "admin" });
    const left = Date.parse(String(expiresAt)) - Date.now();
    assert.ok(left > 4 * minute && left <= 5 * minute, String(expiresAt));
    const of = async (name: string) => {
      const { identity, role, clusters } = await who(name);
      return [identity, role, clusters ?? ""];
    };
    assert.deepEqual(await of("operator of blue by token"), ["oidc:corp:bob", "operator", "team=blue"]);
    assert.deepEqual(await of("admin by token of a group"), ["oidc:corp:gina", "admin", ""]);
    assert.deepEqual(await of("operator of blue by token of two groups"), ["oidc:corp:greg", "operator", "team=blue"]);
    assert.deepEqual(await of("viewer by token with a group of admins"), ["oidc:corp:vera", "viewer", ""]);
    assert.equal(world.records.at(-1)?.operator, "oidc:corp:vera");
  });

  test("a role of one group is not held for the clusters of another", async (t) => {
    const blue = { matchLabels: { team: "blue" } };
    const { operator } = operatorsOf(t, {
      groups: {
        seers: { role: "viewer" },
        blues: { role: "admin", clusters: blue },
        reds: { role: "admin", clusters: { matchLabels: { team: "red" } } },
      },
    });
    const greg = (groups: readonly string[]) => sign(claimsOf("greg", { groups })).then(operator);
    const one = await greg(["seers", "blues"]);
    assert.deepEqual([one.role, one.clusters], ["admin", "team=blue"]);
    assert.deepEqual([one.mayTouch({ labels: { team: "blue" } }), one.mayTouch({ labels: {} })], [true, false]);
    const two = await greg(["reds", "blues", "seers"]);
    assert.equal(two.clusters, "team=red or team=blue");
    assert.deepEqual(
      ["red", "blue", "green"].map((team) => two.mayTouch({ labels: { team } })),
      [true, true, false],
    );
  });

  test("nothing is remembered past a token's end", async (t) => {
    const { issuer, operator, until } = operatorsOf(t);
    const token = await sign(until(0));
    const { until: end } = await operator(token);
    assert.ok(end <= Date.now() + minute);
    issuer.skew = 69_000;
    assert.equal((await operator(token)).operator, "oidc:corp:ada", "clocks may differ by ten seconds");
    issuer.skew = 71_000;
    assert.match((await refusalOf(operator(token))).message, /has expired/);
  });

  test("many tokens at once read the keys once", async (t) => {
    const { issuer, operator } = operatorsOf(t);
    const token = await sign(claimsOf("ada"));
    await Promise.all(Array.from({ length: 50 }, () => operator(token)));
    assert.equal(issuer.reads, 1);
  });

  test("a key that is new at the issuer is read at once, and then not again for ten seconds", async (t) => {
    const { issuer, operator, until } = operatorsOf(t);
    await operator(await sign(claimsOf("ada")));
    issuer.skew = 11_000;
    issuer.keys = keySet(rsa, ec);
    const token = await sign(until(issuer.skew), ec);
    await Promise.all(Array.from({ length: 20 }, () => operator(token)));
    assert.equal(issuer.reads, 2);
    const unknown = await sign(until(issuer.skew), rsa, { kid: "other" });
    for (const attempt of [1, 2, 3])
      assert.match((await refusalOf(operator(unknown))).message, /none of the keys/, `attempt ${attempt}`);
    assert.equal(issuer.reads, 2);
    issuer.skew += 10_000;
    assert.equal((await refusalOf(operator(unknown))).code, "unauthenticated");
    assert.equal(issuer.reads, 3);
  });

  test("a key that the issuer has withdrawn counts for five minutes at most", async (t) => {
    const { issuer, operator, until } = operatorsOf(t);
    await operator(await sign(claimsOf("ada")));
    issuer.keys = keySet(ec);
    issuer.skew = 5 * minute - 1000;
    await operator(await sign(until(issuer.skew)));
    issuer.skew += 1001;
    assert.match((await refusalOf(operator(await sign(until(issuer.skew))))).message, /none of the keys/);
  });

  test("while the issuer is away known keys go on for an hour, and new ones are refused as unavailable", async (t) => {
    const { issuer, failed, operator, until } = operatorsOf(t);
    await operator(await sign(claimsOf("ada")));
    issuer.failure = new Error("https://issuer.test cannot be reached (ECONNREFUSED)");
    for (const skew of [6 * minute, 30 * minute, 60 * minute - 1000]) {
      issuer.skew = skew;
      assert.equal((await operator(await sign(until(skew)))).role, "admin");
      const { code, message } = await refusalOf(operator(await sign(until(skew), ec)));
      assert.equal(code, "unavailable");
      assert.match(
        message,
        /the keys of the issuer https:\/\/issuer\.test cannot be read \(.*ECONNREFUSED\)+; try again/,
      );
    }
    assert.equal(failed.length, issuer.reads - 1);
    assert.match(failed[0] ?? "", /^corp: .*ECONNREFUSED/);
    issuer.skew = 60 * minute + 1;
    assert.equal((await refusalOf(operator(await sign(until(issuer.skew))))).code, "unavailable");
    issuer.failure = undefined;
    issuer.skew += 10_000;
    assert.equal((await operator(await sign(until(issuer.skew)))).role, "admin");
  });

  test("an issuer that was never reached lets nobody in, and is named before anybody comes", async (t) => {
    const { issuer, failed, operator, until } = operatorsOf(t, {}, new Error("away"));
    const token = await sign(until(0));
    const { code, message } = await refusalOf(operator(token));
    assert.deepEqual([code, /cannot be read \(away\); try again/.test(message)], ["unavailable", true]);
    assert.deepEqual([failed, issuer.reads], [["corp: away"], 1], "and not again for ten seconds");
    issuer.failure = undefined;
    assert.equal((await refusalOf(operator(token))).code, "unavailable");
    issuer.skew = 10_000;
    assert.equal((await operator(token)).role, "admin");
  });

  test("an address that is not verified names nobody, and one issuer may stand for two audiences", async (t) => {
    const { operator } = operatorsOf(t, { claims: { name: "email" }, operators: { "ada@x.test": { role: "viewer" } } });
    const ada = (verified: unknown) =>
      sign(claimsOf("1", { email: "ada@x.test", email_verified: verified })).then(operator);
    assert.equal((await ada(true)).operator, "oidc:corp:ada@x.test");
    for (const verified of [false, "false", 0])
      assert.match((await refusalOf(ada(verified))).message, /e-mail address is not verified/);

    const oidc = {
      [issuerName.parse("people")]: settings(),
      [issuerName.parse("pipelines")]: settings({ audience: "ci", operators: { ada: { role: "viewer" } } }),
    };
    const both = createTokenOperators({
      oidc: () => oidc,
      discover: () => () => Promise.resolve(keySet(rsa)),
      onFailure: () => {},
    });
    assert.equal((await both(await sign(claimsOf("ada", { aud: "ci" })))).operator, "oidc:pipelines:ada");
    assert.equal((await both(await sign(claimsOf("ada")))).operator, "oidc:people:ada");
  });

  test("other settings count at once, and leave the keys of the issuer as they were read", async (t) => {
    const { operator, issuer } = operatorsOf(t, { operators: { ada: { role: "admin" } } });
    const token = await sign(claimsOf("ada"));
    assert.equal((await operator(token)).role, "admin");
    const corp = issuerName.parse("corp");
    issuer.oidc = { [corp]: settings({ operators: { ada: { role: "viewer" } } }) };
    assert.equal((await operator(token)).role, "viewer");
    issuer.oidc = { [corp]: settings({ operators: { eve: { role: "viewer" } } }) };
    assert.match((await refusalOf(operator(token))).message, /has no role/);
    assert.equal(issuer.reads, 1);
    issuer.oidc = { [corp]: settings({ keepKeys: "10m", operators: { ada: { role: "operator" } } }) };
    assert.deepEqual([(await operator(token)).role, issuer.reads], ["operator", 2]);
  });

  test("whatever comes as a token, and whatever is changed in one, is refused in words", async (t) => {
    const { operator } = operatorsOf(t);
    const good = await sign(claimsOf("ada"));
    assert.equal((await operator(good)).operator, "oidc:corp:ada");
    const refused = async (token: string): Promise<void> => {
      const { code, message } = await refusalOf(operator(token));
      assert.ok(["unauthenticated", "unavailable"].includes(code), `${code}: ${message}`);
    };
    // Of the signature's last character some bits count for nothing.
    const place = fc.integer({ min: 0, max: good.length - 2 });
    const letter = fc.constantFrom(..."ABCXYZabcxyz0189-_.".split(""));
    await fc.assert(
      fc.asyncProperty(place, letter, async (at, one) => {
        fc.pre(good[at] !== one);
        await refused(good.slice(0, at) + one + good.slice(at + 1));
      }),
      { numRuns: 300 },
    );
    const part = fc.oneof(
      fc.string(),
      fc.json().map((json) => Buffer.from(json).toString("base64url")),
      fc.constantFrom(...good.split(".")),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(part, { maxLength: 5 }), async (parts) => {
        fc.pre(parts.join(".") !== good);
        await refused(parts.join("."));
      }),
      { numRuns: 300 },
    );
  });

  test("settings that would let in whom nobody meant are refused", () => {
    const wrong: readonly (readonly [object, RegExp])[] = [
      [{ issuer: "http://issuer.test" }, /issuer: must be an https:\/\/ URL/],
      [{ issuer: "https://issuer.test?x" }, /issuer: must be an https:\/\/ URL/],
      [{ algorithms: ["HS256"] }, /algorithms\.0: must be one of RS256/],
      [{ algorithms: ["none"] }, /algorithms\.0: must be one of RS256/],
      [{ algorithms: [] }, /must list at least one algorithm/],
      [{ operators: {}, groups: {} }, /must name somebody in operators or groups/],
      [{ audience: "" }, /audience: must be 1 to 256 characters/],
      [{ operators: { ada: { role: "root" } } }, /role: must be one of viewer, operator, admin/],
    ];
    for (const [others, why] of wrong)
      assert.throws(
        () => settings(others),
        (error) => error instanceof ConfigError && why.test(error.message),
        String(why),
      );
    const twice = { [issuerName.parse("a")]: settings(), [issuerName.parse("b")]: settings() };
    assert.deepEqual(oidcProblems(twice), ["oidc.b: has the issuer and the audience of oidc.a"]);
  });
});

suite("where the keys of an issuer are found", () => {
  /** A server that answers what the test says. */
  async function serve(t: TestContext) {
    const ca = await createCa({ trustDomain: "issuer.test" });
    const answers: Record<string, { readonly status?: number; readonly body: string; readonly location?: string }> = {};
    const server: Server = createServer(await pemOf(issueGateway({ ca, ips: ["127.0.0.1"] })), (request, reply) => {
      const { status = 200, body, location } = answers[request.url ?? ""] ?? { status: 404, body: "" };
      reply.writeHead(status, location === undefined ? {} : { location }).end(body);
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const dir = mkdtempSync(join(tmpdir(), "issuer-"));
    t.after(() => {
      server.close();
      rmSync(dir, { recursive: true });
    });
    const file = join(dir, "ca.pem");
    writeFileSync(file, ca.cert);
    const issuer = `https://127.0.0.1:${(server.address() as AddressInfo).port}/corp`;
    const found = (others: object = {}): string => JSON.stringify({ issuer, jwks_uri: `${issuer}/keys`, ...others });
    const metadata = "/corp/.well-known/openid-configuration";
    return { answers, issuer, ca: file, found, metadata, dir };
  }

  test("by its metadata, verified by its CA", async (t) => {
    const { answers, issuer, ca, found, metadata } = await serve(t);
    answers[metadata] = { body: found() };
    answers["/corp/keys"] = { body: JSON.stringify(keySet(rsa)) };
    assert.deepEqual(await createDiscovery({ issuer, ca })(), keySet(rsa));
    await assert.rejects(
      createDiscovery({ issuer, ca: undefined })(),
      /cannot be reached \(UNABLE_TO_VERIFY|SELF_SIGNED/,
    );
  });

  test("and nowhere else: what is wrong is said", async (t) => {
    const { answers, issuer, ca, found, metadata, dir } = await serve(t);
    const read = createDiscovery({ issuer, ca });
    await assert.rejects(read(), /openid-configuration answers with status 404/);
    const wrong: readonly (readonly [answer: { status?: number; body: string; location?: string }, why: RegExp])[] = [
      [{ body: "<html>" }, /answers with no JSON/],
      [{ body: "{}" }, /names no issuer, or no https:\/\/ address of its keys/],
      [{ body: found({ issuer: "https://elsewhere.test" }) }, /is of another issuer than/],
      [{ body: found({ jwks_uri: "http://elsewhere.test/keys" }) }, /no https:\/\/ address of its keys/],
      [{ body: found({ jwks_uri: "file:///etc/passwd" }) }, /no https:\/\/ address of its keys/],
      [{ status: 302, body: "", location: `${issuer}/elsewhere` }, /answers with status 302/],
      [{ body: found({ more: "x".repeat(300_000) }) }, /is too long/],
    ];
    answers["/corp/elsewhere"] = { body: found() };
    answers["/corp/keys"] = { body: JSON.stringify(keySet(rsa)) };
    for (const [answer, why] of wrong) {
      answers[metadata] = answer;
      await assert.rejects(read(), why);
    }
    await assert.rejects(createDiscovery({ issuer, ca: join(dir, "none") })(), /none cannot be read \(ENOENT/);
  });
});
