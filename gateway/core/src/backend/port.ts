// Ports to where the KEKs are. Adapters: `vault` (Vault and OpenBao Transit) and `embedded` (a
// local file).
import type { KmsError } from "@claviger/proto/wire/errors.ts";
import type { BackendName, KeyName, MountPath } from "@claviger/proto/wire/names.ts";

/** One key of one backend. Two refs with equal fields are the same key. */
export type KeyRef = {
  readonly backend: BackendName;
  /** Vault namespace, without slashes at the ends; absent for the root namespace. */
  readonly namespace?: string;
  readonly mount: MountPath;
  readonly key: KeyName;
};

/** A batch gives one outcome per item, in order: one bad item fails alone. */
export type Outcome<T> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly error: KmsError };

export type WrapItem = {
  /**
   * 1..128 bytes. Owned by the caller, who zeroizes it after the outcome; the adapter zeroizes every copy
   * it makes.
   */
  readonly plaintext: Uint8Array;
  readonly associatedData: Uint8Array;
  /**
   * The key version to encrypt with, 1 or more. The result names the same one or the item fails.
   */
  readonly version: number;
};

export type Wrapped = {
  /** Raw ciphertext: what stands after `vault:vN:`, decoded. */
  readonly ciphertext: Uint8Array;
  readonly version: number;
  /** The backend's own id of the call, for audit; absent where it gives none. */
  readonly requestId?: string;
};

export type UnwrapItem = {
  readonly ciphertext: Uint8Array;
  readonly associatedData: Uint8Array;
  readonly version: number;
};

export type Unwrapped = {
  /** Owned by the receiver, who zeroizes it. */
  readonly plaintext: Uint8Array;
  readonly requestId?: string;
};

/** What a backend says of a key now. */
export type KeyState = {
  /** Creation time of each version that still exists, Unix seconds, by version number. */
  readonly versions: ReadonlyMap<number, number>;
  readonly latest: number;
  /** Transit's min_encryption_version: the promoted version, or 0 when none has been set. */
  readonly minEncryption: number;
  readonly minDecryption: number;
};

/**
 * The data path and the look at a key. All methods may be called at any time and in parallel;
 * `signal` ends a call early. Errors (KmsError): backend_unavailable, backend_sealed,
 * backend_rate_limited, backend_login_refused, backend_denied, backend_protocol_error,
 * deadline_exceeded, key_missing; per item also ciphertext_invalid (any reason why a ciphertext
 * does not open: they all look alike). An adapter fails over between its own addresses within the
 * signal's time and retries nothing else.
 */
export interface Backend {
  /**
   * Encrypts 1..128 items under one key. Rejects only when no item can have an outcome of its own.
   */
  wrap(key: KeyRef, items: readonly WrapItem[], signal: AbortSignal): Promise<readonly Outcome<Wrapped>[]>;
  /**
   * Decrypts 1..128 items under one key. Rejects only when no item can have an outcome of its own.
   */
  unwrap(key: KeyRef, items: readonly UnwrapItem[], signal: AbortSignal): Promise<readonly Outcome<Unwrapped>[]>;
  /**
   * Reads the key's state. Any replica of the backend may answer, and be behind.
   * @param options `fromActive`: only the one that takes writes; backend_unavailable where it cannot
   * be reached
   */
  describe(key: KeyRef, signal: AbortSignal, options?: { readonly fromActive?: boolean }): Promise<KeyState>;
  /**
   * Resolves when the backend would serve; rejects with the reason why not. Cheap: no cryptography.
   */
  health(signal: AbortSignal): Promise<void>;
}

/** Changes of a key, by whoever promotes. Same errors as Backend. */
export interface KeyControl {
  /**
   * Makes `version` the one that encrypts (min_encryption_version). The caller checks that it is
   * the latest and never a step back.
   */
  promote(key: KeyRef, version: number, signal: AbortSignal): Promise<void>;
  /**
   * Sets the lowest version that decrypts (min_decryption_version): retires what is below it, or
   * takes that back. For operators; a gateway may not.
   */
  setMinDecryption(key: KeyRef, version: number, signal: AbortSignal): Promise<void>;
  /** Makes a new version; resolves with its number. */
  rotate(key: KeyRef, signal: AbortSignal): Promise<number>;
}

/**
 * What gateways derive shared secrets from and sign with: an HMAC-SHA-256 under one version of a
 * key. Same errors as Backend.
 */
export interface Signer {
  /** The result, 32 bytes, is the caller's. */
  hmac(key: KeyRef, version: number, input: Uint8Array, signal: AbortSignal): Promise<Uint8Array>;
}

/** A document in the backend's own store. */
export type DocumentRef = { readonly namespace?: string; readonly mount: MountPath; readonly path: string };

/**
 * Documents that several may edit, each over the version that it has read: KV version 2 of a Vault.
 * Same errors as Backend.
 */
export interface Documents {
  /** Undefined when there is none. `version` is 1 or more. */
  readDocument(
    at: DocumentRef,
    signal: AbortSignal,
  ): Promise<{ readonly data: unknown; readonly version: number } | undefined>;
  /** Takes a document away, with all its versions; where there is none nothing is done. */
  removeDocument(at: DocumentRef, signal: AbortSignal): Promise<void>;
  /** The names of the documents directly below a path; such as were deleted may be among them. */
  listDocuments(below: DocumentRef, signal: AbortSignal): Promise<readonly string[]>;
  /**
   * Writes over that version, 0 for none; false when another one is there, and nothing was written.
   */
  writeDocument(
    at: DocumentRef,
    data: Readonly<Record<string, unknown>>,
    version: number,
    signal: AbortSignal,
  ): Promise<boolean>;
}

/** A role of a PKI that signs. */
export type PkiRef = { readonly namespace?: string; readonly mount: MountPath; readonly role: string };

/** Vault's PKI secrets engine. Same errors as Backend. */
export interface Pki {
  /**
   * Certifies the key of a request under these names. Resolves with the certificate and its
   * intermediates, PEM, as Vault gave them: the caller looks whether they are what was asked for.
   */
  signCertificate(
    at: PkiRef,
    wanted: {
      /** PKCS #10, PEM. */
      readonly request: string;
      readonly commonName: string;
      readonly uri: string;
      readonly seconds: number;
    },
    signal: AbortSignal,
  ): Promise<string>;
}

/** One of the addresses of a backend, as its last calls and probes found it. */
export type AddressState = {
  readonly address: string;
  readonly isUp: boolean;
  /** The usual time of an answer, milliseconds; undefined before the first. */
  readonly latencyMs: number | undefined;
};

/** When a login ends unless it is renewed, Unix milliseconds; `isLast`: nothing renews it or follows it. */
export type LoginEnd = { readonly until: number; readonly isLast: boolean };

/** A backend with its life: made by its adapter, closed once by the composition root. */
export type OpenBackend = Backend &
  KeyControl &
  Signer & {
    readonly name: BackendName;
    readonly documents?: Documents;
    readonly pki?: Pki;
    /** Absent where there is nothing to connect to. */
    readonly addresses?: () => readonly AddressState[];
    /** Undefined where the login does not end, or there is none now. */
    readonly login?: () => LoginEnd | undefined;
    close(): Promise<void>;
  };
