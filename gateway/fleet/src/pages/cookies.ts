// Cookies of this host alone. (RFC 6265bis: the prefix `__Host-`.)

/** The value of a cookie; undefined where there is none, or several of that name. */
export function cookieOf(header: string | undefined, name: string): string | undefined {
  const found = (header ?? "").split(";").flatMap((pair) => {
    const at = pair.indexOf("=");
    return at !== -1 && pair.slice(0, at).trim() === name ? [pair.slice(at + 1).trim()] : [];
  });
  return found.length === 1 ? found[0] : undefined;
}

/** @param seconds how long it is kept; 0: not any more */
export function hostCookie(name: string, value: string, sameSite: "Strict" | "Lax", seconds: number): string {
  return `${name}=${value}; Path=/; Secure; HttpOnly; SameSite=${sameSite}; Max-Age=${Math.max(0, Math.floor(seconds))}`;
}
