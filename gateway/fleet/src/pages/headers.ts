// What every response of the listener says to browsers. (https://www.w3.org/TR/CSP3,
// https://w3c.github.io/trusted-types, https://fetch.spec.whatwg.org #cross-origin-resource-policy-header.)

export type Headers = Readonly<Record<string, string>>;

export const reportPath = "/console/csp-report";

const policy = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "connect-src 'self'",
  "img-src 'self'",
  "font-src 'self'",
  "base-uri 'none'",
  "form-action 'self'",
  "frame-ancestors 'none'",
  "require-trusted-types-for 'script'",
  // None: nothing is ever made into a script or into markup.
  "trusted-types 'none'",
  `report-uri ${reportPath}`,
  "report-to csp",
].join("; ");

const nothing = ["accelerometer", "camera", "display-capture", "geolocation", "gyroscope", "hid", "microphone", "midi"]
  .concat([
    "payment",
    "publickey-credentials-get",
    "screen-wake-lock",
    "serial",
    "usb",
    "web-share",
    "xr-spatial-tracking",
  ])
  .map((feature) => `${feature}=()`)
  .join(", ");

/** Of answers that are no page: of the API, too. */
export const bareHeaders: Headers = {
  "cache-control": "no-store",
  "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
  "cross-origin-resource-policy": "same-origin",
  "referrer-policy": "no-referrer",
  "x-content-type-options": "nosniff",
};

/** Of pages and what they load. */
export const pageHeaders: Headers = {
  ...bareHeaders,
  "content-security-policy": policy,
  "cross-origin-embedder-policy": "require-corp",
  "cross-origin-opener-policy": "same-origin",
  "permissions-policy": nothing,
  "reporting-endpoints": `csp="${reportPath}"`,
};
