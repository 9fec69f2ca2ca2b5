import { existsSync, mkdirSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** A control group whose processes may have so much memory, page cache included, and no swap. */
export interface MemoryGroup {
  /** Words in front of a command that make it run in the group, in a process of the same number. */
  readonly enter: readonly string[];
  /** After its processes have ended. */
  remove(): void;
}

const root = '/sys/fs/cgroup';

/** Makes a control group, of version 2 or 1 of the kernel's interface. Needs root. */
export function createMemoryGroup(megabytes: number): MemoryGroup {
  const bytes = String(megabytes * 2 ** 20);
  const isNew = existsSync(join(root, 'cgroup.controllers'));
  const path = join(root, isNew ? '' : 'memory', `wherry-bench-${process.pid}`);
  mkdirSync(path);
  if (isNew) writeFileSync(join(path, 'memory.max'), bytes);
  else writeFileSync(join(path, 'memory.limit_in_bytes'), bytes);
  return {
    enter: ['bash', '-c', 'echo $$ > "$0/cgroup.procs" && exec "$@"', path],
    remove: () => rmdirSync(path),
  };
}
