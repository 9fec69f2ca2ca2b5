import { randomUUID } from 'node:crypto';
import { link, readFile, rename, unlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

/** Who holds a lock: a process of one boot, told from a later one of the same number by its start time. */
interface Holder { readonly pid: number; readonly start: string; readonly boot: string; readonly id: string }

/**
 * Claims a directory for this process. The claim of a process that is gone, however it went, is taken over.
 * @returns the way to release it
 * @throws Error `… is in use by process N` when a living process has it
 */
export async function lockDirectory(directory: string): Promise<() => Promise<void>> {
  const path = join(directory, 'lock');
  const mine: Holder = { pid: process.pid, start: (await startOf(process.pid)) ?? '', boot: await bootId(), id: randomUUID() };
  const draft = `${path}.${mine.id}`;
  await writeFile(draft, JSON.stringify(mine), { mode: 0o600 });
  try {
    for (;;) {
      // A hard link either makes the name or fails: the one atomic "create with content" that files have.
      if (await succeeds(link(draft, path), 'EEXIST')) return () => release(path, mine.id);
      await removeStale(path, directory);
    }
  } finally {
    await unlink(draft);
  }
}

async function removeStale(path: string, directory: string): Promise<void> {
  const holder = await readHolder(path);
  if (holder === 'gone') return;
  if (holder && await isAlive(holder)) throw new Error(`${directory} is in use by process ${holder.pid}`);
  const aside = `${path}.${randomUUID()}`;
  if (!await succeeds(rename(path, aside), 'ENOENT')) return;
  const moved = await readHolder(aside);
  // Somebody else replaced the stale lock between the two steps: give theirs back.
  if (moved !== 'gone' && moved?.id !== holder?.id) await succeeds(link(aside, path), 'EEXIST');
  await unlink(aside);
}

async function release(path: string, id: string): Promise<void> {
  const holder = await readHolder(path);
  if (holder !== 'gone' && holder?.id === id) await succeeds(unlink(path), 'ENOENT');
}

/** Undefined for a file that makes no sense, as a power cut leaves one. */
async function readHolder(path: string): Promise<Holder | undefined | 'gone'> {
  try {
    const holder = JSON.parse(await readFile(path, 'utf8')) as Holder;
    return typeof holder?.pid === 'number' ? holder : undefined;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ENOENT' ? 'gone' : undefined;
  }
}

async function isAlive(holder: Holder): Promise<boolean> {
  return holder.boot === await bootId() && holder.start === await startOf(holder.pid);
}

const bootId = async (): Promise<string> => (await readFile('/proc/sys/kernel/random/boot_id', 'utf8')).trim();

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
