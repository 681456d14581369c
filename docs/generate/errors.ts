// docs/reference/errors.md: the error table, as it is in proto/wire/errors.ts.
import { connectCodes, type Reason, reasons, rowOf } from "@claviger/proto/wire/errors.ts";
import { code, page, table } from "./markdown.ts";

const intro = `Every failure of a KMS call has one of these reasons. The reason stands in the header \`claviger-reason\`, in the log, in the label \`result\` of the metrics and in the audit record. The message is what kube-apiserver,
and so its users, get to see; the cause is in the log of the component that met it.`;

const kinds = `## Kinds

| kind | what a shim makes of it |
|---|---|
| \`outage\` | The shim asks another gateway. Where none answers, Status goes on with the last key_id for as long as the grace period lasts ([architecture](../architecture.md#outage)). |
| \`refusal\` | The shim passes the error on at once. A refusal ends a grace period: nothing is answered from memory after it. |
| \`caller\` | The request itself is at fault. Sending it again changes nothing, and nothing is concluded about the service. |

The outcome is the field \`outcome\` of the audit record: \`denied\` (the caller may not do this), \`invalid\` (the request cannot be served), \`failed\` (it could not be served this time).`;

export function errorsPage(): string {
  const rows = (Object.keys(reasons) as readonly Reason[]).map((reason) => {
    const { connect, kind, retryable, outcome, message } = rowOf(reason);
    const { grpc, http } = connectCodes[connect];
    return [code(reason), `${connect} (${grpc})`, String(http), kind, retryable ? "yes" : "no", outcome, message];
  });
  return page("Errors", intro, [
    table(["reason", "Connect and gRPC code", "HTTP", "kind", "retryable", "outcome", "message"], rows),
    kinds,
  ]);
}
