// What a browser takes, from Linux's /proc.
import fs from 'node:fs';

/** Anonymous and shared memory (not the programs' own files) of a process and all below it, in MB; null where /proc is not. */
export function memoryMb(root) {
  if (!fs.existsSync('/proc/self/smaps_rollup')) return null;
  const parents = new Map();
  for (const pid of fs.readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    const stat = read(`/proc/${pid}/stat`);
    if (stat) parents.set(pid, stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
  }
  const isBelow = (pid) => { for (let at = pid; at; at = parents.get(at)) if (at === String(root)) return true; return false; };
  let kb = 0;
  for (const pid of [...parents.keys()].filter(isBelow)) {
    for (const [, n] of read(`/proc/${pid}/smaps_rollup`).matchAll(/^Pss_(?:Anon|Shmem):\s+(\d+)/gm)) kb += Number(n);
  }
  return kb / 1024;
}

/** The most that `measure` says from now to `stop()`, looked at four times a second. */
export function peakMb(measure) {
  let most = measure();
  const look = () => { most = Math.max(most, measure()); };
  const timer = setInterval(look, 250);
  return { stop() { clearInterval(timer); look(); return most; } };
}

/** A process may be gone by now. */
const read = (file) => { try { return fs.readFileSync(file, 'utf8'); } catch { return ''; } };
