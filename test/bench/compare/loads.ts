// The loads that every side gets.
import type { Method } from "../calls.ts";

export type Load = { readonly name: string; readonly method: Method; readonly concurrency: number };

export const loads = [
  { name: "idle encrypt", method: "encrypt", concurrency: 1 },
  { name: "idle decrypt", method: "decrypt", concurrency: 1 },
  { name: "idle status", method: "status", concurrency: 1 },
  { name: "64 decrypts", method: "decrypt", concurrency: 64 },
  { name: "512 decrypts", method: "decrypt", concurrency: 512 },
  { name: "4,096 decrypts", method: "decrypt", concurrency: 4096 },
  { name: "64 encrypts", method: "encrypt", concurrency: 64 },
] as const satisfies readonly Load[];

export type LoadName = (typeof loads)[number]["name"];
