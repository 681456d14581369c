// The charts on real kubelets: their pods start from the release's images, serve a shim's socket on the node, and go on serving
// it while they are upgraded, rolled back, killed and drained. NetworkPolicies are not enforced here: the pods' network is a bridge.
import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { Agent, request } from "undici";
import { kmsClient } from "../../lab/kms.ts";
import { until } from "../../lab/process-group.ts";
import { findBinary } from "../../parts/find.ts";
import { chartDir, run } from "../infra/chart.ts";
import { startCaller } from "./caller.ts";
import { address } from "./machine.ts";
import { machineDir, runInside } from "./namespaces.ts";
import { processesOf } from "./processes.ts";
import { createNamespace, prepareNode } from "./site.ts";
import { fleetValues, gatewayValues, shimValues, writeGatewayTree } from "./values.ts";
import { install, startWorld, type World } from "./world.ts";

const dir = machineDir();
if (dir === undefined) await runInside(import.meta.filename);
else
  suite("On real kubelets", () => {
    const socket = "/run/claviger/kms.sock";
    const wait = ["--wait", "--timeout", "90s"];
    let world: World;
    let gateways: readonly string[];

    const nodePort = (namespace: string, service: string): number =>
      Number(world.kubectl("get", "service", "-n", namespace, service, "-o", "jsonpath={.spec.ports[0].nodePort}"));
    /** Names of pods that are ready. @param node where; anywhere when absent */
    const readyPods = (namespace: string, component: string, node = ""): readonly string[] =>
      world
        .kubectl(
          "get",
          "pods",
          "-n",
          namespace,
          "-l",
          `app.kubernetes.io/component=${component}`,
          "--no-headers",
          "-o",
          "wide",
        )
        .split("\n")
        .filter((line) => / (\d+)\/\1 +Running /.test(line) && line.includes(` ${node}`))
        .map((line) => line.split(/ +/)[0] ?? "");
    /** Waits until so many pods are ready. @returns their names */
    const ready = (namespace: string, component: string, count = 1): Promise<readonly string[]> =>
      until(`${count} of ${component} in ${namespace} to be ready`, undefined, () => {
        const pods = readyPods(namespace, component);
        return pods.length === count ? pods : undefined;
      });
    const gatewayProcesses = (): readonly number[] =>
      processesOf("/app/main.mjs --config /etc/claviger/config/gateway.yaml");
    const passes = async (release: string, namespace: string): Promise<void> =>
      assert.match(await world.helm(["test", release, "-n", namespace, "--logs"]), /Phase: +Succeeded/);
    const answers = async (): Promise<void> => {
      // One client for all of it: grpc-js keeps the connection of one that is closed while it connects.
      const client = kmsClient(socket);
      const ask = async (): Promise<true | undefined> =>
        (await client.status(500).catch(() => undefined))?.healthz === "ok" ? true : undefined;
      await until("the socket to answer", undefined, ask).finally(() => client.close());
    };
    /** Runs something while calls are made: none may fail. */
    const undisturbed = async (what: (more: () => Promise<void>) => Promise<void>): Promise<void> => {
      const caller = startCaller(socket);
      const more = async (): Promise<void> => {
        const calls = caller.calls();
        await until("calls to end well", undefined, () => (caller.calls() > calls + 10 ? true : undefined));
      };
      try {
        await more();
        await what(more);
        await more();
      } finally {
        assert.deepEqual(await caller.stop(), []);
      }
    };

    before(async () => {
      world = await startWorld(dir, ["cp-1", "worker-1"]);
    });
    after(() => world?.stop());

    test("gateways become ready by their own probes, in a namespace that enforces the restricted profile", async () => {
      const { files } = world.site;
      await createNamespace(world.cluster.api, "claviger", "restricted", {
        "claviger-gateway-tls": { kind: "Secret", data: files["gateway-tls"] },
        "claviger-gateway-vault": { kind: "Secret", data: files["gateway-vault"] },
      });
      await world.helm([...install("claviger", "claviger"), ...wait], gatewayValues(world.site));
      await ready("claviger", "gateway", 3);
      gateways = [`https://${address}:${nodePort("claviger", "claviger-gateway")}`];
    });

    test("they run as the chart says: not root, no rights, a filter of system calls, nothing that they can write", () => {
      const pids = gatewayProcesses();
      assert.equal(pids.length, 3);
      for (const pid of pids) {
        const status = readFileSync(`/proc/${pid}/status`, "utf8");
        assert.match(status, /^Uid:\t65532\t65532\t65532\t65532$/m);
        for (const line of ["CapEff:\t0000000000000000", "CapBnd:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"])
          assert.ok(status.includes(`\n${line}\n`), `${line} in ${status}`);
        assert.match(readFileSync(`/proc/${pid}/mounts`, "utf8"), /^\S+ \/ overlay ro,/);
      }
    });

    test("helm test has a gateway check itself with the files and the login of its pods", async () => {
      await passes("claviger", "claviger");
    });

    test("the fleet service becomes ready, and serves the console", async () => {
      const { files, pki } = world.site;
      await createNamespace(world.cluster.api, "claviger-fleet", "restricted", {
        "claviger-fleet-tls": { kind: "Secret", data: files["fleet-tls"] },
        "claviger-fleet-vault": { kind: "Secret", data: files["fleet-vault"] },
        "claviger-fleet-trust": { kind: "ConfigMap", data: files["fleet-trust"] },
      });
      await world.helm([...install("claviger", "claviger-fleet"), ...wait], fleetValues(world.site, gateways));
      const agent = new Agent({ connect: { ca: pki.authority.cert } });
      const url = `https://${address}:${nodePort("claviger-fleet", "claviger-fleet")}/`;
      const reply = await request(url, { dispatcher: agent });
      assert.match(await reply.body.text(), /<script type="module"/);
      await agent.close();
      await passes("claviger", "claviger-fleet");
    });

    test("the shim as a DaemonSet answers on the node's socket, and helm test asks it what kube-apiserver asks", async () => {
      await prepareNode(world.site.pki, "cp-1");
      await createNamespace(world.cluster.api, "claviger-system", "privileged");
      const values = shimValues(gateways, { mode: "daemonset" });
      await world.helm(install("claviger-shim", "claviger-system"), values);
      await answers();
      await passes("claviger-shim", "claviger-system");
    });

    test("an upgrade of the gateways, and its rollback, fail no call", async () => {
      const upgrade = ["upgrade", "claviger", chartDir("claviger"), "-n", "claviger", ...wait];
      await undisturbed(async () => {
        const old = readyPods("claviger", "gateway");
        await world.helm(upgrade, gatewayValues(world.site, { keys: { refresh: "20s" } }));
        assert.deepEqual(
          readyPods("claviger", "gateway").filter((pod) => old.includes(pod)),
          [],
        );
        await world.helm(["rollback", "claviger", "1", "-n", "claviger", ...wait]);
        const config = world.kubectl("get", "configmap", "-n", "claviger", "claviger-gateway", "-o", "yaml");
        assert.doesNotMatch(config, /refresh: 20s/);
      });
    });

    test("a gateway that is killed fails no call, and is started again", async () => {
      await undisturbed(async (more) => {
        const [pid] = gatewayProcesses();
        assert.ok(pid !== undefined);
        process.kill(pid, "SIGKILL");
        await more();
        await until("it to be restarted", undefined, () =>
          / 1 \(/.test(world.kubectl("get", "pods", "-n", "claviger", "--no-headers")) &&
          readyPods("claviger", "gateway").length === 3
            ? true
            : undefined,
        );
      });
    });

    test("a drain of a node moves the gateways elsewhere, one at a time, and fails no call", async () => {
      await undisturbed(async () => {
        // Beside the calls, which a wait for its end would hold up.
        const drain = ["drain", "worker-1", "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=90s"];
        const options = ["--kubeconfig", world.cluster.kubeconfig];
        const { code, stderr } = await run(findBinary("kubectl"), [...options, ...drain], { HOME: dir });
        assert.equal(code, 0, stderr);
        await until("three on the other node", undefined, () =>
          readyPods("claviger", "gateway", "cp-1").length === 3 ? true : undefined,
        );
      });
      world.kubectl("uncordon", "worker-1");
    });

    test("the DaemonSet stays when its release is uninstalled, and goes where that was said", async () => {
      await undisturbed(async () => {
        await world.helm(["uninstall", "claviger-shim", "-n", "claviger-system", "--wait"]);
        await answers();
      });
      await ready("claviger-system", "kms-plugin");
      const values = shimValues(gateways, { mode: "daemonset", keepOnUninstall: false });
      // What stayed is adopted.
      await world.helm(install("claviger-shim", "claviger-system"), values);
      await world.helm(["uninstall", "claviger-shim", "-n", "claviger-system", "--wait"]);
      await until("the shim to be gone", undefined, () =>
        processesOf("/etc/claviger-shim/shim.yaml").length === 0 ? true : undefined,
      );
    });

    test("the installer writes a static pod, which serves the socket, and helm test asks it", async () => {
      await world.helm(install("claviger-shim", "claviger-system"), shimValues(gateways));
      await answers();
      await ready("claviger-system", "installer");
      assert.deepEqual(await ready("kube-system", "kms-plugin"), ["claviger-shim-cp-1"]);
      await passes("claviger-shim", "claviger-system");
    });

    test("a change with which no gateway answers is taken back by the node itself", async () => {
      const upgrade = ["upgrade", "claviger-shim", chartDir("claviger-shim"), "-n", "claviger-system"];
      const staticPod = { settleSeconds: 10 };
      await world.helm(upgrade, shimValues([`https://${address}:1`], { staticPod }));
      // What the installer leaves there so that it does not try that again.
      await until("it to be taken back", undefined, () =>
        existsSync("/etc/claviger/shim.yaml.refused") ? true : undefined,
      );
      await answers();
      assert.ok(readFileSync("/etc/claviger/shim.yaml", "utf8").includes(gateways[0] ?? ""));
      await world.helm(["rollback", "claviger-shim", "1", "-n", "claviger-system"]);
      await ready("claviger-system", "installer");
    });

    test("the static pod stays when its release is uninstalled, and is removed where it is to be absent", async () => {
      await undisturbed(async () => {
        await world.helm(["uninstall", "claviger-shim", "-n", "claviger-system", "--wait"]);
        await answers();
      });
      assert.deepEqual(await ready("kube-system", "kms-plugin"), ["claviger-shim-cp-1"]);
      await world.helm(install("claviger-shim", "claviger-system"), shimValues(gateways));
      const upgrade = ["upgrade", "claviger-shim", chartDir("claviger-shim"), "-n", "claviger-system"];
      await world.helm(upgrade, shimValues(gateways, { staticPod: { state: "absent" } }));
      await until(
        "the shim to be gone",
        undefined,
        () => (processesOf("/etc/claviger/shim.yaml").length === 0 ? true : undefined),
        60_000,
      );
      assert.equal(existsSync("/etc/kubernetes/manifests/claviger-shim.yaml"), false);
    });

    test("gateways of the kustomize tree become ready as well", async () => {
      const { files } = world.site;
      const name = "claviger-gateway";
      await createNamespace(world.cluster.api, name, "restricted", {
        "claviger-gateway-tls": { kind: "Secret", data: files["gateway-tls"] },
        "claviger-gateway-vault": { kind: "Secret", data: files["gateway-vault"] },
      });
      const tree = join(dir, "tree");
      writeGatewayTree(world.site, tree);
      world.kubectl("apply", "--server-side", "-k", tree);
      await ready(name, "gateway", 3);
    });
  });
