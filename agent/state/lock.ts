import { createHash, randomUUID } from 'node:crypto';
import { readFile, readlink, rename, symlink, unlink } from 'node:fs/promises';
import { join } from 'node:path';

/** Who holds a lock: a process of one boot, told from a later one of the same number by its start time. */
interface Holder { readonly pid: number; readonly start: string; readonly boot: string; readonly id: string }

/** Another living process has the directory; the message is one line for the user. */
export class LockedError extends Error {
  readonly code = 'ELOCKED';
}

/**
 * Claims a directory for this process. The claim of a process that is gone, however it went, is taken over.
 *
 * The lock is a symbolic link that leads nowhere and whose target says who holds it: made with its content in one step,
 * never half-written, and so short that it lies in the inode, for which a full disk still has room.
 * @returns the way to release it
 * @throws LockedError `… is in use by process N` when a living process has it
 */
export async function lockDirectory(directory: string): Promise<() => Promise<void>> {
  const path = join(directory, 'lock');
  const mine: Holder = { pid: process.pid, start: (await startOf(process.pid)) ?? '', boot: await bootId(), id: randomUUID().slice(0, 8) };
  for (;;) {
    if (await succeeds(symlink(textOf(mine), path), 'EEXIST')) return () => release(path, mine.id);
    await removeStale(path, directory);
  }
}

const textOf = ({ pid, start, boot, id }: Holder): string => `${pid}:${start}:${boot}:${id}`;

/** The living process that has claimed a directory; undefined when there is none. */
export async function holderOf(directory: string): Promise<number | undefined> {
  const holder = await readHolder(join(directory, 'lock')).catch(() => undefined);
  return holder && holder !== 'gone' && await isAlive(holder) ? holder.pid : undefined;
}

async function removeStale(path: string, directory: string): Promise<void> {
  const holder = await readHolder(path);
  if (holder === 'gone') return;
  if (holder && await isAlive(holder)) throw new LockedError(`${directory} is in use by process ${holder.pid}, another agent: stop that one, or give this one a data directory of its own (--data-dir)`);
  const aside = `${path}.${randomUUID()}`;
  if (!await succeeds(rename(path, aside), 'ENOENT')) return;
  const moved = await readHolder(aside);
  // Somebody else replaced the stale lock between the two steps: give theirs back.
  if (moved !== 'gone' && moved && moved.id !== holder?.id) await succeeds(symlink(textOf(moved), path), 'EEXIST');
  await unlink(aside);
}

async function release(path: string, id: string): Promise<void> {
  const holder = await readHolder(path);
  if (holder !== 'gone' && holder?.id === id) await succeeds(unlink(path), 'ENOENT');
}

/** Undefined for something that is no lock of ours. */
async function readHolder(path: string): Promise<Holder | undefined | 'gone'> {
  try {
    const [pid, start, boot, id, ...more] = (await readlink(path)).split(':');
    return id !== undefined && more.length === 0 ? { pid: Number(pid), start: start!, boot: boot!, id } : undefined;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ENOENT' ? 'gone' : undefined;
  }
}

async function isAlive(holder: Holder): Promise<boolean> {
  return holder.boot === await bootId() && holder.start === await startOf(holder.pid);
}

/** Of the boot, not its id: that would be too long. */
async function bootId(): Promise<string> {
  return createHash('sha256').update((await readFile('/proc/sys/kernel/random/boot_id', 'utf8')).trim()).digest('hex').slice(0, 12);
}

/** Start time of a process in clock ticks since boot (field 22 of proc_pid_stat(5)); undefined if there is none. */
async function startOf(pid: number): Promise<string | undefined> {
  try {
    const stat = await readFile(`/proc/${pid}/stat`, 'utf8');
    // The command, in parentheses, may itself hold spaces and parentheses.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return fields[0] === 'Z' ? undefined : fields[19];
  } catch {
    return undefined;
  }
}

async function succeeds(action: Promise<unknown>, expected: string): Promise<boolean> {
  try {
    await action;
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === expected) return false;
    throw error;
  }
}
