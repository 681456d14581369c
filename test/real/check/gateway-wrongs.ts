// Worlds in which something is wrong for a gateway: what, which row of the table says so, and in which
// words.
import { readFileSync } from "node:fs";
import { createServer, request as send, type RequestListener } from "node:http";
import { text } from "node:stream/consumers";
import { stringify } from "yaml";
import { gatewayPolicy } from "../../lab/openbao.ts";
import { createAuthority, createLeaf } from "../../unit/certificates.ts";
import { type Change, type GatewayWorld, withServer } from "./gateway-world.ts";

const day = 24 * 3_600_000;

/** One thing that is wrong. */
export type Wrong = {
  readonly what: string;
  /** The row that says so, and what it says; those beside it that follow from it. */
  readonly row: string;
  readonly says: RegExp;
  readonly verdict?: "warning" | "note";
  readonly notTried?: readonly string[];
  /** What a start says where it cannot work; without it one works, and waits for what is missing. */
  readonly start?: RegExp;
  /** Makes the world wrong for as long as `use` takes. */
  readonly make: (world: GatewayWorld, use: (change: Change) => Promise<void>) => Promise<void>;
};

const set =
  (change: (world: GatewayWorld) => Change | Promise<Change>): Wrong["make"] =>
  async (world, use) =>
    await use(await change(world));

async function serverPair(world: GatewayWorld, change: Partial<Parameters<typeof createLeaf>[0]>): Promise<Change> {
  const { cert, key } = await createLeaf({
    issuer: world.pki.authority,
    use: "server",
    uri: "spiffe://lab.claviger.test/gateway",
    dns: ["localhost"],
    notAfter: Date.now() + 90 * day,
    ...change,
  });
  return { tls: { cert: world.put("server.crt", cert), key: world.put("server.key", key) } };
}

/** A Vault before this one that is told nothing of the associated data of one key. */
function forgetful(vault: string, key: string): RequestListener {
  return (request, reply) => {
    void text(request).then((body) => {
      const { method, url = "", headers } = request;
      const kept = url.endsWith(`/${key}`)
        ? body.replaceAll(/"associated_data":"[^"]*",?/g, "").replaceAll(",}", "}")
        : body;
      const { "content-length": _, host: __, ...others } = headers;
      const onward = send(new URL(url, vault), { method, headers: others }, (answer) => {
        reply.writeHead(answer.statusCode ?? 500, answer.headers);
        answer.pipe(reply);
      });
      onward.end(kept);
    });
  };
}

const login = ["keys", "integrity"];

export const wrongs: readonly Wrong[] = [
  {
    what: "the port is taken",
    row: "listen",
    says: /^127\.0\.0\.1:\d+ is taken \(EADDRINUSE\) by process \d+, \S+.* \| what to do: choose another listen\.port/,
    start: /EADDRINUSE/,
    make: ({ ports }, use) =>
      withServer(
        ports.listen,
        () => {},
        () => use({}),
      ),
  },
  {
    what: "both listeners have one port",
    row: "admin",
    says: /^127\.0\.0\.1:\d+ is what another setting says as well \| /,
    start: /EADDRINUSE/,
    make: set(({ ports }) => ({ admin: { port: ports.listen } })),
  },
  {
    what: "the address is another machine's",
    row: "listen",
    says: /^192\.0\.2\.1:\d+ cannot be listened at \(EADDRNOTAVAIL\) \| what to do: give an address of this machine/,
    start: /EADDRNOTAVAIL/,
    make: set(() => ({ listen: { address: "192.0.2.1" } })),
  },
  {
    what: "the key is another certificate's",
    row: "tls",
    says: /^key: \S+ does not belong to the certificate$/,
    start: /does not belong to the certificate/,
    make: set(async (world) => ({
      tls: { key: ((await serverPair(world, {}))["tls"] as { readonly key: string }).key },
    })),
  },
  {
    what: "the client CA is empty",
    row: "tls",
    says: /^clientCa: \S+ holds no certificate \(PEM\)$/,
    start: /holds no certificate/,
    make: set((world) => ({ tls: { clientCa: world.put("empty.crt", "") } })),
  },
  {
    what: "the certificate has expired",
    row: "certificate server",
    says: /^URI:spiffe:.*; expired at \S+: spiffe:\S+ \| what to do: renew it/,
    make: set((world) => serverPair(world, { notAfter: Date.now() - day })),
  },
  {
    what: "the certificate expires soon",
    row: "certificate server",
    says: /; expires in 10 days, at /,
    verdict: "warning",
    make: set((world) =>
      serverPair(world, { notBefore: Date.now() - 80 * day, notAfter: Date.now() + 10 * day + 60_000 }),
    ),
  },
  {
    what: "the chain is in the wrong order",
    row: "certificate server",
    says: /^the file's certificate 2 did not sign the one before it, which issuing signed \| what to do: put into the file/,
    make: set(async (world) => {
      const issuing = await createAuthority("issuing", world.pki.authority, Date.now() + 90 * day);
      const { cert, key } = await createLeaf({
        issuer: issuing,
        use: "server",
        dns: ["localhost"],
        notAfter: Date.now() + 90 * day,
      });
      const root = world.pki.authority.cert;
      return {
        tls: { cert: world.put("chain.crt", cert + root + issuing.cert), key: world.put("chain.key", key) },
      };
    }),
  },
  {
    what: "every user may read the key",
    row: "secret files",
    says: /^tls\.key: every user of this machine may read \S+ \(mode 0644\) \| what to do: chmod o= /,
    verdict: "warning",
    make: set((world) => {
      const { key } = world.settings["tls"] as { readonly key: string };
      return { tls: { key: world.put("open.key", readFileSync(key, "utf8"), 0o644) } };
    }),
  },
  {
    what: "Redis' password file is missing",
    row: "redis",
    says: /^redis\.passwordFile: \/nowhere\/password cannot be read \(ENOENT\)$/,
    start: /redis\.passwordFile: \/nowhere\/password cannot be read/,
    make: set(() => ({ redis: { passwordFile: "/nowhere/password" } })),
  },
  {
    what: "Redis refuses the password",
    row: "redis",
    says: /: it refuses the user name or the password \| what to do: /,
    make: set((world) => ({ redis: { passwordFile: world.put("password", "another") } })),
  },
  {
    what: "Redis is not there",
    row: "redis",
    says: /^127\.0\.0\.1:1: nothing listens there \(ECONNREFUSED\) \| /,
    make: set(() => ({ redis: { node: "127.0.0.1:1" } })),
  },
  {
    what: "Redis does not let this user write",
    row: "redis rights",
    says: /^SET: its ACL does not let this user do what a gateway needs \| what to do: let the user do/,
    make: async (world, use) => {
      const client = world.redis.connect();
      await client.acl("SETUSER", "reader", "on", ">word", "~*", "&*", "+@read", "+@connection", "+info", "+subscribe");
      await use({ redis: { username: "reader", passwordFile: world.put("word", "word") } });
      await client.acl("DELUSER", "reader");
      client.disconnect();
    },
  },
  {
    what: "Redis is out of memory",
    row: "redis rights",
    says: /^SET: it is out of memory, and takes no writes \| what to do: raise its maxmemory/,
    make: async (world, use) => {
      const client = world.redis.connect();
      await client.config("SET", "maxmemory", "1");
      await use({});
      await client.config("SET", "maxmemory", "0");
      client.disconnect();
    },
  },
  {
    what: "Redis has become a replica",
    row: "redis rights",
    says: /^SET: it is a replica, and takes no writes \| what to do: name the primary/,
    make: async (world, use) => {
      const client = world.redis.connect();
      await client.replicaof("127.0.0.1", 1);
      await use({});
      await client.replicaof("NO", "ONE");
      client.disconnect();
    },
  },
  {
    what: "Vault drops associated data, as those before 1.13 do",
    row: "key of cluster-1",
    says: /^decrypt under version 1: the backend ignores associated data: Vault 1\.13 or newer, or OpenBao, is needed/,
    make: async ({ bao }, use) => {
      const before = createServer(forgetful(bao.addr, "cluster-1"));
      await new Promise<void>((resolve) => void before.listen(0, "127.0.0.1", resolve));
      const { port } = before.address() as { readonly port: number };
      await use({ backends: { main: { addresses: [`http://127.0.0.1:${port}`] } } }).finally(() => void before.close());
    },
  },
  {
    what: "nothing listens at Vault's address",
    row: "backend main https://127.0.0.1:1",
    says: /^nothing listens there \(ECONNREFUSED\) \| what to do: start it/,
    notTried: ["backend main login", ...login],
    make: set(() => ({ backends: { main: { addresses: ["https://127.0.0.1:1"] } } })),
  },
  {
    what: "the name of Vault's address is not known",
    row: "backend main https://vault.invalid:8200",
    says: /^(?:its name is not known \(ENOTFOUND\)|the name server does not answer \(EAI_AGAIN\)) \| /,
    notTried: ["backend main login", ...login],
    make: set(() => ({ backends: { main: { addresses: ["https://vault.invalid:8200"] } } })),
  },
  {
    what: "Vault's address takes connections and says nothing",
    row: "backend main http://127.0.0.1:SILENT",
    says: /^no answer within 5 s \| /,
    notTried: ["backend main login", ...login],
    make: (_world, use) =>
      withServer(
        0,
        () => {},
        (port) => use({ backends: { main: { addresses: [`http://127.0.0.1:${port}`] } } }),
      ),
  },
  {
    what: "something else answers at Vault's address",
    row: "backend main http://127.0.0.1:OTHER",
    says: /^status 200 without JSON: something else than a Vault\? .*\| what to do: /,
    notTried: ["backend main login", ...login],
    make: async (_world, use) => {
      const other = createServer((_, reply) => reply.end("hello\n"));
      await new Promise<void>((resolve) => void other.listen(0, "127.0.0.1", resolve));
      const { port } = other.address() as { readonly port: number };
      await use({ backends: { main: { addresses: [`http://127.0.0.1:${port}`] } } }).finally(() => void other.close());
    },
  },
  {
    what: "Vault is sealed",
    row: "backend main https://127.0.0.1:VAULT",
    says: /^it is sealed \| what to do: bao operator unseal/,
    notTried: ["backend main login", ...login],
    make: async ({ bao }, use) => {
      await bao.call("PUT", "sys/seal");
      try {
        await use({});
      } finally {
        await bao.unseal();
      }
    },
  },
  {
    what: "Vault's certificate is of another CA",
    row: "backend main https://127.0.0.1:VAULT",
    says: /^the certificate is of a CA that is not trusted, .* \| what to do: name the CA that signed the certificate/,
    notTried: ["backend main login", ...login],
    make: set(async (world) => {
      const other = await createAuthority("other", undefined, Date.now() + 3650 * day);
      return { backends: { main: { tls: { ca: world.put("other-ca.crt", other.cert) } } } };
    }),
  },
  {
    what: "Vault's certificate is for another name",
    row: "backend main https://127.0.0.1:VAULT",
    says: /^the certificate is for another name \(\S+\) \| what to do: give the address by a name that the certificate carries/,
    notTried: ["backend main login", ...login],
    make: set(() => ({ backends: { main: { tls: { serverName: "vault.example" } } } })),
  },
  {
    what: "Vault refuses the secret-id",
    row: "backend main login",
    says: /^approle: status 400 at auth\/approle\/login: .* \| what to do: see the method's mount, role and credential/,
    notTried: login,
    make: set((world) => ({ backends: { main: { auth: { secretIdFile: world.put("wrong-id", "none") } } } })),
  },
  {
    what: "the secret-id is missing",
    row: "backend main login",
    says: /^approle: \/nowhere\/secret-id cannot be read \(ENOENT\)/,
    notTried: login,
    make: set(() => ({ backends: { main: { auth: { secretIdFile: "/nowhere/secret-id" } } } })),
  },
  {
    what: "the policy lets nobody encrypt under a key",
    row: "key of cluster-2",
    says: /^encrypt under version 1: status 403.*\(backend_denied\) \| what to do: see what the policy lacks/,
    make: async ({ bao }, use) => {
      const policy = gatewayPolicy(["cluster-1", "cluster-2"]);
      const less = policy.replace(/^.*encrypt\/cluster-2.*\n/m, "");
      await bao.call("PUT", "sys/policies/acl/claviger-gateway", { policy: less });
      try {
        await use({});
      } finally {
        await bao.call("PUT", "sys/policies/acl/claviger-gateway", { policy });
      }
    },
  },
  {
    what: "the policy lets nobody promote a key",
    row: "key of cluster-1",
    says: /^the token may not write transit\/keys\/cluster-1\/config: no gateway promotes .* \| what to do: claviger key promote cluster-1/,
    make: async ({ bao }, use) => {
      const policy = gatewayPolicy(["cluster-1", "cluster-2"]);
      const less = policy.replace(/^.*keys\/cluster-1\/config.*\n/m, "");
      await bao.call("PUT", "sys/policies/acl/claviger-gateway", { policy: less });
      try {
        await use({});
      } finally {
        await bao.call("PUT", "sys/policies/acl/claviger-gateway", { policy });
      }
    },
  },
  {
    what: "the integrity key is not there",
    row: "integrity",
    says: /^status 403 at transit\/hmac\/none\S*: .*\(backend_denied\) \| /,
    make: set(() => ({ integrity: { key: "none" } })),
  },
  {
    what: "the registry is missing",
    row: "registry",
    says: /^cannot be read \(ENOENT\)$/,
    start: /none\.yaml: cannot be read \(ENOENT\)/,
    make: set(() => ({ registry: { file: "/nowhere/none.yaml" } })),
  },
  {
    what: "a record of the registry is bad",
    row: "registry",
    says: /^2 clusters can be served; .*clusters\.2\.\S+: .* \| what to do: correct the registry/,
    make: set((world) => {
      const text = `${readFileSync(world.clusters, "utf8")}  - { name: Third, uid: x }\n`;
      return { registry: { file: world.put("clusters.yaml", text) } };
    }),
  },
  {
    what: "no cluster of the registry is served",
    row: "serves",
    verdict: "warning",
    says: /^none of the 2 clusters read has such labels: cell=x \| what to do: claviger cluster label CLUSTER KEY=VALUE, or/,
    make: set(() => ({ serves: { matchLabels: { cell: "x" } } })),
  },
  {
    what: "a record names a key that is not there",
    row: "key of cluster-3",
    says: /\((?:key_missing|backend_denied)\) \| what to do: /,
    make: set((world) => {
      const record = {
        name: "cluster-3",
        uid: "01J9ZK2T3V4W5X6Y7Z8A9B0C1D",
        state: "active",
        keys: [{ backend: "main", mount: "transit", key: "cluster-3" }],
      };
      return { registry: { file: world.put("third.yaml", stringify({ clusters: [record] })) } };
    }),
  },
  {
    what: "the directory of the audit file is missing",
    row: "audit file /nowhere/audit.jsonl",
    says: /^\/nowhere\/audit\.jsonl cannot be written \(ENOENT\): its directory must be there/,
    start: /audit\.sinks\.0: \/nowhere\/audit\.jsonl cannot be written/,
    make: set(() => ({ audit: { sinks: [{ kind: "file", path: "/nowhere/audit.jsonl" }] } })),
  },
  {
    what: "no syslog collector is there",
    row: "audit syslog 127.0.0.1:1",
    says: /^nothing listens there \(ECONNREFUSED\) \| /,
    make: set(() => ({ audit: { sinks: [{ kind: "syslog", node: "127.0.0.1:1" }] } })),
  },
  {
    what: "the collector of traces knows no such path",
    row: "tracing",
    says: /^http:\S+ answers 404 to a request of OTLP over HTTP \| what to do: correct the endpoint, path included/,
    make: async (_world, use) => {
      const collector = createServer((request, reply) => {
        request.resume().on("end", () => reply.writeHead(404).end());
      });
      await new Promise<void>((resolve) => void collector.listen(0, "127.0.0.1", resolve));
      const { port } = collector.address() as { readonly port: number };
      await use({ tracing: { endpoint: `http://127.0.0.1:${port}/traces` } }).finally(() => void collector.close());
    },
  },
];
