// What an operator does about a log event. Every event that is logged as a warning or an error has
// a row; a row without an event fails the check.

export const advice: Readonly<Record<string, string>> = {
  "approval-altered":
    "Find out who writes to the store of approvals beside the fleet service. The change is not made and not shown; it must be asked for again.",
  "audit-head-unsigned":
    "Records are written and chained all the same. Look at the backend of `integrity`: it must be there, and its policy allow `hmac` with the integrity key.",
  "audit-sink-failed":
    "Look at the sink's disk or reader; `/readyz` names the cause. Calls fail with `audit_unavailable` while no sink takes records.",
  "call-failed": "Look at the reason in `err`; the gateway's log and audit record of the same time say more.",
  "canary-failed": "Check the gateway's policy for the key; `claviger vault init --print-policy` prints what it needs.",
  "certificate-expiring":
    "Renew the certificate of `role`, or find out why its renewer did not: a third of its life is left or less. A CA that nothing is issued by any more can be taken out of its bundle.",
  "certificate-renewal-failed":
    "Look at the fleet service, and at what `err` says. The certificate in use is good until it expires; `claviger-shim enroll` with a new token helps a node whose certificate has.",
  "certificate-invalid":
    "Renew the certificate of `role` now: handshakes with it fail. `what` says when it expired, or why its file is not usable.",
  "connection-refused":
    "Find out what opens connections to the socket or the listener; raise the bound if they are needed.",
  "connections-full":
    "`who` is the newcomer of the first one. For `all` give the gateway more memory or open files; for `identity` and `handshakes` find out who opens so many.",
  "console-missing":
    "Build the pages (`npm run build` puts them beside the bundle) or name them in `console.directory`; `console.enabled: false` says that there are to be none.",
  "console-policy":
    "A page of the console, an extension of the browser, or somebody who sends reports by hand: look at `blocked`. Report it where it is the page. At most ten lines a minute; `dropped` counts others.",
  "embedded-backend": "Nothing, if this is a trial or one small site. Otherwise configure a Vault.",
  "embedded-file-open": "Give the key file the mode 0600.",
  "approvals-kept":
    "Look at `err`: with a store in Vault the policy must let the service delete them; `claviger vault init --for fleet` brings it up to date. Until then they stay.",
  "files-rejected": "Correct the files; the earlier ones stay in use until then.",
  "history-unwritten":
    "Look at Redis and at `err`. Hours that are not added within five minutes after their end are unknown in the month's history; nothing else is missing.",
  "integrity-key-missing": "Check the `integrity` setting and the policy; until then replicas work without Redis.",
  "internal-error": "This is a fault in Claviger. Report it with the line.",
  "issuer-keys-unreadable":
    "Look at the issuer of `oidc` in fleet.yaml that `issuer` names, and at what `err` says. Tokens under the keys that were read last count for `keepKeys`; others, and all of them after that, are refused as unavailable. Certificates of operators do not need it.",
  "key-fell-back": "Find out who lowers `min_encryption_version`; Terraform may write its default.",
  "key-lost": "Find out why Vault lost the version. What was written under it cannot be decrypted.",
  "key-raise-failed": "Check the gateway's policy for the key's configuration.",
  "key-replaced": "Find out who made the key anew. What was written under the earlier one cannot be decrypted.",
  "key-rolled-back":
    "Vault was probably restored from a backup. With `rotation: manual`, or where it comes again, run `claviger key rotate CLUSTER --above LOST` with the version in `lost`.",
  "key-versions-reopened":
    "Find out who lowers `min_decryption_version`, unless it was `claviger key unretire`: Terraform writes its default of 1 where `ignore_changes` of the key lacks it (`claviger vault init --print-hcl` prints it). Then `claviger key retire CLUSTER` again; `claviger_gateway_reopened_key_versions` is 0 after that.",
  "key-versions-retired":
    "Where it was not `claviger key retire`: find out who raised it, and whether something still needs them: `claviger key usage CLUSTER`.",
  "key-unreadable": "Look at the reason in `err`: the backend, its policy or the key.",
  "lease-ignored": "Find out who writes to Redis. The gateway has gone on without the lease.",
  "log-lines-dropped": "Look at what reads standard error. `count` lines before this one are lost.",
  "open-files-short":
    "Raise the limit of open files of the process (`LimitNOFILE`), or lower `listen.limits.connections`.",
  "outage-phase": "Bring a gateway back, or its Vault; `why` names the reason, `since` the last good Status.",
  "previous-version-broken":
    "Bring the version back before somebody needs it: `claviger key unretire`, or a backup of Vault.",
  "previous-versions-unknown": "Check the policy for the documents beside the registry.",
  "promotion-failed": "Look at the reason in `err`. The earlier version goes on encrypting.",
  "traces-lost":
    "Look at the collector of `tracing.endpoint`; `problem` is the system's code or its HTTP status. Calls are served all the same.",
  "redis-away": "Bring Redis back. Gateways are slower without it, and serve.",
  "registry-rejected":
    "Correct the registry as `problem` says. A record that is wrong keeps its own last good state; the others are in force.",
  "epoch-refused":
    "Look at the gateways that the shim asks: one names an epoch that cannot be. Raise the cluster's `generation` to heal it; where the epoch is right after all, stop the shim and run it with `--forget`.",
  "restart-needed":
    "Restart the program to use the `settings` (the shim: `--takeover` does it without a gap). Operators and issuers of fleet.yaml are used already.",
  "setting-renamed": "Use the name that `problem` gives; the earlier one is not read after this release.",
  "state-damaged": "Nothing: the shim starts without it. Look at the node's disk if it happens again.",
  "state-from-future": "Check the node's clock: it was ahead when the file was written, or is behind now.",
  "state-ignored": "Nothing, if the node was given another cluster's certificate.",
  "state-unreadable": "Check owner and mode of the state file.",
  "state-unwritable":
    "Check the disk and the directory of the state file. A shim that is restarted in an outage would not know its last key_id.",
  "vault-token-counted": "Set `token_num_uses=0` on the role; until then the gateway logs in again and again.",
  "vault-address-down": "Look at that Vault node. The others are asked.",
  "vault-login-failed": "Check the credential that `kind` names. A new one is tried as soon as its file changes.",
  "vault-renew-failed": "Nothing: the gateway logs in again. `vault-login-failed` follows if that fails.",
  "gateway-down": "Look at that gateway. The shim asks the others, and takes it back when a probe succeeds.",
};
