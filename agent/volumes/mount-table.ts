import { execFile } from 'node:child_process';
import { readFile, realpath } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** A server that does not answer must not hold a pod for longer. */
const limitMs = 120_000;

/** Paths at or below a folder on which something is mounted, as the kernel names them, in the order in which it was. */
export async function mountsUnder(folder: string): Promise<string[]> {
  const place = await kernelPath(folder);
  return mountPoints(await readFile('/proc/self/mountinfo', 'utf8').catch(() => '')).filter((path) => path === place || path.startsWith(`${place}/`));
}

export const isMounted = async (path: string): Promise<boolean> => (await mountsUnder(path)).includes(await kernelPath(path));

/**
 * A path as the kernel's table has it: without links on the way, as where `/var/lib/wherry` is one to a larger disk. The
 * last part stays as it is: looking at it would wait for ever for a server that is away, were it mounted there.
 */
export async function kernelPath(path: string): Promise<string> {
  const folder = dirname(path);
  if (folder === path) return path;
  return join(await realpath(folder).catch(() => kernelPath(folder)), basename(path));
}

/** Whether the engine sees what is mounted here: an agent with a mount namespace of its own (`install --sandbox`) is alone in seeing it. */
export async function isSeenByEngine(path: string): Promise<boolean> {
  const table = await readFile('/proc/1/mountinfo', 'utf8').catch(() => undefined);
  return table === undefined || mountPoints(table).includes(await kernelPath(path));
}

/** Runs mount(8); `arguments_` end with the target. @throws Error as the kubelet words it */
export async function mount(arguments_: readonly string[]): Promise<void> {
  try {
    await run('mount', [...arguments_], { timeout: limitMs, killSignal: 'SIGKILL' });
  } catch (error) {
    const { code, killed, stdout = '', stderr = '', message } = error as Error & { code?: number | string; killed?: boolean; stdout?: string; stderr?: string };
    const status = killed ? 'signal: killed' : typeof code === 'number' ? `exit status ${code}` : message;
    throw new Error(`mount failed: ${status}\nMounting command: mount\nMounting arguments: ${arguments_.join(' ')}\nOutput: ${`${stdout}${stderr}`.trim()}\n`, { cause: error });
  }
}

/** Detaches a mount, whether or not somebody uses it or its server answers. */
export async function unmount(path: string): Promise<void> {
  await run('umount', ['-l', path], { timeout: limitMs, killSignal: 'SIGKILL' });
}

/** Unmounts what is mounted at or below a folder. @throws Error when something is left: nothing may then be removed there */
export async function unmountAll(folder: string): Promise<void> {
  for (const path of (await mountsUnder(folder)).reverse()) await unmount(path).catch(() => undefined);
  const [left] = await mountsUnder(folder);
  if (left !== undefined) throw new Error(`${left} is still mounted`);
}

const mountPoints = (table: string): string[] => table.split('\n').map((line) => unescaped(line.split(' ')[4] ?? ''));

/** The kernel writes blanks as octal. */
const unescaped = (path: string): string => path.replace(/\\(\d{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
