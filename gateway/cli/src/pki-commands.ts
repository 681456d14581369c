// `claviger pki`: makes the authority and the certificates of gateways, nodes and operators in one
// directory.
import { X509Certificate } from "node:crypto";
import { join } from "node:path";
import {
  type Ca,
  createCa,
  issueGateway,
  issueNode,
  issueOperator,
  type KeyPair,
  lifetimes,
} from "@claviger/gateway-core/src/pki/authority.ts";
import { FileExistsError } from "@claviger/proto/runtime/atomic-file.ts";
import { loadCa, writeCa, writePem } from "@claviger/gateway-core/src/pki/files.ts";
import { addCrlCommand } from "./crl-command.ts";
import { CliError, type Command, numberBetween, several, type Terminal } from "./commander.ts";
import { fileProblem } from "@claviger/proto/runtime/file-problem.ts";

type Common = { readonly dir: string; readonly days: number };

const days = numberBetween(0.001, 36_500);

function leafCommand(pki: Command, name: string, description: string): Command {
  return pki
    .command(name)
    .description(description)
    .requiredOption("--dir <dir>", "directory with ca.crt and ca.key; the new files go there too")
    .option("--days <days>", "lifetime", days, lifetimes.leaf);
}

/** Turns a mistake of the user into a CliError; passes on anything else. */
function explain(error: unknown, dir: string): never {
  if (error instanceof FileExistsError || error instanceof TypeError) throw new CliError(error.message);
  const { code, path } = error as NodeJS.ErrnoException;
  if (code === "ENOENT" && path?.startsWith(join(dir, "ca.")) === true)
    throw new CliError(
      `there is no authority in ${dir}; make one with: claviger pki init --dir ${dir} --trust-domain TRUST-DOMAIN`,
    );
  if (code?.startsWith("ERR_OSSL") === true)
    throw new CliError(
      `${join(dir, "ca.crt")} or ${join(dir, "ca.key")} is no certificate or key (PEM); restore them from a backup`,
    );
  // A file is written beside its place first, under a name that says nothing.
  const place = path === undefined || /\/\.[\da-f]+\.tmp$/.test(path) ? dir : path;
  if (code !== undefined) throw new CliError(`${place} cannot be used (${fileProblem(error)})`);
  throw error;
}

/** Adds the group. */
export function addPkiCommands(root: Command, terminal: Terminal): void {
  const pki = root.command("pki").description("certificates for a demo, a lab or a small site");
  addCrlCommand(pki, terminal);

  const issue = async ({ dir }: Common, name: string, make: (ca: Ca) => Promise<KeyPair>): Promise<void> => {
    try {
      const pair = await make(await loadCa(dir));
      const files = await writePem({ dir, name, pair });
      const { subjectAltName, validTo } = new X509Certificate(pair.cert);
      terminal.out(
        `${files.cert}\n${files.key}  (mode 0600)\n  names  ${subjectAltName ?? ""}\n  until  ${new Date(validTo).toISOString()}`,
      );
    } catch (error) {
      explain(error, dir);
    }
  };

  pki
    .command("init")
    .description("make a new authority: ca.crt and ca.key; an existing one is never overwritten")
    .requiredOption("--dir <dir>", "where to write; made if it is missing")
    .requiredOption("--trust-domain <name>", "the fleet's SPIFFE trust domain, such as fleet.example")
    .option("--days <days>", "lifetime", days, lifetimes.ca)
    .action(async (options: Common & { readonly trustDomain: string }) => {
      try {
        const ca = await createCa({ trustDomain: options.trustDomain, validity: options.days });
        const files = await writeCa(options.dir, ca);
        terminal.out(
          `${files.cert}\n${files.key}  (mode 0600; whoever has it can be any node of the fleet: keep it off the gateways and nodes)\n  trust domain  ${ca.trustDomain}\n  until         ${ca.notAfter.toISOString()}`,
        );
      } catch (error) {
        explain(error, options.dir);
      }
    });

  leafCommand(pki, "gateway", "issue a gateway's server certificate")
    .option("--dns <name>", "DNS name that shims use (repeatable)", several)
    .option("--ip <address>", "IP address that shims use (repeatable)", several)
    .option("--name <name>", "name of the files", "gateway")
    .action(
      (
        options: Common & { readonly dns?: readonly string[]; readonly ip?: readonly string[]; readonly name: string },
      ) =>
        issue(options, options.name, (ca) =>
          issueGateway({ ca, dnsNames: options.dns ?? [], ips: options.ip ?? [], validity: options.days }),
        ),
    );
  leafCommand(pki, "node", "issue the client certificate of one control-plane node's shim")
    .requiredOption("--cluster <name>", "the node's cluster, as in the registry")
    .requiredOption("--node <name>", "the node's name")
    .action((options: Common & { readonly cluster: string; readonly node: string }) =>
      // `_` is in no name of either: no two nodes have the same files, whatever dashes they have.
      issue(options, `${options.cluster}_${options.node}`, (ca) =>
        issueNode({ ca, cluster: options.cluster, node: options.node, validity: options.days }),
      ),
    );
  leafCommand(pki, "operator", "issue an operator's client certificate")
    .requiredOption("--name <name>", "the operator's name, such as alice")
    .action((options: Common & { readonly name: string }) =>
      issue(options, `operator-${options.name}`, (ca) =>
        issueOperator({ ca, name: options.name, validity: options.days }),
      ),
    );
}
