// The link that opens the console: good once, for the browser that opens it first.
import { createHash, randomBytes, timingSafeEqual } from "node:crypto";

/** Secrets of 256 bits: too many to try. */
function newSecret(): string {
  return randomBytes(32).toString("base64url");
}

function isSame(given: string, wanted: string): boolean {
  const [a, b] = [given, wanted].map((text) => createHash("sha256").update(text).digest()) as [Buffer, Buffer];
  return timingSafeEqual(a, b);
}

export interface Ticket {
  readonly path: string;
  /** `opened` once; `used` for the same link after that; `unknown` for any other path. */
  open(path: string): "opened" | "used" | "unknown";
  /** What the browser is given. */
  readonly cookie: string;
  /** Has whoever sends these cookies opened the link? */
  isHolder(cookies: string | undefined): boolean;
}

/** @param port of the proxy: a browser sends cookies of 127.0.0.1 to every port of it */
export function createTicket(port: number): Ticket {
  const [token, session] = [newSecret(), newSecret()];
  const name = `claviger-console-${port}`;
  const path = `/open/${token}`;
  let isUsed = false;
  return {
    path,
    open(asked) {
      if (!isSame(asked, path)) return "unknown";
      if (isUsed) return "used";
      isUsed = true;
      return "opened";
    },
    cookie: `${name}=${session}; Path=/; HttpOnly; SameSite=Strict`,
    isHolder: (cookies) => (cookies ?? "").split(";").some((pair) => isSame(pair.trim(), `${name}=${session}`)),
  };
}
