// A first look at protobuf bytes before anything is decoded: how many fields there are. A decoder
// makes an object for each; a message of a mebibyte can hold half a million of them.
// (https://protobuf.dev/programming-guides/encoding.)
import { KmsError } from "./errors.ts";

function malformed(why: string): KmsError {
  return new KmsError("request_malformed", { cause: new Error(why) });
}

/**
 * Walks over a message's own fields, not into them.
 * @param max more fields than this are refused
 * @param take called for each length-delimited field with a view of its bytes
 * @throws KmsError request_malformed: more fields than that, or bytes that are no message
 */
export function walkFields(bytes: Uint8Array, max: number, take: (number: number, value: Uint8Array) => void): void {
  let at = 0;
  const varint = (): number => {
    let value = 0;
    for (let shift = 0; shift < 70; shift += 7) {
      const byte = bytes[at++];
      if (byte === undefined) throw malformed("a message that breaks off");
      // Beyond 32 bits the value is of no use here: lengths and tags are smaller.
      if (shift < 32) value += (byte & 127) * 2 ** shift;
      if (byte < 128) return value;
    }
    throw malformed("a varint of more than ten bytes");
  };
  const skip = (length: number): void => {
    if (at + length > bytes.length) throw malformed("a message that breaks off");
    at += length;
  };
  for (let count = 0; at < bytes.length; count++) {
    if (count >= max) throw malformed(`a message of more than ${max} fields`);
    const tag = varint();
    switch (tag & 7) {
      case 0:
        varint();
        break;
      case 1:
        skip(8);
        break;
      case 2: {
        const length = varint();
        const from = at;
        skip(length);
        take(tag >>> 3, bytes.subarray(from, at));
        break;
      }
      case 5:
        skip(4);
        break;
      default:
        throw malformed("a wire type that does not exist");
    }
  }
}
