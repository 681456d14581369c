// Times as a person reads them: how long ago, how long still, and when exactly.

const second = 1000;
const minute = 60 * second;
const hour = 60 * minute;
const day = 24 * hour;

/** How long, in its largest unit; two units where the second still says something. @param ms not negative */
export function formatSpan(ms: number): string {
  if (ms < minute) return `${Math.floor(Math.max(0, ms) / second)} s`;
  if (ms < 10 * minute) {
    const seconds = Math.floor((ms % minute) / second);
    return `${Math.floor(ms / minute)} min${seconds === 0 ? "" : ` ${seconds} s`}`;
  }
  if (ms < hour) return `${Math.floor(ms / minute)} min`;
  if (ms < day) {
    const minutes = Math.floor((ms % hour) / minute);
    return `${Math.floor(ms / hour)} h${minutes === 0 ? "" : ` ${minutes} min`}`;
  }
  const hours = ms < 3 * day ? Math.floor((ms % day) / hour) : 0;
  return `${Math.floor(ms / day)} d${hours === 0 ? "" : ` ${hours} h`}`;
}

/** `3 min ago`, or `in 3 min`. @param at and now Unix milliseconds */
export function formatAge(at: number, now: number): string {
  return at <= now ? `${formatSpan(now - at)} ago` : `in ${formatSpan(at - now)}`;
}

/** When exactly, in UTC. @param at Unix milliseconds */
export function formatTime(at: number): string {
  return `${new Date(at).toISOString().slice(0, 19).replace("T", " ")} UTC`;
}

/** Unix milliseconds of a timestamp of the API; undefined where there is none. */
export function timeOf(text: string | undefined): number | undefined {
  const at = Date.parse(text ?? "");
  return Number.isNaN(at) ? undefined : at;
}
