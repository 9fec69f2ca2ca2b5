import { execFile } from 'node:child_process';

/** Runs a program to its end and gives what it wrote. @throws Error with its complaint; `code` is ENOENT when there is no such program */
export type RunCommand = (program: string, args: readonly string[]) => Promise<string>;

export const runCommand: RunCommand = (program, args) => new Promise((resolve, reject) => {
  execFile(program, [...args], { timeout: 10_000 }, (error, out, complaint) => {
    if (!error) return resolve(out);
    reject(error.code === 'ENOENT' ? error : new Error(`${program} ${args.join(' ')}: ${complaint.trim() || error.message}`, { cause: error }));
  });
});
