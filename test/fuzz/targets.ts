// The readers of what others write: nodes, proxies, operators' files, Vault, Redis, etcd.
import { certificateTargets } from "./readers/certificates.ts";
import { settingsTargets } from "./readers/settings.ts";
import { storeTargets } from "./readers/stores.ts";
import { wireTargets } from "./readers/wire.ts";
import type { Target } from "./target.ts";

export const targets: readonly Target[] = [...wireTargets, ...certificateTargets, ...settingsTargets, ...storeTargets];
