import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { hrefOfTarget, hrefs, pageNames, pageOf, parseRoute } from "@claviger/console/src/model/route.ts";

suite("the addresses of the pages", () => {
  test("each page is found by its address", () => {
    for (const page of pageNames) {
      const route = parseRoute(hrefs.page(page, { q: "a b&c=d#e" }));
      assert.equal(route.kind === "page" && route.page, page);
      assert.equal(route.kind === "page" && route.params.get("q"), "a b&c=d#e");
      assert.equal(pageOf(route), page);
    }
    assert.equal(pageOf(parseRoute("")), "attention");
  });

  test("a name of any characters comes back as it was", () => {
    for (const name of ["prod-eu", "a/b", "host:8443", "?x#y", "100 %", '"><script>'])
      assert.deepEqual(parseRoute(hrefs.node("prod", name)), { kind: "node", cluster: "prod", node: name });
    assert.deepEqual(parseRoute(hrefs.gateway("host:8443")), { kind: "gateway", gateway: "host:8443" });
    assert.deepEqual(parseRoute(hrefs.cluster("prod")), { kind: "cluster", cluster: "prod" });
    assert.deepEqual(parseRoute(hrefs.change("ID")), { kind: "change", id: "ID" });
  });

  test("what is no address of a page leads nowhere", () => {
    for (const hash of ["#/nothing", "#/cluster/a/b", "#/node/a", "#/node/a/b/c", "#/%zz", "#/fleet/x", "#/toString"])
      assert.equal(parseRoute(hash).kind, "nowhere", hash);
  });

  test("a target of attention is shown where it is", () => {
    assert.equal(hrefOfTarget("prod", "node_missing"), "#/cluster/prod");
    assert.equal(hrefOfTarget("prod/cp-1", "outage"), "#/node/prod/cp-1");
    assert.equal(hrefOfTarget("host:8443", "gateway_login"), "#/gateway/host%3A8443");
    assert.equal(hrefOfTarget("main", "backend_down"), "#/gateways");
    for (const none of ["", "fleet", "a,b", "a/b/c"]) assert.equal(hrefOfTarget(none), undefined);
  });
});
