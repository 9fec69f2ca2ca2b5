import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const source = fileURLToPath(new URL('pages.c', import.meta.url));

/** Compilers by the architecture that they make code for, as Node names it; Debian's package of each. */
const compilers = {
  x64: { commands: ['x86_64-linux-gnu-gcc', ...(process.arch === 'x64' ? ['cc'] : [])], package: 'gcc' },
  arm64: { commands: ['aarch64-linux-gnu-gcc', ...(process.arch === 'arm64' ? ['cc'] : [])], package: 'gcc-aarch64-linux-gnu libc6-dev-arm64-cross' },
};

/**
 * Compiles `pages.c`. Node-API is the same on every Node, so the addon fits newer ones too.
 * @param {string} arch as Node names it @param {string} headers Node's folder with node_api.h
 * @returns {Buffer | undefined} the shared object; nothing when this machine has no compiler for `arch`
 */
export function compileAddon(arch, headers) {
  for (const command of compilers[arch]?.commands ?? []) {
    const folder = mkdtempSync(join(tmpdir(), 'wherry-addon-'));
    try {
      const output = join(folder, 'pages.node');
      // One segment instead of four where the linker would pad each to a page; no build id, so that equal sources give equal bytes.
      execFileSync(command, ['-shared', '-fPIC', '-Os', '-s', '-Wall', '-Wextra', '-Wl,-z,noseparate-code', '-Wl,--build-id=none', `-I${headers}`, '-o', output, source], { stdio: ['ignore', 'ignore', 'pipe'] });
      return readFileSync(output);
    } catch (error) {
      if (error.code !== 'ENOENT') throw new Error(`${command} cannot compile ${source}: ${String(error.stderr ?? error.message).trim()}`, { cause: error });
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  }
  process.stderr.write(`package: no C compiler for ${arch}: the agent works, and needs 25 MB more than it would with one (apt-get install ${compilers[arch]?.package ?? 'a compiler'})\n`);
  return undefined;
}
