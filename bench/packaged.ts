import { execFileSync } from 'node:child_process';
import { join } from 'node:path';

const root = process.cwd();

/** The packaged agent of this machine's architecture. */
export const packaged = join(root, 'dist', 'package', `wherry-agent-linux-${{ x64: 'amd64' }[process.arch as string] ?? process.arch}`);

/** Makes it, with all that belongs in it. */
export function makePackaged(): void {
  execFileSync('bash', ['test/e2e/compilers.sh', 'cc'], { cwd: root, stdio: ['ignore', 'ignore', 'inherit'] });
  execFileSync('npm', ['run', '-s', 'package', '--', 'own'], { cwd: root, stdio: ['ignore', 'ignore', 'inherit'] });
}
