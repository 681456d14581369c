// A gateway's certificate that ends: replaced in time, or not.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { connect } from "node:tls";
import { setTimeout as sleep } from "node:timers/promises";
import { issueGateway } from "@claviger/gateway-core/src/pki/authority.ts";
import { writePem } from "@claviger/gateway-core/src/pki/files.ts";
import { until } from "../../lab/process-group.ts";
import { at, type Fault, restarted } from "../fault.ts";
import { byUse } from "../gateways.ts";
import type { GatewayPart, Site } from "../site.ts";

const daySeconds = 24 * 60 * 60;
const usualSeconds = 30 * daySeconds;

/** Puts a certificate that is valid for so long in the place of a gateway's. */
async function replace({ dir, pki }: Site, { name, gateway }: GatewayPart, seconds: number): Promise<void> {
  const { hostname } = new URL(gateway.url);
  const validity = seconds / daySeconds;
  const pair = await issueGateway({ ca: pki.authority, dnsNames: ["localhost"], ips: [hostname], validity });
  await writePem({ dir: join(dir, "pki"), name, pair });
}

/** When the certificate ends that a gateway shows; undefined where it is not trusted. */
function shownEnd({ pki }: Site, { gateway }: GatewayPart): Promise<number | undefined> {
  const { hostname: host, port } = new URL(gateway.url);
  return new Promise((resolve) => {
    const socket = connect({ host, port: Number(port), ca: readFileSync(pki.ca) }, () => {
      resolve(Date.parse(socket.getPeerCertificate().valid_to));
      socket.destroy();
    });
    socket.once("error", () => resolve(undefined));
  });
}

/** Waits until it shows a certificate that ends in less, or more, than so many seconds. */
async function shows(site: Site, part: GatewayPart, is: (leftMs: number | undefined) => boolean): Promise<void> {
  await until("the gateway to show its new certificate", part.proc(), async () => {
    const end = await shownEnd(site, part);
    return is(end === undefined ? undefined : end - Date.now()) ? true : undefined;
  });
}

export const certificateFaults: readonly Fault[] = [
  {
    id: "certificate-renewed",
    name: "the certificate of the gateway in use ends in 10 s, and is replaced before",
    left: "the other gateway",
    async run(site, { hold }) {
      const part = at(await byUse(site), 0);
      await replace(site, part, 10);
      await shows(site, part, (left) => left !== undefined && left <= 10_000);
      await hold(4000);
      await replace(site, part, usualSeconds);
      await shows(site, part, (left) => left !== undefined && left > 60_000);
      // Past the end of the first one, with shims that connect anew.
      await sleep(6000);
      await restarted(site, part);
    },
  },
  {
    id: "certificate-expired",
    name: "the certificate of the gateway in use ends and is replaced 5 s later",
    left: "the other gateway",
    async run(site, { hold, over }) {
      const part = at(await byUse(site), 0);
      await replace(site, part, 2);
      await shows(site, part, (left) => left === undefined);
      // Open connections outlive it; so that none is.
      await restarted(site, part);
      await hold();
      await replace(site, part, usualSeconds);
      await shows(site, part, (left) => left !== undefined);
      over();
    },
  },
];
