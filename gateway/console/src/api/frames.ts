// The messages of a stream of Connect: each after one byte of flags and four of length.
// (https://connectrpc.com/docs/protocol: streaming RPCs.)

const headBytes = 5;
const endFlag = 0b10;
/** More than any event. */
const mostBytes = 1_048_576;

export type Frame = { readonly isEnd: boolean; readonly json: unknown };

/** One message, to be sent. */
export function encodeFrame(json: unknown): Uint8Array<ArrayBuffer> {
  const body = new TextEncoder().encode(JSON.stringify(json));
  const frame = new Uint8Array(headBytes + body.length);
  new DataView(frame.buffer).setUint32(1, body.length);
  frame.set(body, headBytes);
  return frame;
}

/** Takes bytes as they come, and gives the messages that are whole. @throws RangeError, SyntaxError */
export function createFrameReader(): (chunk: Uint8Array) => readonly Frame[] {
  let rest = new Uint8Array(0);
  return (chunk) => {
    const bytes = new Uint8Array(rest.length + chunk.length);
    bytes.set(rest);
    bytes.set(chunk, rest.length);
    const view = new DataView(bytes.buffer);
    const frames: Frame[] = [];
    let at = 0;
    while (bytes.length - at >= headBytes) {
      const length = view.getUint32(at + 1);
      if (length > mostBytes) throw new RangeError("a message of the stream is too long");
      const end = at + headBytes + length;
      if (end > bytes.length) break;
      const text = new TextDecoder().decode(bytes.subarray(at + headBytes, end));
      frames.push({ isEnd: (view.getUint8(at) & endFlag) !== 0, json: JSON.parse(text) as unknown });
      at = end;
    }
    rest = bytes.slice(at);
    return frames;
  };
}
