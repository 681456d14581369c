// What the headers of a request show of who sends it.
import type { Shown } from "../caller.ts";

/** @param headerOf the value of a header, by its name in small letters; undefined where it is absent */
export function shownOf(headerOf: (name: string) => string | undefined): Shown {
  return {
    authorization: headerOf("authorization"),
    cookie: headerOf("cookie"),
    origin: headerOf("origin"),
    fetchSite: headerOf("sec-fetch-site"),
    host: headerOf("host"),
    protocolVersion: headerOf("connect-protocol-version"),
  };
}
