import { realpath } from 'node:fs/promises';

/** How this agent can be run again: as one executable file, or by a runtime with a script. */
export type Program =
  | { readonly type: 'binary'; readonly path: string }
  | { readonly type: 'script'; readonly command: readonly string[] };

/** The program that is running. */
export async function runningProgram(): Promise<Program> {
  if (await isBinary()) return { type: 'binary', path: await realpath(process.execPath) };
  const script = await realpath(process.argv[1] ?? '');
  return { type: 'script', command: [await realpath(process.execPath), ...process.execArgv.filter((flag) => !flag.startsWith('--inspect')), script] };
}

/** Whether Node itself says that it was made into an executable with a program in it. */
async function isBinary(): Promise<boolean> {
  try {
    return (await import('node:sea')).isSea();
  } catch {
    return false;
  }
}
