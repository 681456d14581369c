// What a command believes of an issuer's answers, and what a browser at the loopback address is told.
import assert from "node:assert/strict";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { suite, test, type TestContext } from "node:test";
import { CliError } from "@claviger/cli/src/commander.ts";
import { openIssuer } from "@claviger/cli/src/oidc/issuer.ts";
import { openLoopback } from "@claviger/cli/src/oidc/loopback.ts";

/** An issuer with these answers beside its metadata. */
async function serve(t: TestContext, metadata: object, answers: Readonly<Record<string, object>> = {}) {
  const asked: string[] = [];
  const server = createServer((request, reply) => {
    const path = request.url ?? "";
    asked.push(`${request.method} ${path}`);
    const issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const answer = path.endsWith("/.well-known/openid-configuration")
      ? {
          issuer,
          authorization_endpoint: `${issuer}/authorize`,
          token_endpoint: `${issuer}/token`,
          jwks_uri: `${issuer}/keys`,
          response_types_supported: ["code"],
          ...metadata,
        }
      : answers[path];
    reply.writeHead(answer === undefined ? 404 : 200, { "content-type": "application/json" });
    reply.end(JSON.stringify(answer ?? {}));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => server.close());
  const issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return { asked, oidc: { issuer, clientId: "claviger", scopes: ["groups"] } };
}

function refusal(why: RegExp): (error: unknown) => boolean {
  return (error) => error instanceof CliError && why.test(error.message);
}

suite("an issuer, as a command sees it", () => {
  test("is asked for a code with PKCE, a state and a nonce, each time another one", async (t) => {
    const { oidc } = await serve(t, {});
    const issuer = await openIssuer(oidc);
    const seen = new Set<string>();
    for (const time of [1, 2]) {
      const { url } = await issuer.byCode("http://127.0.0.1:1/callback");
      const { searchParams: asked, origin, pathname } = new URL(url);
      assert.equal(`${origin}${pathname}`, `${oidc.issuer}/authorize`);
      assert.equal(asked.get("response_type"), "code");
      assert.equal(asked.get("code_challenge_method"), "S256");
      assert.equal(asked.get("scope"), "openid groups");
      assert.equal(asked.get("redirect_uri"), "http://127.0.0.1:1/callback");
      for (const name of ["code_challenge", "state", "nonce"]) {
        assert.match(asked.get(name) ?? "", /^[\w-]{43}$/, name);
        seen.add(asked.get(name) ?? "");
      }
      assert.equal(seen.size, time * 3);
    }
  });

  test("is not believed with another state, another issuer, or a token of somebody else", async (t) => {
    const claims = (others: object): string =>
      ["e30", Buffer.from(JSON.stringify({ sub: "ada", aud: "claviger", exp: 9e9, iat: 1, ...others })), "c2ln"]
        .map((part) => (typeof part === "string" ? part : part.toString("base64url")))
        .join(".");
    const answer: { token_type: string; access_token: string; id_token?: string } = {
      token_type: "bearer",
      access_token: "a",
    };
    const { oidc, asked } = await serve(t, {}, { "/token": answer });
    const issuer = await openIssuer(oidc);
    const { url, finish } = await issuer.byCode("http://127.0.0.1:1/callback");
    const state = new URL(url).searchParams.get("state") ?? "";
    const back = (query: string): URL => new URL(`http://127.0.0.1:1/callback?${query}`);
    await assert.rejects(finish(back("code=1&state=other")), refusal(/gives an answer that cannot be used/));
    await assert.rejects(finish(back(`code=1&state=${state}&iss=https://other.test`)), refusal(/cannot be used/));
    assert.ok(!asked.includes("POST /token"), "no code was exchanged");
    for (const others of [
      { iss: "https://other.test" },
      { iss: oidc.issuer, aud: "x" },
      { iss: oidc.issuer, nonce: "x" },
    ]) {
      answer.id_token = claims(others);
      await assert.rejects(finish(back(`code=1&state=${state}`)), refusal(/cannot be used/));
    }
    assert.equal(asked.filter((one) => one === "POST /token").length, 3);
  });

  test("opens no page but one of the web", async (t) => {
    for (const page of ["file:///etc/passwd", "http://issuer.test/authorize", "x-program:run"]) {
      const { oidc } = await serve(t, { authorization_endpoint: page });
      const issuer = await openIssuer(oidc);
      await assert.rejects(
        issuer.byCode("http://127.0.0.1:1/callback"),
        refusal(/names a page that is no https:\/\/|cannot be used/),
      );
    }
  });

  test("of another name than it was asked by is none", async (t) => {
    const { oidc } = await serve(t, { issuer: "https://other.test" });
    await assert.rejects(openIssuer(oidc), refusal(/gives an answer that cannot be used/));
  });
});

suite("the address that a browser comes back to", () => {
  test("takes one answer, with the state of the login, by its own name", async () => {
    const loopback = await openLoopback(0);
    const { redirectUri } = loopback;
    assert.match(redirectUri, /^http:\/\/127\.0\.0\.1:\d+\/callback$/);
    assert.equal((await fetch(redirectUri)).status, 503);
    const given: string[] = [];
    const taken = loopback.take(
      "ours",
      (url) => {
        given.push(url.search);
        return Promise.resolve("tokens");
      },
      60_000,
    );
    const port = new URL(redirectUri).port;
    assert.equal((await fetch(`${redirectUri}?state=theirs&code=1`)).status, 404);
    assert.equal((await fetch(`${redirectUri}?state=ours`, { method: "POST" })).status, 404);
    assert.equal((await fetch(`http://127.0.0.1:${port}/other?state=ours`)).status, 404);
    // A page elsewhere whose name leads here.
    assert.equal(
      (await fetch(`http://localhost:${port}/callback?state=ours`).catch(() => ({ status: 404 }))).status,
      404,
    );
    assert.deepEqual(given, []);
    const page = await fetch(`${redirectUri}?state=ours&code=2`);
    assert.equal(page.headers.get("content-security-policy"), "default-src 'none'");
    assert.match(await page.text(), /You are logged in/);
    assert.equal(await taken, "tokens");
    assert.deepEqual(given, ["?state=ours&code=2"]);
    assert.equal((await fetch(`${redirectUri}?state=ours&code=3`)).status, 410);
    loopback.close();
  });

  test("says when nobody came, and which port is taken", async () => {
    const loopback = await openLoopback(0);
    await assert.rejects(
      loopback.take("ours", () => Promise.resolve(), 1),
      refusal(/^nobody has logged in within \S+ minutes; begin again$/),
    );
    await assert.rejects(
      openLoopback(Number(new URL(loopback.redirectUri).port)),
      refusal(/cannot be listened at \(EADDRINUSE\)/),
    );
    loopback.close();
  });
});
