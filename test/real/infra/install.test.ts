// infra/README.md, followed to the letter on a real kube-apiserver that asks RBAC, and a real OpenBao
// with TLS. No kubelet runs the pod: the test does what kubelet would, with what the API server holds,
// so what is not shown is the image and the pod's start.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, before, suite, test } from "node:test";
import { promisify } from "node:util";
import { parseDocument, parseAllDocuments } from "yaml";
import { type ApiServer, startApiServer, startEtcd } from "../../lab/kubernetes.ts";
import type { OpenBao } from "../../lab/openbao.ts";
import { createProcessGroup, freePorts, type LabProcess, readyLine, until } from "../../lab/process-group.ts";
import { type Checks, type Follower, openFollower, type World } from "../setup/follower.ts";
import { parsePage } from "../setup/page.ts";
import { prepareReader, startTlsOpenBao } from "../setup/site.ts";

const root = join(import.meta.dirname, "..", "..", "..");
const page = readFileSync(join(root, "infra", "README.md"), "utf8");

type Program = { readonly name: "claviger-gateway" | "claviger-fleet"; readonly file: string; readonly main: string };
const gateway: Program = { name: "claviger-gateway", file: "gateway.yaml", main: "gateway/server/src/main.ts" };
const fleet: Program = { name: "claviger-fleet", file: "fleet.yaml", main: "gateway/fleet/src/main.ts" };

type Data = Readonly<Record<string, string>>;
type Volume = {
  readonly name: string;
  readonly configMap?: { readonly name: string };
  readonly secret?: { readonly secretName: string };
  readonly projected?: {
    readonly sources: readonly {
      readonly serviceAccountToken?: {
        readonly path: string;
        readonly audience?: string;
        readonly expirationSeconds: number;
      };
    }[];
  };
};
type PodSpec = {
  readonly serviceAccountName?: string;
  readonly containers: readonly {
    readonly image: string;
    readonly volumeMounts: readonly { name: string; mountPath: string; subPath?: string }[];
  }[];
  readonly volumes: readonly Volume[];
};

suite("infra/README.md, as it stands", () => {
  const dir = mkdtempSync(join(tmpdir(), "install-"));
  const processes = createProcessGroup(dir);
  const sections = parsePage(page);
  let api: ApiServer | undefined;
  let bao: OpenBao;
  let follower: Follower;

  const get = async <T>(path: string, method = "GET", body?: unknown): Promise<T> => {
    assert.ok(api !== undefined);
    const { status, json } = await api.call<T>(method, path, body);
    assert.ok(status < 300, `${method} ${path}: ${status} ${JSON.stringify(json)}`);
    return json;
  };
  const podSpec = async ({ name }: Program): Promise<PodSpec> =>
    (await get<{ spec: { template: { spec: PodSpec } } }>(`/apis/apps/v1/namespaces/${name}/deployments/${name}`)).spec
      .template.spec;

  /** The files of a volume, as kubelet would have them. */
  const filesOf = async (volume: Volume, { name }: Program, account = "default"): Promise<Data> => {
    const namespace = `/api/v1/namespaces/${name}`;
    if (volume.configMap !== undefined)
      return (await get<{ data: Data }>(`${namespace}/configmaps/${volume.configMap.name}`)).data;
    if (volume.secret !== undefined) {
      const { data } = await get<{ data: Data }>(`${namespace}/secrets/${volume.secret.secretName}`);
      return Object.fromEntries(
        Object.entries(data).map(([name, value]) => [name, Buffer.from(value, "base64").toString()]),
      );
    }
    const wanted = volume.projected?.sources[0]?.serviceAccountToken;
    assert.ok(wanted !== undefined, `what is in volume ${volume.name}?`);
    const { path, audience, expirationSeconds } = wanted;
    const { status } = await get<{ status: { token: string } }>(
      `${namespace}/serviceaccounts/${account}/token`,
      "POST",
      {
        apiVersion: "authentication.k8s.io/v1",
        kind: "TokenRequest",
        spec: { expirationSeconds, ...(audience !== undefined && { audiences: [audience] }) },
      },
    );
    return { [path]: status.token };
  };
  /** The pod's files below a directory; its configuration with their paths there, and free ports. */
  const layOut = async (program: Program, below: string): Promise<string> => {
    const { containers, volumes, serviceAccountName } = await podSpec(program);
    const mounts = containers[0]?.volumeMounts ?? [];
    for (const { name, mountPath, subPath } of mounts) {
      const volume = volumes.find((one) => one.name === name);
      assert.ok(volume !== undefined, name);
      for (const [file, text] of Object.entries(await filesOf(volume, program, serviceAccountName))) {
        const path = join(below, subPath === undefined ? join(mountPath, file) : mountPath);
        mkdirSync(dirname(path), { recursive: true });
        writeFileSync(path, text, { mode: 0o600 });
      }
    }
    const config = join(below, "etc/claviger", program.file);
    const document = parseDocument(readFileSync(config, "utf8").replaceAll(/(?<=: )\/(?=etc|run)/g, `${below}/`));
    for (const [listener, port] of Object.entries({ listen: 0, admin: (await freePorts(1))[0] ?? 0 })) {
      document.setIn([listener, "port"], port);
      document.setIn([listener, "address"], "127.0.0.1");
    }
    document.setIn(["audit", "sinks"], [{ kind: "file", path: join(below, "audit.jsonl") }]);
    writeFileSync(config, document.toString());
    return config;
  };
  const commandOf = ({ main }: Program, config: string): readonly string[] => [
    process.execPath,
    join(root, main),
    "--config",
    config,
  ];
  const startGateway = async (
    name: string,
  ): Promise<{ readonly proc: LabProcess; readonly backend: () => Promise<string> }> => {
    const proc = processes.start(name, commandOf(gateway, await layOut(gateway, join(dir, name))));
    const { admin } = await readyLine(proc);
    const backend = async (): Promise<string> => {
      const reply = await fetch(`${String(admin)}/readyz`);
      return ((await reply.json()) as { checks: Data }).checks["backend/main"] ?? "";
    };
    return { proc, backend };
  };

  const createChecks = ({ shell }: World): Checks =>
    new Map([
      [
        "printed-as-shipped",
        async () => {
          const { out } = await shell.run("claviger vault init");
          const printed = out.slice(out.indexOf("apiVersion:"));
          const shipped = readFileSync(join(root, "infra/kubernetes-auth/serviceaccount.yaml"), "utf8");
          const objects = (text: string): unknown => parseAllDocuments(text).map((one) => one.toJS() as unknown);
          assert.deepEqual(objects(printed), objects(shipped));
        },
      ],
      [
        "logs-in",
        async () => {
          const [{ image } = { image: "" }] = (await podSpec(gateway)).containers;
          assert.equal(image, "registry.example/security/claviger-gateway:0.2.0");
          const { proc, backend } = await startGateway("bound");
          await until("the gateway to have logged in", proc, async () =>
            (await backend()) === "ok" ? true : undefined,
          );
          const { keys } = (await bao.call<{ data: { keys: string[] } }>("LIST", "auth/token/accessors")).data;
          assert.ok(keys.length > 1);
          // Without the binding nobody may have the token reviewed: it is what lets the login through.
          await get("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/claviger-gateway-token-review", "DELETE");
          const unbound = await startGateway("unbound");
          await until("the other's login to be refused", unbound.proc, async () =>
            /refused|denied/.test(await unbound.backend()) ? true : undefined,
          );
        },
      ],
      [
        "fleet-starts",
        async () => {
          const [{ image } = { image: "" }] = (await podSpec(fleet)).containers;
          assert.equal(image, "registry.example/security/claviger-fleet:0.2.0");
          const [program = "", ...args] = commandOf(fleet, await layOut(fleet, join(dir, "fleet")));
          const { stdout } = await promisify(execFile)(program, [...args, "--check"]);
          assert.match(stdout, /certificates of nodes +ok +pki\/sign\/claviger-node signs/);
          // It runs from its source here, beside which no pages lie; images.test.ts has those of the image.
          const bad = stdout.split("\n").filter((line) => /^\S.* (?:failed|not tried|warning) /.test(line));
          assert.deepEqual(
            bad.map((line) => line.split(" ")[0]),
            ["console"],
            stdout,
          );
          await readyLine(processes.start("fleet", [program, ...args]));
        },
      ],
    ]);

  before(async () => {
    const [port = 0] = await freePorts(1);
    const [own, etcd] = await Promise.all([startTlsOpenBao(processes, dir, port), startEtcd(processes, dir)]);
    bao = own.bao;
    api = await startApiServer({ processes, dir, name: "apiserver", etcd, authorization: "RBAC" });
    await api.waitReady();
    const env = prepareReader(dir, bao, api);
    const work = join(dir, "work");
    mkdirSync(work);
    const values = {
      CLAVIGER: root,
      VAULT_ADDR: `https://127.0.0.1:${port}`,
      VAULT_CACERT: own.ca,
      KUBECONFIG: join(env.HOME, "kubeconfig"),
      KUBERNETES: api.server,
      KUBERNETES_CA: api.caFile,
    };
    follower = openFollower({ processes, reader: { values, env }, work, state: dir, createChecks });
  });
  after(async () => {
    await processes.stopAll();
    await api?.close();
    rmSync(dir, { recursive: true, force: true });
  });

  for (const { heading, steps } of sections)
    test(heading, async () => {
      for (const step of steps) await follower.follow(step);
    });

  test("the page has the place of every check", () => assert.deepEqual(follower.checksLeft(), []));
});
