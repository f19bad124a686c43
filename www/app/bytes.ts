const UNITS = ["B", "kB", "MB", "GB"] as const;

/** A number of bytes as people read it: `1.3 MB`. */
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
