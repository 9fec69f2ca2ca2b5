import { readFileSync } from 'node:fs';

/** Identity of a process that survives neither its end nor a reboot, so that a pid that was given out again is told apart. */
export interface Owner {
  readonly pid: number;
  /** When it started, in clock ticks since boot; '' where the system does not say. */
  readonly started: string;
  /** Identity of the boot; '' where the system does not say. */
  readonly boot: string;
}

export function thisProcess(): Owner {
  return { pid: process.pid, started: statOf('self').started, boot: bootId() };
}

/** Whether that very process runs. One that was killed but not yet reaped does not. */
export function isRunning(owner: Owner): boolean {
  if (owner.boot !== bootId() || !exists(owner.pid)) return false;
  const { state, started } = statOf(owner.pid);
  return state !== 'Z' && state !== 'X' && started === owner.started;
}

function exists(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/** From proc(5): the fields after the command, which is in parentheses and may hold any character. */
function statOf(pid: number | 'self'): { state: string; started: string } {
  const stat = read(`/proc/${pid}/stat`);
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return { state: fields[0] ?? '', started: fields[19] ?? '' };
}

function bootId(): string {
  return read('/proc/sys/kernel/random/boot_id').trim();
}

function read(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}
