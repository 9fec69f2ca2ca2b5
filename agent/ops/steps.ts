import { randomUUID } from 'node:crypto';
import { execFile } from 'node:child_process';
import { copyFile, chmod, lstat, open, readFile, readlink, rename, rmdir, symlink, unlink } from 'node:fs/promises';
import { dirname } from 'node:path';
import { makeDirectory } from '../../shared/directory.ts';
import { plainReason } from '../../shared/plain-reason.ts';

/** One thing that `install` or `uninstall` does. Paths are absolute, `--root` included; modes as chmod takes them. */
export type Step =
  | { readonly type: 'directory'; readonly path: string; readonly mode: number }
  | { readonly type: 'write'; readonly path: string; readonly content: string; readonly mode: number; readonly secret?: boolean }
  | { readonly type: 'copy'; readonly from: string; readonly path: string; readonly mode: number }
  | { readonly type: 'link'; readonly path: string; readonly to: string }
  | { readonly type: 'remove'; readonly path: string }
  /** Only when nothing is left in it. */
  | { readonly type: 'removeEmpty'; readonly path: string }
  /** `unless`: not needed when no step before it changed anything and this command succeeds. */
  | { readonly type: 'run'; readonly command: readonly string[]; readonly unless?: readonly string[]; readonly mayFail?: boolean };

/** A step could not be done; the message is one line for the user. */
export class StepError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'StepError';
  }
}

/** What became of a step, in a word. */
export type StepOutcome = 'unchanged' | 'done';

type Apply = { readonly [K in Step['type']]: (step: Extract<Step, { type: K }>, changed: boolean) => Promise<StepOutcome> };

const apply: Apply = {
  directory: async ({ path, mode }) => (await makeDirectory(path, mode) ? 'done' : 'unchanged'),
  write: async ({ path, content, mode }) => {
    if (await readFile(path, 'utf8').catch(() => undefined) === content && await modeOf(path) === mode) return 'unchanged';
    await replace(path, mode, (draft) => writeTo(draft, content, mode));
    return 'done';
  },
  copy: async ({ from, path, mode }) => {
    if (from === path || (await modeOf(path) === mode && await sameContent(from, path))) return 'unchanged';
    await replace(path, mode, (draft) => copyFile(from, draft));
    return 'done';
  },
  link: async ({ path, to }) => {
    if (await readlink(path).catch(() => undefined) === to) return 'unchanged';
    await makeDirectory(dirname(path), 0o755);
    await absentIsFine(unlink(path));
    await symlink(to, path);
    return 'done';
  },
  remove: ({ path }) => absentIsFine(unlink(path)),
  removeEmpty: async ({ path }) => {
    try {
      await rmdir(path);
      return 'done';
    } catch {
      return 'unchanged';
    }
  },
  run: async ({ command, unless, mayFail }, changed) => {
    if (unless && !changed && await succeeds(unless)) return 'unchanged';
    if (mayFail) await succeeds(command);
    else await execute(command);
    return 'done';
  },
};

/**
 * Does steps in order, telling `report` of each.
 * @returns whether anything changed
 * @throws StepError at the first that fails; what was done before stays
 */
export async function applySteps(steps: readonly Step[], report: (step: Step, outcome: StepOutcome) => void): Promise<boolean> {
  let changed = false;
  for (const step of steps) {
    try {
      const outcome = await (apply[step.type] as (step: Step, changed: boolean) => Promise<StepOutcome>)(step, changed);
      changed ||= outcome === 'done' && step.type !== 'run';
      report(step, outcome);
    } catch (error) {
      throw new StepError(`cannot ${stepText(step)}: ${step.type === 'run' ? (error as Error).message : plainReason(error)}`);
    }
  }
  return changed;
}

/** What a step does, for people: `write /etc/wherry/agent.json`. */
export function stepText(step: Step): string {
  switch (step.type) {
    case 'directory': return `make directory ${step.path}`;
    case 'write': return `write ${step.path}`;
    case 'copy': return `copy ${step.from} to ${step.path}`;
    case 'link': return `link ${step.path} to ${step.to}`;
    case 'remove': case 'removeEmpty': return `remove ${step.path}`;
    case 'run': return `run ${step.command.join(' ')}`;
  }
}

async function modeOf(path: string): Promise<number | undefined> {
  const found = await lstat(path).catch(() => undefined);
  return found?.isFile() ? found.mode & 0o7777 : undefined;
}

async function sameContent(a: string, b: string): Promise<boolean> {
  const [one, other] = await Promise.all([readFile(a), readFile(b)]);
  return one.equals(other);
}

/** Makes a file beside `path` and puts it into its place in one step, durably: it may be running, or power may fail. */
async function replace(path: string, mode: number, make: (draft: string) => Promise<void>): Promise<void> {
  await makeDirectory(dirname(path), 0o755);
  const draft = `${path}.${randomUUID()}`;
  try {
    await make(draft);
    await chmod(draft, mode);
    const file = await open(draft, 'r');
    try {
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(draft, path);
  } catch (error) {
    await unlink(draft).catch(() => undefined);
    throw error;
  }
}

async function writeTo(path: string, content: string, mode: number): Promise<void> {
  const file = await open(path, 'wx', mode);
  try {
    await file.writeFile(content);
  } finally {
    await file.close();
  }
}

async function absentIsFine(removal: Promise<void>): Promise<StepOutcome> {
  try {
    await removal;
    return 'done';
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return 'unchanged';
    throw error;
  }
}

function execute([file = '', ...args]: readonly string[]): Promise<void> {
  return new Promise((resolve, reject) => {
    execFile(file, args, { timeout: 120_000 }, (error, _out, err) => {
      if (error) reject(new Error(err.trim().split('\n')[0] || error.message));
      else resolve();
    });
  });
}

const succeeds = (command: readonly string[]): Promise<boolean> => execute(command).then(() => true, () => false);
