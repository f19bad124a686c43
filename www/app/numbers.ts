/** Numbers as people read them. */

const UNITS = ["B", "kB", "MB", "GB"] as const;

/** A number of bytes: `1.3 MB`. */
export function inBytes(n_bytes: number): string {
  let value = n_bytes;
  let unit = 0;
  while (value >= 1000 && unit < UNITS.length - 1) {
    value /= 1000;
    unit += 1;
  }
  const digits = unit === 0 || value >= 100 ? 0 : 1;
  return `${value.toFixed(digits)} ${UNITS[unit] ?? ""}`;
}

/** A duration: `40 s`, `3 min`. */
export function inTime(seconds: number): string {
  if (seconds < 90) return `${Math.max(1, Math.round(seconds))} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 90 ? `${minutes} min` : `${(seconds / 3600).toFixed(1)} h`;
}

/** A rate: `8.4`, `112`. */
export function asRate(value: number): string {
  return value >= 20 ? value.toFixed(0) : value.toFixed(1);
}

/** A share: `71%`. */
export function asPercent(share: number): string {
  const percent = share * 100;
  if (percent > 0 && percent < 1) return "<1%";
  return `${percent.toFixed(0)}%`;
}

/** So many weights: `2.6 M`, `1.5 B`. */
export function inWeights(n_parameters: number): string {
  return n_parameters >= 1e9 ? `${(n_parameters / 1e9).toFixed(1)} B` : `${(n_parameters / 1e6).toFixed(1)} M`;
}

/** How long ago, for a list: today's by the hour, others by the day. */
export function asMoment(at: number): string {
  const then = new Date(at);
  const today = new Date().toDateString() === then.toDateString();
  return today
    ? then.toLocaleTimeString(undefined, { hour: "2-digit", minute: "2-digit" })
    : then.toLocaleDateString(undefined, { month: "short", day: "numeric" });
}
