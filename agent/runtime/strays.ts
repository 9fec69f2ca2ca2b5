import { readdirSync, readFileSync } from 'node:fs';
import { basename } from 'node:path';

/** How often /proc is gone through: what is being started as it is read shows up the next time. */
const passes = 5;

/**
 * Ends the processes of a container that its engine has lost sight of, as one does that dies between starting a task and
 * noting it. They are known by the container's id in the name of their control group. The container's shim goes first,
 * with what it has started: it outlives its engine, and may start the container's process only after this has looked for
 * it. Returns how many processes of the container there were.
 */
export function endStrays(id: string, proc = '/proc'): number {
  if (!/^[0-9a-f]{64}$/.test(id)) return 0;
  const ended = new Set<number>();
  for (let pass = 0; pass < passes; pass++) {
    const processes = read(id, proc);
    const shims = processes.filter(({ isShim }) => isShim).map(({ pid }) => pid);
    const inside = processes.filter(({ isInside }) => isInside).map(({ pid }) => pid);
    const killed = new Set([...shims, ...descendants(processes, shims), ...inside].filter(kill));
    for (const pid of inside) if (killed.has(pid)) ended.add(pid);
    if (killed.size === 0) break;
  }
  return ended.size;
}

interface Process { readonly pid: number; readonly parent: () => number; readonly isShim: boolean; readonly isInside: boolean }

/** These files are the kernel's memory: to wait for them would cost more than they do. */
function read(id: string, proc: string): Process[] {
  const fileOf = (pid: string, file: string): string => {
    try {
      return readFileSync(`${proc}/${pid}/${file}`, 'utf8');
    } catch {
      return '';
    }
  };
  return readdirSync(proc).filter((name) => /^\d+$/.test(name)).map((pid) => {
    const [program = '', ...args] = fileOf(pid, 'cmdline').split('\0');
    const isInside = fileOf(pid, 'cgroup').split(/[/\n:]/).some((part) => part === id || part === `docker-${id}.scope`);
    return { pid: Number(pid), isInside, isShim: basename(program).startsWith('containerd-shim') && args.includes(id), parent: () => parentIn(fileOf(pid, 'stat')) };
  });
}

/** PID (NAME) STATE PARENT …: the name may hold anything. */
const parentIn = (stat: string): number => Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1] ?? 0);

function descendants(processes: readonly Process[], roots: readonly number[]): number[] {
  if (roots.length === 0) return [];
  const children = processes.filter(({ pid, parent }) => !roots.includes(pid) && roots.includes(parent())).map(({ pid }) => pid);
  return [...children, ...descendants(processes, children)];
}

function kill(pid: number): boolean {
  try {
    return process.kill(pid, 'SIGKILL');
  } catch {
    // It is gone, or not ours to end.
    return false;
  }
}
