// What doctor makes of a state: clock, owner and mode, labels, phases, manifests. The states themselves are real in
// test/real/doctor.
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { judgeClock } from "@claviger/cli/src/doctor/clock.ts";
import { mountOf, onHost, readApiServer } from "@claviger/cli/src/doctor/node/apiserver.ts";
import { pathOfEndpoint } from "@claviger/cli/src/doctor/node/mounts.ts";
import { judgeOutage } from "@claviger/cli/src/doctor/node/running.ts";
import { judgeLabel } from "@claviger/cli/src/doctor/node/selinux.ts";
import { judgeAccess, judgeOwner } from "@claviger/cli/src/doctor/node/socket.ts";
import { doctorRow, formatDoctor } from "@claviger/cli/src/doctor/row.ts";
import type { Finding, Found } from "@claviger/proto/runtime/check.ts";

const path = "/run/claviger/kms.sock";

function verdictsOf({ found, more = [] }: Found<unknown>): readonly Finding["verdict"][] {
  return [...(found === "" ? [] : ["ok" as const]), ...more.map(({ verdict }) => verdict)];
}

suite("doctor's judgements", () => {
  test("a clock that is off by seconds, by more, and by a minute", () => {
    const offs = [0, 900, -5900, 6100, -30_000, 60_900, 62_000, -3_600_000];
    assert.deepEqual(
      offs.map((off) => verdictsOf(judgeClock(off))[0]),
      ["ok", "ok", "ok", "warning", "warning", "warning", "failed", "failed"],
    );
    assert.match(judgeClock(-3_600_000).more?.[0]?.found ?? "", /clock is 3600 s behind$/);
    assert.match(judgeClock(3_600_000).more?.[0]?.found ?? "", /clock is 3600 s ahead$/);
  });

  const directory = { mode: 0o40750, uid: 65532, gid: 65532 };
  const socket = { mode: 0o140660, uid: 65532, gid: 65532 };
  const wanted = { path, mode: "0660", group: 65532 };

  test("a socket's mode, group and directory against the configuration", () => {
    const table = [
      { verdicts: ["ok"], found: judgeOwner(socket, directory, wanted) },
      { verdicts: ["failed"], found: judgeOwner({ ...socket, mode: 0o140600 }, directory, wanted) },
      { verdicts: ["failed"], found: judgeOwner({ ...socket, gid: 0 }, directory, wanted) },
      { verdicts: ["failed"], found: judgeOwner(socket, { ...directory, mode: 0o40777 }, wanted) },
      { verdicts: ["not tried"], found: judgeOwner(undefined, directory, wanted) },
    ];
    for (const { verdicts, found } of table) assert.deepEqual(verdictsOf(found), verdicts);
    assert.match(
      judgeOwner({ ...socket, mode: 0o140600 }, directory, wanted).more?.[0]?.found ?? "",
      /mode 0600, and the configuration says 0660/,
    );
  });

  test("kube-apiserver's user against the socket and its directory", () => {
    const table = [
      { verdict: "ok", user: { uid: 0, gid: 0 } },
      { verdict: "ok", user: { uid: 1001, gid: 65532 } },
      { verdict: "failed", user: { uid: 1001, gid: 1001 } },
    ] as const;
    for (const { verdict, user } of table)
      assert.deepEqual(verdictsOf(judgeAccess(socket, directory, user)), [verdict]);
    const open = { ...directory, mode: 0o40755 };
    const shared = { mode: 0o770, uid: 0, gid: 65_532 };
    assert.deepEqual(verdictsOf(judgeAccess(shared, shared, { uid: 1001, gid: 1001, groups: [65_532] })), ["ok"]);
    assert.deepEqual(verdictsOf(judgeAccess(shared, shared, { uid: 1001, gid: 1001, groups: [1] })), ["failed"]);
    const closed = judgeAccess(socket, open, { uid: 1001, gid: 1001 }).more?.[0];
    assert.match(closed?.found ?? "", /may not connect to the socket \(mode 0660/);
    assert.match(closed?.cure ?? "", /socket\.group of the shim to 1001/);
  });

  test("a label that denies a container, where SELinux enforces", () => {
    const at = (isOn: boolean, label?: string) => verdictsOf(judgeLabel(isOn, "/run/claviger", label))[0];
    assert.equal(at(false), "ok");
    assert.equal(at(true), "not tried");
    assert.equal(at(true, "system_u:object_r:container_file_t:s0"), "ok");
    assert.equal(at(true, "system_u:object_r:var_run_t:s0"), "warning");
  });

  test("the phases of an outage", () => {
    const state = (phase: number, secondsSinceGood: number | null, text = "ok") =>
      judgeOutage({ phase, secondsSinceGood, gateways: { "https://a:1": text } }).verdict;
    assert.deepEqual(
      [state(0, 3), state(0, null), state(0, 3, "down"), state(1, 30, "down"), state(2, 900), state(3, 9000)],
      ["ok", "failed", "warning", "warning", "failed", "failed"],
    );
  });

  test("a manifest: flags in both forms, mounts, and the user", () => {
    const pod = {
      spec: {
        securityContext: { runAsUser: 1001, supplementalGroups: [65_532], fsGroup: 7 },
        containers: [
          {
            name: "kube-apiserver",
            command: ["kube-apiserver", "--encryption-provider-config=/etc/k/enc.yaml"],
            args: ["--secure-port", "6443", "--profiling", "--v=2"],
            securityContext: { runAsGroup: 1002 },
            volumeMounts: [
              { name: "k", mountPath: "/etc/k/" },
              { name: "one", mountPath: "/etc/k/sub", subPath: "x" },
              { name: "empty", mountPath: "/tmp" },
            ],
          },
        ],
        volumes: [
          { name: "k", hostPath: { path: "/etc/kubernetes/enc/" } },
          { name: "one", hostPath: { path: "/srv" } },
          { name: "empty", emptyDir: {} },
        ],
      },
    };
    const { flags, mounts, uid, gid, groups } = readApiServer("f", JSON.stringify(pod));
    assert.equal(flags.get("encryption-provider-config"), "/etc/k/enc.yaml");
    assert.deepEqual([flags.get("secure-port"), flags.get("profiling"), uid, gid], ["6443", "", 1001, 1002]);
    assert.deepEqual(groups, [65_532, 7]);
    const on = (inPod: string) => {
      const mount = mountOf(mounts, inPod);
      return mount && onHost(mount, inPod);
    };
    assert.deepEqual(
      [on("/etc/k/enc.yaml"), on("/etc/k/sub/y"), on("/tmp/z"), on("/etc/kx")],
      ["/etc/kubernetes/enc/enc.yaml", "/srv/x/y", undefined, undefined],
    );
    assert.throws(() => readApiServer("f", "a: 1"), { message: /^f is no manifest of a pod/ });
    const other = JSON.stringify({ spec: { containers: [{ name: "etcd", command: ["etcd"] }] } });
    assert.throws(() => readApiServer("f", other), { message: /no container of f runs kube-apiserver/ });
  });

  test("an endpoint's path, as Go reads a URL", () => {
    assert.equal(pathOfEndpoint(`unix://${path}`), path);
    for (const wrong of ["unix://run/x", "unix:/run/x", "/run/x", "unix:@x"])
      assert.equal(pathOfEndpoint(wrong), undefined, wrong);
  });

  test("rows have an id and a subject; one without an id is a bug", () => {
    const row = (name: string) => doctorRow("node", { name, verdict: "ok", found: "x" });
    assert.deepEqual(row("gateway https://a:1 cluster"), {
      id: "node.gateway.encrypt",
      subject: "https://a:1",
      state: "ok",
      found: "x",
    });
    assert.equal(row("gateway https://a:1").id, "node.gateway.connect");
    assert.equal(row("node.clock https://a:1").subject, "https://a:1");
    assert.throws(() => row("something else"), TypeError);
  });

  test("the table has hints where they are asked for", () => {
    const rows = [doctorRow("node", { name: "node.selinux", verdict: "failed", found: "x", cure: "do y" })];
    assert.doesNotMatch(formatDoctor(rows, false), /do y/);
    assert.match(formatDoctor(rows, true), /node\.selinux +failure +x\n +what to do: do y\n\n1 failure$/);
  });
});
