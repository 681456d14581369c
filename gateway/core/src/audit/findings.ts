// What a verification finds: where, of which kind, which records. (docs/architecture.md #audit.)

/** A line of a file, from 1. */
export type Place = { readonly file: string; readonly line: number };

/**
 * `edited`: a line is not as it was written. `inserted`: a line that no gateway wrote there.
 * `removed`: numbers are missing, and no record says that a sink missed them. `reordered`,
 * `repeated`: a genuine line in another place. `truncated`: the end of a chain or a file is missing.
 * `unsigned`: Vault has not signed the head that a record names.
 */
export type FindingKind = "edited" | "inserted" | "removed" | "reordered" | "repeated" | "truncated" | "unsigned";

export type Finding = Place & {
  kind: FindingKind;
  /** The chain, where there is one. */
  readonly chain?: string;
  /** The numbers that it is about, first and last. */
  readonly first?: number;
  last?: number;
  readonly text: string;
};

/** What is no sign of tampering but worth knowing, e.g. the fragment of a write that broke off. */
export type Remark = Place & { readonly text: string };

/** How one chain stands. */
export type ChainSummary = {
  readonly chain: string;
  readonly replica: string | undefined;
  readonly records: number;
  readonly first: number;
  readonly last: number;
  /** Times of the first and the last record, ISO 8601. */
  readonly from: string;
  readonly until: string;
  readonly isEnded: boolean;
  /** Records that carry a MAC. */
  readonly keyed: number;
  /** The newest record that Vault has signed, with all before it, and when that was written. */
  readonly signed: { readonly sequence: number; readonly time: string } | undefined;
};

export type Report = {
  readonly records: number;
  readonly findings: readonly Finding[];
  /** Findings that were counted and not kept. */
  readonly more: number;
  readonly remarks: readonly Remark[];
  /** What could not be checked, and why. Empty: everything was. */
  readonly unchecked: readonly string[];
  readonly chains: readonly ChainSummary[];
};

const maxFindings = 1000;
const maxRemarks = 100;

/** Keeps findings up to a bound, so that a file of junk does not fill the memory. */
export function createFindings() {
  const findings: Finding[] = [];
  const remarks: Remark[] = [];
  let more = 0;
  return {
    findings,
    remarks,
    more: () => more,
    find(finding: Finding): Finding {
      if (findings.length < maxFindings) findings.push(finding);
      else more += 1;
      return finding;
    },
    /** As the finding before, when that is of the same kind and ends with the number before. */
    findNext(finding: Finding & { readonly first: number }): Finding {
      const before = findings.at(-1);
      const isNext =
        before?.kind === finding.kind && before.chain === finding.chain && before.last === finding.first - 1;
      if (!isNext) return this.find({ ...finding, last: finding.first });
      before.last = finding.first;
      return before;
    },
    remark(remark: Remark): void {
      if (remarks.length < maxRemarks) remarks.push(remark);
    },
  };
}

export type Findings = ReturnType<typeof createFindings>;
