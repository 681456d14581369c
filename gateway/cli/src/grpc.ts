// Unary gRPC calls, each with a deadline and no retry. The only file that imports @grpc/grpc-js.
import { isIP } from "node:net";
import { checkServerIdentity } from "node:tls";
import {
  create,
  type DescMessage,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf";
import { type ChannelCredentials, type ChannelOptions, Client, credentials, status } from "@grpc/grpc-js";

/** A gRPC status other than OK. `text` is what the far side said. */
export class GrpcError extends Error {
  override readonly name = "GrpcError";
  readonly code: string;
  readonly text: string;

  constructor({ code, details }: { readonly code: number; readonly details: string }) {
    super(`${status[code] ?? `code ${code}`}: ${details}`);
    this.code = status[code] ?? `code ${code}`;
    this.text = details;
  }
}

/** PEM. */
export type GrpcTls = { readonly ca?: Buffer; readonly cert?: Buffer; readonly key?: Buffer };

/** Where to call: a unix socket with an authority, or a host with TLS or without. */
export type GrpcTarget =
  | { readonly kind: "socket"; readonly path: string; readonly authority: string }
  | { readonly kind: "host"; readonly hostname: string; readonly port: number; readonly tls?: GrpcTls };

export type GrpcChannel = {
  /** @param timeoutMs until the reply is there, with the time to connect. @throws GrpcError and nothing else */
  call<I extends DescMessage, O extends DescMessage>(
    path: string,
    input: I,
    output: O,
    message: MessageInitShape<I>,
    timeoutMs: number,
  ): Promise<MessageShape<O>>;
  close(): void;
};

/** What is asked for instead of an address: in a TLS handshake there are names only (RFC 6066 section 3). */
const anyServerName = "etcd";

function credentialsOf(target: GrpcTarget): readonly [ChannelCredentials, ChannelOptions] {
  if (target.kind === "socket") return [credentials.createInsecure(), { "grpc.default_authority": target.authority }];
  const { tls, hostname } = target;
  // etcd's values are larger than what a client takes by itself.
  const anySize = { "grpc.max_receive_message_length": -1 };
  if (tls === undefined) return [credentials.createInsecure(), anySize];
  return [
    credentials.createSsl(tls.ca ?? null, tls.key ?? null, tls.cert ?? null, {
      checkServerIdentity: (_, certificate) => checkServerIdentity(hostname, certificate),
    }),
    isIP(hostname) === 0 ? anySize : { ...anySize, "grpc.ssl_target_name_override": anyServerName },
  ];
}

/** Connects at the first call. @throws Error when the TLS files are no PEM, or do not belong together */
export function openGrpc(target: GrpcTarget): GrpcChannel {
  const [how, options] = credentialsOf(target);
  const host = target.kind === "host" && isIP(target.hostname) === 6 ? `[${target.hostname}]` : undefined;
  const address = target.kind === "socket" ? `unix:${target.path}` : `dns:${host ?? target.hostname}:${target.port}`;
  const client = new Client(address, how, {
    ...options,
    "grpc.enable_retries": 0,
    "grpc.use_local_subchannel_pool": 1,
  });
  return {
    call: (path, input, output, message, timeoutMs) =>
      new Promise((resolve, reject) => {
        client.makeUnaryRequest(
          path,
          (request: MessageShape<typeof input>) => Buffer.from(toBinary(input, request)),
          (bytes: Buffer) => fromBinary(output, bytes),
          create(input, message),
          { deadline: Date.now() + timeoutMs },
          (error, response) => {
            if (error !== null) reject(new GrpcError(error));
            else if (response !== undefined) resolve(response);
          },
        );
      }),
    close: () => client.close(),
  };
}
